"""Who runs the same steps: each with a worker process of its own, and what one run of it leaves."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from temporalio.client import Client

from anabranch.dev.devserver import DevServer
from anabranch.inspection.billing import Size, size_of
from anabranch.settings import Settings
from anabranch.sql.engines import open_engine
from anabranch.transport.client import connect
from benchmarks.figures import ROOT
from benchmarks.hand_written import check, state_of
from benchmarks.peers.dsl import definition_of
from benchmarks.postgres import Postgres
from benchmarks.race import Contestant
from benchmarks.workers import floor_client, usual_client

OURS: Final = ("graph", "local")
AGAIN: Final = "again"
"""The graph once more: what it differs from itself is the noise of the ratios."""
_GRAPHS: Final[Mapping[str, str]] = {"chain": "steps", "diamond": "diamond"}
_TABLES: Final = ("workflow_status", "workflow_input", "workflow_output", "operation_outputs")


@dataclass(frozen=True, slots=True)
class Cell:
    """What is run: a shape, and the bytes of context that it begins with."""

    shape: str
    size: int


@dataclass(frozen=True, slots=True)
class Entrant:
    """A contestant, and how to see what a run of it leaves."""

    contestant: Contestant
    size: Callable[[Any], Awaitable[Size]]


@dataclass(frozen=True, slots=True)
class Others:
    """What the other libraries need: the Python that has them, and a database."""

    python: Path
    database: Postgres


@asynccontextmanager
async def entrants(cell: Cell, others: Others | None) -> AsyncGenerator[list[Entrant]]:
    """All of them on a fresh Temporal server; without `others` those that need nothing but this environment."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(await DevServer.start())
        found = await _on_temporal(cell, server, others, stack)
        if others is not None:
            process = await stack.enter_async_context(_dbos_process(others, cell.size))
            dbos = _Dbos(cell.shape, process, others.database)
            stack.push_async_callback(dbos.aclose)
            found.append(Entrant(Contestant("dbos", dbos.run, process.pid, others.database.pid), dbos.size))
        yield found


async def _on_temporal(cell: Cell, server: DevServer, others: Others | None, stack: AsyncExitStack) -> list[Entrant]:
    address = server.address
    worker = [sys.executable, "-m", "benchmarks.peers.worker"]
    pids = {
        name: stack.enter_context(_process([*worker, name, address, name]))
        for name in ("anabranch", "floor", "usual", "dsl")
    }
    if others is not None:
        command = [str(others.python), "-m", "benchmarks.peers.langgraph_worker", address, "langgraph"]
        pids["langgraph"] = stack.enter_context(_process(command))
    ours = await connect(Settings(), target_host=address)
    usual = await usual_client(address)
    clients = {
        "anabranch": ours,
        "floor": await floor_client(address),
        "usual": usual,
        "dsl": usual,
        "langgraph": usual,
    }
    found = []
    for name, (queue, workflow_type) in _types(cell.shape).items():
        if queue in pids:
            starter = _Starter(clients[queue], workflow_type, queue, cell)
            found.append(Entrant(Contestant(name, starter.run, pids[queue], server.pid), size_of))
    return found


def _types(shape: str) -> dict[str, tuple[str, str]]:
    """The task queue and the workflow type of each contestant."""
    graph = f"{_GRAPHS[shape]}_graph"
    return {
        "graph": ("anabranch", graph),
        "local": ("anabranch", f"{_GRAPHS[shape]}_local"),
        AGAIN: ("anabranch", graph),
        "floor": ("floor", f"floor-{shape}"),
        "usual": ("usual", f"usual-{shape}"),
        "dsl": ("dsl", "dsl"),
        "langgraph": ("langgraph", f"langgraph-{shape}"),
    }


class _Starter:
    """Starts runs of one workflow type."""

    def __init__(self, client: Client, workflow_type: str, task_queue: str, cell: Cell) -> None:
        self._client = client
        self._type = workflow_type
        self._queue = task_queue
        self._shape = cell.shape
        self._state = state_of(cell.size)
        self._input: Any = definition_of(cell.shape, self._state) if workflow_type == "dsl" else self._state

    async def run(self) -> Any:
        """One run from its start to its checked result; its handle."""
        workflow_id = f"{self._type}-{uuid.uuid4().hex}"
        handle = await self._client.start_workflow(self._type, self._input, id=workflow_id, task_queue=self._queue)
        result = await handle.result()
        check(self._shape, self._state, result.get("data", result))
        return handle


class _Dbos:
    """Asks a DBOS process for runs; a line for each, both ways."""

    def __init__(self, shape: str, process: Process, database: Postgres) -> None:
        self._shape = shape
        self._process = process
        self._database = database
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self._listening = asyncio.create_task(self._listen())

    async def run(self) -> str:
        """One run from its start to its checked result; its id."""
        assert self._process.stdin is not None
        workflow_id = uuid.uuid4().hex
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting[workflow_id] = ended
        self._process.stdin.write(f"{self._shape} {workflow_id}\n".encode())
        return await ended

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            workflow_id = line.decode().strip()
            self._waiting.pop(workflow_id).set_result(workflow_id)
        for ended in self._waiting.values():
            ended.set_exception(RuntimeError("the DBOS process has ended"))

    async def size(self, workflow_id: str) -> Size:
        """The values of the rows that a run has left, as text; DBOS knows no events and no Actions."""
        engine = open_engine(_database_of(self._database))
        rows = total = 0
        async with engine.connect() as connection:
            for table in _TABLES:
                found = await connection.exec_driver_sql(
                    "select count(distinct t.ctid) as kept, coalesce(sum(octet_length(v.value)), 0) as size "
                    f"from dbos.{table} t, "
                    f"lateral jsonb_each_text(to_jsonb(t)) v where workflow_uuid = '{workflow_id}'"
                )
                row = found.mappings().one()
                rows, total = rows + row["kept"], total + int(row["size"])
        await engine.dispose()
        return Size(0, rows, total)

    async def aclose(self) -> None:
        """Hear no more."""
        self._listening.cancel()
        with suppress(asyncio.CancelledError):
            await self._listening


def _database_of(database: Postgres) -> str:
    """DBOS makes one of its own."""
    return database.url.replace("/postgres?", "/dbos?")


async def no_waiting_for_the_disk(database: Postgres) -> None:
    """Let commits return before they are on disk: Temporal's server keeps what it has in memory."""
    engine = open_engine(database.url).execution_options(isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.exec_driver_sql("alter system set synchronous_commit = off")
        await connection.exec_driver_sql("select pg_reload_conf()")
    await engine.dispose()


@asynccontextmanager
async def _dbos_process(others: Others, size: int) -> AsyncGenerator[Process]:
    url = _database_of(others.database).replace("postgresql://", "postgresql+psycopg://")
    command = [str(others.python), "-m", "benchmarks.peers.dbos_worker", url, str(size)]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=PIPE, stdout=PIPE)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


@contextmanager
def _process(command: list[str]) -> Generator[int]:
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()
