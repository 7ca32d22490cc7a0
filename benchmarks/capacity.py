"""What workers can carry: one, two and four worker processes share many runs.

Six steps in a chain, as activities, as local nodes and as `db` nodes that write to PostgreSQL. For each: runs per
second, the CPU of workers, server, database and starter, what the limit was; and what a run leaves in Temporal
(Actions, events, bytes), by its history. Server, workers, database and starter share this machine: the CPU seconds of a
run are what to size by, not the runs per second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from temporalio.client import Client

from anabranch.dev.devserver import DevServer
from anabranch.inspection.billing import Size, size_of
from anabranch.settings import Settings
from anabranch.sql.engines import open_engine
from anabranch.transport.client import connect
from benchmarks import figures
from benchmarks.figures import Figure
from benchmarks.postgres import postgres
from benchmarks.process import cpu_seconds_of_all

ROOT: Final = Path(__file__).parents[1]
STEPS: Final = ("validate", "inventory", "shipping", "payment", "status", "notify")
KINDS: Final = ("activities", "local", "database")
DATABASE: Final = "CAPACITY_URL"
LEDGER: Final = "create table ledger (id bigserial primary key, run text, step text)"
BUSY: Final = 0.85
"""The share of what there is from which on it counts as the limit."""
_COLUMNS: Final = ("workers", "server", "database", "starter")


def steps(kind: str) -> dict[str, Any]:
    """Six steps in a chain, as a graph."""
    nodes = {step: _step(kind, step) for step in STEPS}
    edges = [{"from": source, "to": target} for source, target in pairwise(STEPS)]
    return {"name": kind, "nodes": nodes, "edges": edges}


def _step(kind: str, step: str) -> dict[str, Any]:
    if kind != "database":
        rule = {"type": "rule", "rules": [{"then": {step: "{{ count + 1 }}"}}], "reads": ["count"]}
        return {**rule, "local": True} if kind == "local" else rule
    query = "insert into ledger (run, step) values (:run, :step)"
    params = {"run": "{{ run.session_id }}", "step": step}
    return {"type": "db", "connection": DATABASE, "query": query, "params": params, "output": {step: "2"}, "reads": []}


@dataclass(frozen=True, slots=True)
class Load:
    """What `runs` runs took on so many workers: seconds, and CPU seconds by who used them."""

    kind: str
    workers: int
    runs: int
    seconds: float
    cpu: Mapping[str, float]

    def per_run(self, who: str) -> float:
        """CPU milliseconds of one run."""
        return self.cpu[who] / self.runs * 1000

    def limit(self, cores: int) -> str:
        """What kept it from being faster."""
        if (busy := sum(self.cpu.values()) / self.seconds / cores) >= BUSY:
            most = max(self.cpu, key=lambda who: self.cpu[who])
            return f"the machine's cores ({busy:.0%} busy), of which {most} took most"
        if self.cpu["workers"] / self.seconds / self.workers >= BUSY:
            return "the workers: each has one core at most"
        return f"none of these: {busy:.0%} of the cores were busy"


@dataclass(frozen=True, slots=True)
class Site:
    """The servers, and a client."""

    client: Client
    server: int
    database: int
    environment: Mapping[str, str]

    @contextmanager
    def workers(self, count: int, folder: Path) -> Generator[list[int]]:
        """So many worker processes; their process ids."""
        with (folder / "workers.log").open("ab") as log:
            started = [self._worker(log.fileno()) for _ in range(count)]
            try:
                yield [process.pid for process in started]
            finally:
                for process in started:
                    process.terminate()
                for process in started:
                    process.wait()

    def _worker(self, log: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "worker.py")],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            stderr=log,
        )

    async def run(self, kind: str, number: str) -> str:
        """One run from start to result; its workflow id."""
        workflow_id = f"{kind}-{number}"
        task_queue = self.environment["ANABRANCH_TASK_QUEUE"]
        handle = await self.client.start_workflow(kind, {"count": 1}, id=workflow_id, task_queue=task_queue)
        result = await handle.result()
        assert all(result["data"][step] == 2 for step in STEPS), result
        return workflow_id

    async def size(self, workflow_id: str) -> Size:
        """What a run has left."""
        return await size_of(self.client.get_workflow_handle(workflow_id))

    def cpu(self, workers: Sequence[int]) -> dict[str, float]:
        """CPU seconds so far."""
        used = (
            sum(map(cpu_seconds_of_all, workers)),
            cpu_seconds_of_all(self.server),
            cpu_seconds_of_all(self.database),
            time.process_time(),
        )
        return dict(zip(_COLUMNS, used, strict=True))

    async def load(self, kind: str, workers: Sequence[int], runs: int, at_once: int, turn: str) -> Load:
        """So many runs, `at_once` of them in flight."""
        numbers: Iterator[int] = iter(range(runs))

        async def start() -> None:
            for number in numbers:
                await self.run(kind, f"{turn}-{number}")

        began, before = time.perf_counter(), self.cpu(workers)
        await asyncio.gather(*(start() for _ in range(at_once)))
        seconds, after = time.perf_counter() - began, self.cpu(workers)
        return Load(kind, len(workers), runs, seconds, {who: after[who] - before[who] for who in _COLUMNS})


@asynccontextmanager
async def site(folder: Path) -> AsyncGenerator[Site]:
    """Temporal and PostgreSQL, and the graphs in a folder."""
    graphs = folder / "graphs"
    graphs.mkdir()
    for kind in KINDS:
        (graphs / f"{kind}.yaml").write_text(json.dumps(steps(kind)))
    async with AsyncExitStack() as stack:
        temporal = await stack.enter_async_context(await DevServer.start())
        database = stack.enter_context(postgres())
        engine = open_engine(database.url)
        async with engine.begin() as connection:
            await connection.exec_driver_sql(LEDGER)
        await engine.dispose()
        settings = Settings(graphs=graphs, task_queue="capacity")
        environment = {
            "TEMPORAL_ADDRESS": temporal.address,
            "ANABRANCH_GRAPHS": str(graphs),
            "ANABRANCH_TASK_QUEUE": settings.task_queue,
            "ANABRANCH_CONNECTIONS": DATABASE,
            DATABASE: database.url,
        }
        client = await connect(settings, target_host=temporal.address)
        yield Site(client, temporal.pid, database.pid, environment)


async def measure(folder: Path, counts: Sequence[int], runs: int, at_once: int) -> tuple[list[Load], dict[str, Size]]:
    """Every kind of graph on each number of workers, and what a run of each kind leaves."""
    loads: list[Load] = []
    sizes: dict[str, Size] = {}
    async with site(folder) as here:
        for count in counts:
            with here.workers(count, folder) as workers:
                for kind in KINDS:
                    warm = [here.run(kind, f"{count}-warm-{number}") for number in range(10 * count)]
                    sizes[kind] = await here.size((await asyncio.gather(*warm))[0])
                    loads.append(await here.load(kind, workers, runs, at_once, str(count)))
                    print(f"{kind} on {count}: {loads[-1].seconds:.0f} s", file=sys.stderr, flush=True)
    return loads, sizes


def report(loads: Sequence[Load], sizes: Mapping[str, Size], cores: int) -> str:
    """The tables as text."""
    lines = [f"{cores} cores; CPU in milliseconds of a run"]
    lines.append(f"{'graph':<12}{'workers':>8}{'runs/s':>8}" + "".join(f"{who:>10}" for who in _COLUMNS) + "  limit")
    for load in loads:
        parts = "".join(f"{load.per_run(who):10.1f}" for who in _COLUMNS)
        rate = load.runs / load.seconds
        lines.append(f"{load.kind:<12}{load.workers:>8}{rate:>8.1f}{parts}  {load.limit(cores)}")
    head = ("graph", "runs/s and worker core", "Actions/run", "events/run", "bytes/node")
    lines.append("\n{:<12}{:>24}{:>13}{:>12}{:>12}".format(*head))
    for kind, size in sizes.items():
        dearest = max(load.per_run("workers") for load in loads if load.kind == kind)
        per_node = size.bytes / len(STEPS)
        lines.append(f"{kind:<12}{1000 / dearest:>24.0f}{size.actions:>13}{size.events:>12}{per_node:>12.0f}")
    return "\n".join(lines)


def figures_of(loads: Sequence[Load], sizes: Mapping[str, Size]) -> list[Figure]:
    """One round of each load: a record to look at, too few to compare."""
    found = []
    for load in loads:
        place = f"{load.kind} on {load.workers}"
        found.append(Figure(f"{place}/throughput", "runs/s", "higher", (load.runs / load.seconds,)))
        found += [Figure(f"{place}/{who} CPU", "ms a run", "lower", (load.per_run(who),)) for who in _COLUMNS]
    for kind, size in sizes.items():
        found.append(Figure(f"{kind}/Actions", "", "lower", (size.actions,)))
        found.append(Figure(f"{kind}/history", "bytes", "lower", (size.bytes,)))
    return found


async def main() -> None:
    """Measure and report."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    options.add_argument("--runs", type=int, default=1_000, help="of each graph, for each number of workers")
    options.add_argument("--at-once", type=int, default=100, help="runs in flight")
    figures.add_option(options)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="anabranch-capacity-") as folder:
        loads, sizes = await measure(Path(folder), chosen.workers, chosen.runs, chosen.at_once)
    print(report(loads, sizes, os.cpu_count() or 1))
    figures.keep(chosen.json, "capacity", figures_of(loads, sizes))


if __name__ == "__main__":
    asyncio.run(main())
    sys.stdout.flush()
    os._exit(0)  # Python can crash at exit after Temporal client use (temporalio/sdk-python issue 300)
