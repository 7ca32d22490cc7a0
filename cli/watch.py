"""Watch a run until it is over: draw it, print its result or why it failed, let Ctrl-C interrupt."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from rich.highlighter import JSONHighlighter
from rich.text import Text
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowQueryFailedError
from temporalio.service import RPCError

from anabranch.cli.failure import describe, show_failure
from anabranch.cli.leaving import interruptible
from anabranch.cli.live import LiveRun
from anabranch.cli.local import first_of
from anabranch.cli.queues import Unserved, watch_queues
from anabranch.cli.report import err, out, show_finding
from anabranch.context.values import Json
from anabranch.display import plain, plain_json
from anabranch.graph.model import Graph

_POLL_SECONDS = 0.2
_FAILED, _INTERRUPTED = 1, 130


class Watch:
    """One run that is watched. `worker` runs beside it, if there is one.

    `server` is the address that commands to copy must name, where the environment names none.
    """

    def __init__(
        self,
        handle: WorkflowHandle[Any, Any],
        graph: Graph,
        worker: asyncio.Task[None] | None,
        *,
        follow: bool,
        as_json: bool,
        client: Client,
        server: str | None = None,
    ) -> None:
        self._handle = handle
        self._client = client
        self._worker = worker
        self._told: set[str] = set()
        self._live = LiveRun(graph, handle.id, server) if follow else None
        self._as_json = as_json
        self._interrupts = 0
        self._leave = asyncio.Event()
        self._cancelling: asyncio.Task[None] | None = None

    async def until_over(self, started: str, *, cancel_on_interrupt: bool) -> int:
        """Print `started` where the run is not drawn, and wait for its end; returns the exit code.

        An interrupt leaves the run alone or cancels it, as asked; a second one leaves at once.
        """
        result = asyncio.ensure_future(self._handle.result())
        with interruptible(lambda _: self._interrupted(cancel=cancel_on_interrupt)):
            if self._live is None:
                err().print(started, markup=False)  # whoever reads this may interrupt
            async with self._drawing(result) as drawn, self._looking_for_workers(result):
                leave = asyncio.ensure_future(self._leave.wait())
                await first_of(result, leave, worker=self._worker)
                leave.cancel()
                if result.done() and drawn is not None:
                    await drawn
        if not result.done():
            result.cancel()
            return self._left()
        return self._outcome(result)

    @asynccontextmanager
    async def _drawing(self, result: asyncio.Future[Any]) -> AsyncGenerator[asyncio.Task[None] | None]:
        if self._live is None:
            yield None
            return
        task = asyncio.create_task(draw(self._handle, self._live, result))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait({task})

    @asynccontextmanager
    async def _looking_for_workers(self, result: asyncio.Future[Any]) -> AsyncGenerator[None]:
        task = asyncio.create_task(watch_queues(self._client, self._handle, self._show_unserved, result))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    def _show_unserved(self, found: Sequence[Unserved]) -> None:
        if self._live is not None:
            self._live.show_unserved(found)
            return
        for each in found:
            if each.queue not in self._told:
                self._told.add(each.queue)
                advice = "start a worker for it, or give the node a `queue_timeout`"
                show_finding("NO_WORKER", None, str(each), advice, warning=True)

    def _interrupted(self, *, cancel: bool) -> None:
        self._interrupts += 1
        if not cancel or self._interrupts > 1:
            self._leave.set()
        else:
            self._say("cancelling the run; Ctrl-C again leaves at once")
            self._cancelling = asyncio.ensure_future(self._handle.cancel())

    def _say(self, text: str) -> None:
        if self._live is None:
            err().print(text)
        else:
            self._live.say(text)

    def _left(self) -> int:
        err().print(f"left; see how it goes on with `temporal workflow show --workflow-id {plain(self._handle.id)}`")
        return _INTERRUPTED

    def _outcome(self, result: asyncio.Future[Any]) -> int:
        try:
            value = result.result()
        except WorkflowFailureError as error:
            failure = describe(error)
            if self._as_json:
                self._print({"session_id": self._handle.id, "status": "failed", "error": failure})
            show_failure(failure)
            return _INTERRUPTED if self._interrupts else _FAILED
        self._print(value)
        return 0

    def _print(self, value: Json) -> None:
        screen = out()
        text = plain_json(json.dumps(value, indent=2, ensure_ascii=False))
        if screen.is_terminal and not self._as_json:
            screen.print(JSONHighlighter()(Text(text, no_wrap=True)))
        else:
            screen.file.write(text + "\n")


async def draw(handle: WorkflowHandle[Any, Any], live: LiveRun, over: asyncio.Future[Any]) -> None:
    """Draw a run on standard error until it is over."""
    with live:
        while not over.done():
            await _look(handle, live)
            await asyncio.wait({over}, timeout=_POLL_SECONDS)
        await _look(handle, live)


async def _look(handle: WorkflowHandle[Any, Any], live: LiveRun) -> None:
    closed = live.closed
    try:
        live.show(await handle.query("status"))
        if live.closed > closed:
            live.show_history(await handle.query("history"))
    except (RPCError, WorkflowQueryFailedError) as error:
        live.cannot_see(str(error))
