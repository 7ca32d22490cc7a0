"""One batch of a storm: sagas that are started, asked, paused, written into and cancelled while something is struck.

Each batch has servers of its own and is played by one seed, so that it can be played again alone. Afterwards nothing is
taken on trust: every history and every row is read, and every history replayed.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowQueryFailedError
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from anabranch.plugin import AnabranchPlugin
from anabranch.settings import Settings
from anabranch.sql.engines import open_engine
from anabranch.transport.client import connect
from tests.faults.checker import done, undone, violations
from tests.faults.graphs import DATABASE, LEDGER
from tests.faults.record import Record, Row, read_history
from tests.storms.events import by_events
from tests.storms.graphs import SHAPES, write_graphs
from tests.storms.runs import PATIENCE, TASK_QUEUE, ByClient, Ended, Handle, Run, Starter, persist
from tests.storms.victims import MariaDb, Nats, Postgres, Temporal, Victim, Workers

WORKERS = 3
AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class Storm:
    """What is struck how often in a batch, while so many sagas run."""

    name: str
    what: str
    struck: Literal["workers", "workers gently", "temporal", "database", "commits", "nats"]
    runs: int
    strikes: int
    database: Literal["postgres", "mariadb"] = "postgres"


@dataclass(slots=True)
class Tally:
    """What a batch came to. `wrong` is empty where nothing was lost, doubled, left, stuck or different on replay."""

    runs: int = 0
    struck: int = 0
    effects: int = 0
    undone: int = 0
    stuck: int = 0
    unreplayable: int = 0
    wrong: list[str] = field(default_factory=list)

    def __iadd__(self, other: Tally) -> Tally:
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self


async def play(storm: Storm, number: int, seed: int) -> Tally:
    """Play a batch, and have everything checked that is left of it."""
    rng = random.Random(f"{seed}/{storm.name}/{number}")
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="anabranch-storm-")))
        graphs = folder / "graphs"
        graphs.mkdir()
        write_graphs(graphs)
        temporal = await stack.enter_async_context(Temporal.running(folder))
        running = MariaDb.running(rng) if storm.database == "mariadb" else Postgres.running(rng)
        database: Victim
        database, cutter, url = await stack.enter_async_context(running)
        engine = open_engine(url)
        stack.push_async_callback(engine.dispose)
        async with engine.begin() as connection:
            await connection.execute(text(LEDGER))
        workers = Workers(WORKERS, rng, gently=storm.struck == "workers gently")
        environment = _environment(temporal.address, graphs, url)
        await stack.enter_async_context(workers.serving(environment))
        victims: dict[str, Victim] = {"temporal": temporal, "database": database, "commits": cutter}
        client = await _connected(temporal.address)
        starter: Starter = ByClient(client)
        if storm.struck == "nats":
            nats = await stack.enter_async_context(Nats.running(folder, rng))
            starter = await stack.enter_async_context(by_events(client, nats.url, environment))
            victims["nats"] = nats
        batch = _Batch(storm, _Left(starter, engine, graphs), rng, victims.get(storm.struck, workers))
        return await batch.play()


@dataclass(frozen=True, slots=True)
class _Left:
    """What starts runs, and where to find what is left of them."""

    starter: Starter
    engine: AsyncEngine
    graphs: Path


class _Batch:
    def __init__(self, storm: Storm, left: _Left, rng: random.Random, victim: Victim) -> None:
        self._storm = storm
        self._starter = left.starter
        self._engine = left.engine
        self._graphs = left.graphs
        self._rng = rng
        self._victim = victim
        self._begun = 0
        self._begins = asyncio.Condition()
        self._is_over = asyncio.Event()
        self._tally = Tally()

    async def play(self) -> Tally:
        limit = asyncio.Semaphore(AT_ONCE)
        seeds = [self._rng.random() for _ in range(self._storm.runs)]
        runs = [Run(f"{self._storm.name}-{index}", seed) for index, seed in enumerate(seeds)]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._strike())
            for run in runs:
                group.create_task(self._played(run, limit))
        ended = [await self._check(run) for run in runs]
        self._tally.wrong += await self._starter.findings(ended)
        return self._tally

    async def _strike(self) -> None:
        """Strike at moments that are spread over the runs."""
        for number in range(self._storm.strikes):
            await self._until_begun(self._storm.runs * (number + 1) // (self._storm.strikes + 1))
            await asyncio.sleep(self._rng.random() * 0.5)
            await self._victim.strike()
            self._tally.struck += 1
        self._is_over.set()

    async def _until_begun(self, count: int) -> None:
        async with self._begins:
            await self._begins.wait_for(lambda: self._begun >= count)

    async def _played(self, run: Run, limit: asyncio.Semaphore) -> None:
        async with limit:
            async with self._begins:
                self._begun += 1
                self._begins.notify_all()
            handle = await self._starter.start(run)
            disturbing = asyncio.create_task(run.disturb(handle))
            await self._end(handle)
            await disturbing

    async def _end(self, handle: Handle) -> None:
        """Until the run is over, or is stuck."""
        with suppress(TimeoutError):
            left: float | None = None
            loop = asyncio.get_running_loop()
            while (await persist(handle.describe)).status is WorkflowExecutionStatus.RUNNING:
                if self._is_over.is_set():
                    left = left or loop.time() + PATIENCE
                if left is not None and loop.time() > left:
                    return
                await asyncio.sleep(0.1)

    async def _check(self, run: Run) -> Ended:
        tally, handle = self._tally, self._starter.handle(run)
        history = await persist(handle.fetch_history)
        ends, events = read_history(history.events)
        rows = await self._rows(handle.id)
        # A run that was cancelled before it had its graph has no context: it is as it was started.
        context = {} if ends == "open" else (await _context(handle)).get("data", run.given)
        data = {key: value for key, value in context.items() if key != "note"}
        shape = SHAPES[run.graph]
        record = Record(
            run.name,
            ends,
            events,
            rows,
            run.given,
            data,
            shape.behind,
            shape.wrote,
            shape.sequential,
            shape.last,
            shape.of_blocks,
        )
        wrong = violations(record)
        if ends not in run.may_end:
            failed = history.events[-1].workflow_execution_failed_event_attributes.failure.message
            wrong.append(f"{run.name}: it {ends}, and was to be {' or '.join(run.may_end)}; {failed}")
        replayer = Replayer(
            workflows=[], plugins=[AnabranchPlugin(self._graphs)], workflow_runner=UnsandboxedWorkflowRunner()
        )
        replayed = await replayer.replay_workflow(history, raise_on_replay_failure=False)
        if replayed.replay_failure is not None:
            tally.unreplayable += 1
            wrong.append(f"{run.name}: its history does not replay: {replayed.replay_failure}")
        found = Tally(1, 0, len(done(record)), len(undone(record)), int(ends == "open"), 0, wrong)
        tally += found
        return Ended(run, ends, context)

    async def _rows(self, run: str) -> tuple[Row, ...]:
        query = text("select step, kind from ledger where run = :run order by id")
        async with self._engine.connect() as connection:
            return tuple(Row(*row) for row in await connection.execute(query, {"run": run}))


def _environment(temporal: str, graphs: Path, database: str) -> dict[str, str]:
    """What workers and commands are told."""
    return {
        "TEMPORAL_ADDRESS": temporal,
        "ANABRANCH_GRAPHS": str(graphs),
        "ANABRANCH_TASK_QUEUE": TASK_QUEUE,
        "ANABRANCH_CONNECTIONS": DATABASE,
        DATABASE: database,
    }


async def _connected(address: str) -> Client:
    return await connect(Settings(), target_host=address, namespace="default", api_key=None, tls=False, rpc_metadata={})


async def _context(handle: Handle) -> dict[str, Any]:
    while True:
        with suppress(WorkflowQueryFailedError):  # its worker may have been killed a moment ago
            return dict(await persist(lambda: handle.query("context")))
        await asyncio.sleep(0.1)
