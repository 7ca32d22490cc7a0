"""What metrics cost a worker: `python -m benchmarks.overhead --metrics`.

Two worker processes on one fresh dev server serve the same graphs, one with its metrics on, which are read every 15
seconds, as Prometheus reads them. They take turns at the same load; who comes first changes from round to round. What
counts is the ratio of the CPU time that the two took in one round, so that what disturbs both disturbs it little.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx2
from temporalio.client import Client

from anabranch.dev.devserver import DevServer
from anabranch.loopback import LOOPBACK, free_port
from anabranch.observe.probes import observing
from anabranch.settings import Settings
from anabranch.transport.client import connect
from benchmarks.figures import Figure
from benchmarks.process import cpu_seconds
from benchmarks.ratios import paired
from benchmarks.workers import graph_worker

QUEUES = ("plain", "measured")
GRAPHS = ("graph", "local")
AIM = 1.02
_SCRAPE_SECONDS = 15


async def serve(address: str, queue: str, metrics_address: str | None = None) -> None:
    """One worker process."""
    settings = Settings(task_queue=queue)
    async with observing(metrics_address, None, {}) as runtime:
        client = await connect(settings, target_host=address, runtime=runtime)
        async with graph_worker(client, settings):
            await asyncio.Event().wait()


@asynccontextmanager
async def _workers(address: str, port: int) -> AsyncGenerator[dict[str, int]]:
    """Both processes, by their queue."""
    command = [sys.executable, "-m", "benchmarks.metrics", address]
    commands = {"plain": [*command, "plain"], "measured": [*command, "measured", f"{LOOPBACK}:{port}"]}
    running = {queue: subprocess.Popen(each) for queue, each in commands.items()}  # noqa: ASYNC220 - they start at once
    try:
        yield {queue: process.pid for queue, process in running.items()}
    finally:
        for process in running.values():
            process.terminate()
            process.wait()


@dataclass
class Load:
    """The load of one round, for either worker."""

    client: Client
    pids: dict[str, int]
    concurrent: int
    runs: int = 0

    async def cpu(self, graph: str, queue: str) -> float:
        """CPU seconds of the queue's worker for so many runs."""
        before = cpu_seconds(self.pids[queue])
        await asyncio.gather(*(self._run(graph, queue) for _ in range(self.concurrent)))
        return cpu_seconds(self.pids[queue]) - before

    async def _run(self, graph: str, queue: str) -> None:
        self.runs += 1
        await self.client.execute_workflow(f"steps_{graph}", {"count": 1}, id=f"{queue}-{self.runs}", task_queue=queue)


Seconds = dict[str, dict[str, list[float]]]
"""CPU seconds of each kind of graph and each worker, round by round."""


async def measure(*, rounds: int, concurrent: int) -> Seconds:
    """Both workers in turns."""
    port = free_port()
    seconds: Seconds = {graph: {queue: [] for queue in QUEUES} for graph in GRAPHS}
    async with await DevServer.start() as server, _workers(server.address, port) as pids:
        load = Load(await connect(Settings(), target_host=server.address), pids, concurrent)
        for graph in GRAPHS:  # both are warm then
            for queue in QUEUES:
                await load.cpu(graph, queue)
        reading = asyncio.create_task(_read_again_and_again(port))
        for turn in range(rounds):
            for graph in GRAPHS:
                for queue in QUEUES if turn % 2 else QUEUES[::-1]:
                    seconds[graph][queue].append(await load.cpu(graph, queue))
        reading.cancel()
    return seconds


async def _read_again_and_again(port: int) -> None:
    """As Prometheus does."""
    async with httpx2.AsyncClient() as http:
        while True:
            shown = await http.get(f"http://{LOOPBACK}:{port}/metrics")
            assert "anabranch_node_runs_total" in shown.text
            await asyncio.sleep(_SCRAPE_SECONDS)


def report(seconds: Seconds) -> None:
    """The ratio of each kind of graph, with its 95 % interval over the rounds."""
    print("\nCPU of a worker with metrics over one without")
    for graph, found in seconds.items():
        ratio = paired(found["measured"], found["plain"])
        verdict = "met   " if ratio.middle <= AIM else "MISSED"
        print(f"  {verdict} {graph:<6} {ratio} in {len(found['plain'])} rounds")
    print(f"  (aim <= {AIM:.2f})")


def figures_of(seconds: Seconds) -> list[Figure]:
    """The worker with metrics over the one without."""
    return [
        Figure(f"{graph}/{queue}", "CPU s", "lower", tuple(rounds), None if queue == "plain" else f"{graph}/plain")
        for graph, found in seconds.items()
        for queue, rounds in found.items()
    ]


if __name__ == "__main__":  # a worker process
    asyncio.run(serve(*sys.argv[1:]))
