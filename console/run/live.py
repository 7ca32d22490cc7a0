"""The runs that somebody looks at: one long poll of the history of each, however many viewers it has.

A viewer is given the newest of everything, and then what has changed since it was last given something. So one that is
slow misses what was in between, and nothing piles up for it. When nobody looks any more the poll ends.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from anabranch.backoff import Backoff
from anabranch.console.run.canvas import canvas
from anabranch.console.run.header import header
from anabranch.console.run.reel import Reel, Strip
from anabranch.errors import AnabranchError, Unavailable
from anabranch.inspection.following import grown
from anabranch.inspection.growing import Growing
from anabranch.inspection.history import History
from anabranch.inspection.inspect import Inspector
from anabranch.inspection.inspection import Inspection
from anabranch.inspection.runs import Pending, Runs, refused

_RUNS: Final = 100
"""Runs that are looked at, at the same time."""
_ATTEMPTS_EVERY: Final = 2.0
"""Seconds after which the server is asked again for what no history tells: the attempts of what is under way."""
_PAUSES: Final = Backoff(first=1, longest=15)
_GONE: Final = frozenset({RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.PERMISSION_DENIED})


@dataclass(frozen=True, slots=True)
class Message:
    """What a viewer is given: a `snapshot` of everything, or a `delta` to what it has. `data` is JSON text."""

    kind: str
    data: str


@dataclass(frozen=True, slots=True)
class State:
    """A run that is looked at, as its history has it by now."""

    history: History
    inspection: Inspection
    strip: Strip
    header: str
    """As JSON text."""
    canvas: str
    """Likewise."""
    pending: tuple[Pending, ...]
    """Its activities under way, as the server knew them a moment ago."""


@dataclass(slots=True)
class _Viewer:
    """What one viewer has been given."""

    generation: int = -1
    frames: int = 0
    header: str = ""

    def message(self, state: State) -> Message | None:
        """What it lacks, if it lacks anything."""
        strip = state.strip
        if strip.generation == self.generation and state.header == self.header:
            return None  # every new frame changes the header: it has the newest event
        is_new = strip.generation != self.generation
        frame, version = strip.since(0 if is_new else self.frames)
        told = [
            f'"header":{state.header}',
            f'"from":{frame},"frames":[{",".join(strip.frames[frame:])}]',
            f'"versions_from":{version},"versions":[{",".join(strip.versions[version:])}]',
        ]
        if is_new:
            told.append(f'"canvas":{state.canvas}')
        self.generation, self.frames, self.header = strip.generation, len(strip.frames), state.header
        return Message("snapshot" if is_new else "delta", f"{{{','.join(told)}}}")


class Watched:
    """One workflow run while somebody looks at it."""

    def __init__(self, client: Client, inspector: Inspector, workflow_id: str, run_id: str) -> None:
        self._client = client
        self._inspector = inspector
        self._runs = Runs(client, inspector)
        self._workflow_id = workflow_id
        self._run_id = run_id
        self._growing = Growing()
        self._reel = Reel()
        self._canvas = "null"
        self._pending: tuple[Pending, ...] = ()
        self._news = asyncio.Event()
        self._error: Exception | None = None
        self._task: asyncio.Task[None] | None = None
        self.viewers = 0
        self.state: State | None = None

    def begin(self) -> None:
        """Poll the history from now on."""
        self._task = asyncio.create_task(self._watch())

    async def end(self) -> None:
        """Poll no more. Who still looks is told so."""
        self._error = self._error or Unavailable("the console stops")
        self._tell()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    @property
    def is_over(self) -> bool:
        """Whether nothing is polled any more."""
        return self._task is None or self._task.done()

    async def seen(self) -> State:
        """The run, as soon as it was seen once. Raises what `Inspector.inspect` raises, InputError, Unavailable."""
        while self.state is None:
            if self._error is not None:
                raise self._error
            await self._news.wait()
        return self.state

    async def messages(self) -> AsyncGenerator[Message]:
        """What a viewer is given, to the end of the workflow run. Raises what `seen` raises."""
        viewer, state = _Viewer(), await self.seen()
        while True:
            news = self._news
            if (message := viewer.message(state)) is not None:
                yield message
                state = await self.seen()
                continue  # it may have been a while
            if self._error is not None:
                raise self._error
            if state.history.closed is not None:
                return
            await news.wait()
            state = await self.seen()

    async def _watch(self) -> None:
        attempts = asyncio.create_task(self._watch_attempts())
        try:
            for pause in _PAUSES:
                if await self._followed():
                    return
                await asyncio.sleep(pause)
        except Exception as error:  # whatever it is, who looks must hear of it
            self._error = error
            self._tell()
        finally:
            attempts.cancel()
            await self._growing.aclose()

    async def _followed(self) -> bool:
        """Follow the run to its end; False where the server went away before that."""
        try:
            async with aclosing(grown(self._client, self._workflow_id, self._run_id)) as histories:
                async for history in histories:
                    await self._take(history)
        except RPCError as error:
            if error.status in _GONE:
                raise refused(error, self._workflow_id, self._run_id) from error
            return False
        return True

    async def _take(self, history: History) -> None:
        inspection = await self._inspector.inspect(history, self._growing)
        strip = await asyncio.to_thread(self._reel.extend, inspection)
        if self._canvas == "null" and (plan := inspection.plan) is not None:
            self._canvas = json.dumps(await asyncio.to_thread(canvas, plan), ensure_ascii=False)
        if history.closed is not None:
            self._pending = ()
            await self._growing.aclose()
        if (before := self.state) is not None and before.inspection is not inspection:
            self._inspector.forget(before.inspection)  # else a run that grows would fill the memory
        self._show(history, inspection, strip)

    def _show(self, history: History, inspection: Inspection, strip: Strip) -> None:
        told = json.dumps(header(inspection, self._pending), ensure_ascii=False)
        self.state = State(history, inspection, strip, told, self._canvas, self._pending)
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _watch_attempts(self) -> None:
        while True:
            state = await self.seen()
            if state.history.closed is not None:
                return
            if state.inspection.frames and state.inspection.last.open_tasks:
                with suppress(RPCError, AnabranchError):
                    await self._look_at_attempts(state)
            await asyncio.sleep(_ATTEMPTS_EVERY)

    async def _look_at_attempts(self, state: State) -> None:
        pending = await self._runs.pending(state.inspection)
        newest = self.state
        if pending != self._pending and newest is not None and newest.history.closed is None:
            self._pending = pending
            self._show(newest.history, newest.inspection, newest.strip)


@dataclass(slots=True)
class LiveRuns:
    """All runs that somebody looks at."""

    client: Client
    inspector: Inspector
    most: int = _RUNS
    _watched: dict[tuple[str, str], Watched] = field(default_factory=dict)

    @asynccontextmanager
    async def watching(self, workflow_id: str, run_id: str) -> AsyncGenerator[Watched]:
        """A workflow run, which is followed as long as anybody looks at it. Raises Unavailable where too many are."""
        key = workflow_id, run_id
        if (watched := self._watched.get(key)) is None:
            if len(self._watched) >= self.most:
                raise Unavailable(
                    f"{self.most} runs are looked at already", suggestion="close the page of another run, and try again"
                )
            self._watched[key] = watched = Watched(self.client, self.inspector, workflow_id, run_id)
            watched.begin()
        watched.viewers += 1
        try:
            yield watched
        finally:
            watched.viewers -= 1
            if not watched.viewers and self._watched.get(key) is watched:
                del self._watched[key]
                await watched.end()

    async def messages(self, workflow_id: str, run_id: str, *, goes_on: bool) -> AsyncGenerator[Message]:
        """What a viewer of a workflow run is given; where it `goes_on`, of those that it continues as too.

        Raises what `watching` and `Watched.messages` raise.
        """
        next_run: str | None = run_id
        while next_run is not None:
            async with self.watching(workflow_id, next_run) as watched, aclosing(watched.messages()) as messages:
                async for message in messages:
                    yield message
                state = await watched.seen()
            next_run = state.inspection.next_run_id if goes_on else None

    def known(self, workflow_id: str, run_id: str) -> State | None:
        """A run that somebody looks at, as far as it is known."""
        watched = self._watched.get((workflow_id, run_id))
        return None if watched is None else watched.state

    async def close(self) -> None:
        """Look at nothing any more."""
        watched = [*self._watched.values()]
        self._watched.clear()
        await asyncio.gather(*(each.end() for each in watched))
