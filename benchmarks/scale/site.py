"""A Temporal server, and a worker in this process."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from temporalio.client import Client

from anabranch.activities.standard import node_activities
from anabranch.dev.devserver import DevServer
from anabranch.settings import Settings
from anabranch.transport.client import connect
from anabranch.worker import build_worker
from benchmarks.process import TICK, cpu_seconds
from benchmarks.scale.growth import Cost


@dataclass(slots=True)
class Ran:
    """A run that has ended: its cost, the events of its workflow runs, and the worker's memory on the way in MiB."""

    cost: Cost
    events: list[int]
    memory: list[float]

    @property
    def swelling(self) -> float:
        """The most memory of all the way, over the most in its first half."""
        half = self.memory[: len(self.memory) // 2 + 1]
        return max(self.memory) / max(half)


@dataclass(slots=True)
class Site:
    """What runs graphs by their names. `last` has the last run of each graph and size."""

    server: int
    client: Client
    task_queue: str
    last: dict[tuple[str, int], Ran] = field(default_factory=dict)

    async def run(self, graph: str, data: Mapping[str, Any], size: int) -> dict[str, Any]:
        """Run a graph to its end; its result."""
        workflow_id, memory = f"{graph}-{uuid.uuid4().hex}", [_resident_mib()]
        watching = asyncio.create_task(_watch(memory))
        clock = self.clock()
        handle = await self.client.start_workflow(graph, data, id=workflow_id, task_queue=self.task_queue)
        result: dict[str, Any] = await handle.result()
        cost = clock()
        watching.cancel()
        found = [each.history_length async for each in self.client.list_workflows(f"WorkflowId = '{workflow_id}'")]
        self.last[graph, size] = Ran(cost, found, memory)
        return result

    def clock(self) -> Callable[[], Cost]:
        """What tells the cost from now on: of the worker, which is this process, and of the server."""
        began, cpu = time.perf_counter(), self._cpu()
        # The kernel counts the server's CPU time in ticks, so that a short run may seem to cost nothing.
        return lambda: Cost(time.perf_counter() - began, max(self._cpu() - cpu, TICK))

    def _cpu(self) -> float:
        return time.process_time() + cpu_seconds(self.server)


async def _watch(memory: list[float]) -> None:
    while True:
        await asyncio.sleep(0.5)
        memory.append(_resident_mib())


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024**2


@asynccontextmanager
async def site(graphs: Path) -> AsyncGenerator[Site]:
    """A server of its own, and a worker that serves a folder."""
    settings = Settings(graphs=graphs, task_queue="scale")
    activities = node_activities(settings)
    async with await DevServer.start() as server:
        client = await connect(settings, target_host=server.address)
        async with build_worker(client, settings, activities):
            yield Site(server.pid, client, settings.task_queue)
    await activities.aclose()
