"""A worker process to be killed: `python -m tests.faults.worker ADDRESS ORDERS`.

It imports everything, then waits for a task queue on its standard input: a spare takes over at once from one that was
killed. It ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from pathlib import Path

import activities.db
from activities.load_graph import GraphLoader
from activities.registry import NodeActivities
from settings import Settings
from tests.faults.saboteur import Orders, Saboteur
from transport.client import connect
from worker import build_worker

assert activities.db  # imported now, not at the first node


async def main(address: str, folder: Path, task_queue: str) -> None:
    """Work until the process ends."""
    # Without cached workflows nothing waits for a process that is gone, and every task replays its run from the start.
    settings = Settings(task_queue=task_queue, graphs=folder, max_cached_workflows=0)
    client = await connect(
        settings, target_host=address, namespace="default", api_key=None, tls=False, rpc_metadata={}
    )
    nodes = NodeActivities({"db": lambda: Saboteur(Orders(folder))}, GraphLoader(folder))
    async with build_worker(client, settings, nodes):
        await asyncio.Event().wait()


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    queue = sys.stdin.readline().strip()
    logging.getLogger("temporalio").setLevel(logging.CRITICAL)  # what fails here is meant to
    threading.Thread(target=_end_with_input, daemon=True).start()
    if queue:
        asyncio.run(main(sys.argv[1], Path(sys.argv[2]), queue))
