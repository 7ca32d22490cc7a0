"""One worker process of this environment: `python -m benchmarks.peers.worker NAME ADDRESS QUEUE`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from temporalio.client import Client
from temporalio.worker import Worker

from anabranch.settings import Settings
from anabranch.transport.client import connect
from benchmarks.peers.dsl import DslWorkflow, increment
from benchmarks.workers import floor_client, floor_worker, graph_worker, usual_client, usual_worker


async def _anabranch(address: str, task_queue: str) -> Worker:
    settings = Settings(task_queue=task_queue)
    return graph_worker(await connect(settings, target_host=address), settings)


async def _floor(address: str, task_queue: str) -> Worker:
    return floor_worker(await floor_client(address), task_queue)


async def _usual(address: str, task_queue: str) -> Worker:
    return usual_worker(await usual_client(address), task_queue)


async def _dsl(address: str, task_queue: str) -> Worker:
    client = await Client.connect(address)
    return Worker(client, task_queue=task_queue, workflows=[DslWorkflow], activities=[increment])


WORKERS: Final[Mapping[str, Callable[[str, str], Awaitable[Worker]]]] = {
    "anabranch": _anabranch,
    "floor": _floor,
    "usual": _usual,
    "dsl": _dsl,
}


async def main(name: str, address: str, task_queue: str) -> None:
    """Work until the process is ended."""
    async with await WORKERS[name](address, task_queue):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
