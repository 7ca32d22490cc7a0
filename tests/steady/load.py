"""Runs that are started at a steady rate, and are looked at when they are over."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client, WorkflowFailureError

from anabranch.context.stores.protocol import ContextStore
from tests.steady.kinds import KINDS, Expected, Handle, Kind

PATIENCE = 300.0
"""Seconds after the last start within which every run must be over."""
AT_ONCE = 200
"""Runs in flight, beyond which no other is started: the servers are too slow for the rate."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run that is over; `wrong` says what is not as it must be."""

    kind: str
    started: float
    """Seconds after the load began."""
    seconds: float
    ends: str
    wrong: str | None


@dataclass(frozen=True, slots=True)
class Site:
    """Where the runs happen, and where to look for what they leave."""

    client: Client
    engine: AsyncEngine
    store: ContextStore
    service: str
    """The URL that runs call."""
    task_queue: str


class Load:
    """Runs of all kinds, one every `1 / rate` seconds, whatever becomes of those before."""

    def __init__(self, site: Site, rate: float, seed: int) -> None:
        self._site = site
        self._rate = rate
        self._rng = random.Random(seed)
        self.started = 0
        self.over: list[Run] = []

    async def one_of_each(self) -> None:
        """Until the worker is there and has run each kind once; only what was wrong with these is kept."""
        now = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for kind in KINDS:
                group.create_task(self._play(kind, f"first-{kind.name.replace(' ', '-')}", now))
        self._forget()

    async def burst(self) -> None:
        """As many runs at once as there may ever be: pools of connections and threads are as full as they get then.

        They do not shrink, and what is seen to grow afterwards is none of them.
        """
        now = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for number in range(AT_ONCE):
                kind = KINDS[number % len(KINDS)]
                group.create_task(self._play(kind, f"burst-{number}-{kind.name.replace(' ', '-')}", now))
        self._forget()

    def _forget(self) -> None:
        """Count none of the runs so far but those that are wrong."""
        self.over = [run for run in self.over if run.wrong is not None]
        self.started = len(self.over)

    async def run(self, seconds: float) -> None:
        """Start runs for so long, and wait until they are over; those that are not in the end are wrong."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        going: dict[asyncio.Task[None], str] = {}
        while (due := self.started / self._rate) < seconds:
            await asyncio.sleep(began + due - loop.time())
            if len(going) >= AT_ONCE:
                await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
            (kind,) = self._rng.choices(KINDS, [each.share for each in KINDS])
            name = f"steady-{self.started}-{kind.name.replace(' ', '-')}"
            task = asyncio.create_task(self._play(kind, name, began))
            going[task] = name
            task.add_done_callback(lambda ended: going.pop(ended, None))
            self.started += 1
        if left := set(going):
            _, lost = await asyncio.wait(left, timeout=PATIENCE)
            for task in lost:
                self.over.append(Run("lost", seconds, PATIENCE, "open", f"{going[task]}: it is not over"))
                task.cancel()

    async def _play(self, kind: Kind, name: str, began: float) -> None:
        loop = asyncio.get_running_loop()
        given = kind.given(self._rng)
        if kind.graph == "steady_cached":
            given["service"] = self._site.service
        start = loop.time()
        try:
            handle = await self._site.client.start_workflow(
                kind.graph, given, id=name, task_queue=self._site.task_queue
            )
            await kind.meet(handle, given)
            ends, data = await _end(handle)
            seconds = loop.time() - start
            wrong = await self._wrong(handle, kind.expected(given), given, ends, data)
        except Exception as error:  # whatever it is, the load goes on, and the run is wrong
            ends, seconds, wrong = "unknown", loop.time() - start, f"{type(error).__name__}: {error}"
        self.over.append(Run(kind.name, start - began, seconds, ends, wrong and f"{name}: {wrong}"))

    async def _wrong(
        self, handle: Handle, expected: Expected, given: Mapping[str, Any], ends: str, data: Mapping[str, Any]
    ) -> str | None:
        """What is not as it must be."""
        if ends != expected.ends:
            return f"it {ends}, and was to be {expected.ends}"
        if ends == "completed" and data != {**given, **expected.data}:
            return f"its data is {data}, and was to be {dict(expected.data)}"
        if (rows := await self._rows(handle.id)) != expected.rows:
            return f"the ledger holds {rows}, not {expected.rows}"
        if expected.continues and (await handle.describe()).run_id == handle.first_execution_run_id:
            return "it did not continue as new"
        if expected.is_shared:
            shared = await self._site.store.load(handle.id)
            if shared is None or shared.data != data:
                told = (await handle.result()).get("not_shared", "it was shared")
                return f"the store holds {shared and shared.data}, not {data}; the result says: {told}"
        return None

    async def _rows(self, run: str) -> tuple[tuple[str, str], ...]:
        query = text("select step, kind from ledger where run = :run order by id")
        async with self._site.engine.connect() as connection:
            return tuple((step, kind) for step, kind in await connection.execute(query, {"run": run}))


async def _end(handle: Handle) -> tuple[str, dict[str, Any]]:
    """How the run ended, and the data of its result."""
    try:
        return "completed", dict((await handle.result())["data"])
    except WorkflowFailureError:
        return "failed", {}
