"""Runs scenarios on real workers that are really killed, and has what is left of each run checked."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowQueryFailedError
from temporalio.service import RPCError

from anabranch.settings import Settings
from anabranch.transport.client import connect
from tests.faults.checker import done, undone, violations
from tests.faults.graphs import DATABASE, LEDGER
from tests.faults.lane import lane
from tests.faults.record import Record, Row, read_history
from tests.faults.saboteur import Orders
from tests.faults.scenarios import Scenario

LANES = 4
_RUN_SECONDS = 90
_TRIES = 5
_GIVEN = {"customer": "c1"}


@dataclass(slots=True)
class Report:
    """What was done and found, by the scenarios' names."""

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    killed: int = 0

    def add(self, scenario: Scenario, record: Record, wrong: list[str]) -> None:
        """Count a run."""
        row = self.counts.setdefault(scenario.name, dict.fromkeys(("runs", "effects", "undone", "wrong"), 0))
        found = {"runs": 1, "effects": len(done(record)), "undone": len(undone(record)), "wrong": bool(wrong)}
        for name, count in found.items():
            row[name] += count
        self.wrong.extend(wrong)


class Harness:
    """The servers, the orders for workers, and the ledger."""

    def __init__(self, client: Client, engine: AsyncEngine, orders: Orders) -> None:
        self._client = client
        self._engine = engine
        self._orders = orders

    async def play(self, scenario: Scenario, task_queue: str) -> tuple[Record, list[str], list[str]]:
        """One run with its faults: what is left of it, what is wrong with that, and what did not go as ordered."""
        run = f"{scenario.name.partition(' ')[0]}-{uuid.uuid4().hex[:12]}"
        for address, fault in scenario.orders.items():
            self._orders.give(run, address, fault)
        handle = await self._client.start_workflow(
            "GraphWorkflow",
            {"graph": dict(scenario.shape.definition), "data": _GIVEN},
            id=run,
            task_queue=task_queue,
        )
        if scenario.cancel_at:
            await _first(self._orders.hear(run, scenario.cancel_at, "held"), _end(handle))
            with contextlib.suppress(RPCError):  # it may be over already
                await handle.cancel()
        await _end(handle)
        await self._let_the_late_come(run, scenario)
        record = await self._record(run, scenario, handle)
        return record, violations(record), list(self._not_as_ordered(run, scenario, record))

    async def _let_the_late_come(self, run: str, scenario: Scenario) -> None:
        for address, fault in scenario.orders.items():
            if fault == "late" and self._orders.struck(run, address):
                self._orders.tell(run, address, "over")
                await self._orders.hear(run, address, "late")

    def _not_as_ordered(self, run: str, scenario: Scenario, record: Record) -> Iterator[str]:
        for address, fault in scenario.orders.items():
            if not self._orders.struck(run, address):
                yield f"{run}: the fault {fault!r} at {address!r} did not happen"
        if record.ends != scenario.ends:
            yield f"{run}: it {record.ends}, and was to be {scenario.ends}"

    async def _record(self, run: str, scenario: Scenario, handle: WorkflowHandle[Any, Any]) -> Record:
        ends, events = read_history([event async for event in handle.fetch_history_events()])
        context = await _context(handle)
        shape = scenario.shape
        rows = await self._rows(run)
        return Record(run, ends, events, rows, _GIVEN, context["data"], shape.behind, shape.wrote, shape.sequential)

    async def _rows(self, run: str) -> tuple[Row, ...]:
        query = text("select step, kind from ledger where run = :run order by id")
        async with self._engine.connect() as connection:
            return tuple(Row(*row) for row in await connection.execute(query, {"run": run}))


async def _context(handle: WorkflowHandle[Any, Any]) -> dict[str, Any]:
    """The answer to the query `context`; on a busy machine its worker may need another try."""
    for _ in range(_TRIES):
        with contextlib.suppress(WorkflowQueryFailedError):
            context: dict[str, Any] = await handle.query("context")
            return context
    raise AssertionError(f"{handle.id} does not answer the query `context`")


async def _play_as_ordered(harness: Harness, scenario: Scenario, task_queue: str, report: Report) -> None:
    """Play a scenario, again where a step timed out of itself on a busy machine; each of the runs must be right."""
    for left in reversed(range(_TRIES)):
        async with asyncio.timeout(_RUN_SECONDS):
            record, wrong, astray = await harness.play(scenario, task_queue)
        report.add(scenario, record, wrong if left else [*wrong, *astray])
        if not astray:
            return


async def _first(*waiting: Coroutine[Any, Any, None]) -> None:
    """Until one of them is done."""
    tasks = [asyncio.create_task(each) for each in waiting]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


async def _end(handle: WorkflowHandle[Any, Any]) -> None:
    try:
        await handle.result()
    except WorkflowFailureError:
        return  # how it ended is read in the history


async def prove(
    address: str,
    database: str,
    folder: Path,
    scenarios: Iterable[Scenario],
    reported: Callable[[], object] = lambda: None,
) -> Report:
    """Play every scenario, `LANES` at a time, on the Temporal server at `address` and the PostgreSQL at `database`.

    `reported` is called after each.
    """
    report, waiting = Report(), list(scenarios)[::-1]
    async with AsyncExitStack() as stack:
        client = await connect(
            Settings(), target_host=address, namespace="default", api_key=None, tls=False, rpc_metadata={}
        )
        engine = create_async_engine(database)
        stack.push_async_callback(engine.dispose)
        async with engine.begin() as connection:
            await connection.execute(text(LEDGER))
        harness = Harness(client, engine, Orders(folder))

        async def work(task_queue: str) -> None:
            async with lane(task_queue, address, folder, {DATABASE: database}) as served:
                while waiting:
                    scenario = waiting.pop()
                    await _play_as_ordered(harness, scenario, task_queue, report)
                    reported()
            report.killed += served.killed

        async with asyncio.TaskGroup() as group:
            for _ in range(min(LANES, len(waiting))):
                group.create_task(work(f"faults-{uuid.uuid4().hex[:8]}"))
    return report
