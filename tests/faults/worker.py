"""Worker processes to be killed: `python -m tests.faults.worker ADDRESS ORDERS TASK_QUEUE`.

Imports everything once, then forks a worker, and another one whenever it was killed; says `killed` each time. All of
them end when their standard input does.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import warnings
from pathlib import Path

from anabranch.activities.load_graph import GraphLoader
from anabranch.activities.registry import NodeActivities
from anabranch.activities.sql import handler
from anabranch.settings import Settings
from anabranch.transport.client import connect
from anabranch.worker import build_worker
from tests.faults.saboteur import Orders, Saboteur

assert handler  # imported now, not at the first node


def main(address: str, orders: Path, task_queue: str) -> int:
    """Keep a worker there until the input ends; its exit status, unless it was killed."""
    while True:
        assert threading.active_count() == 1, "forking would leave threads behind"
        if (worker := os.fork()) == 0:
            be_quiet()
            threading.Thread(target=end_with_input, daemon=True).start()
            asyncio.run(_work(address, orders, task_queue))
        _, status = os.waitpid(worker, 0)
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
            return os.waitstatus_to_exitcode(status)
        print("killed", flush=True)


async def _work(address: str, orders: Path, task_queue: str) -> None:
    # Without cached workflows nothing waits for a process that is gone, and every task replays its run from the start.
    settings = Settings(task_queue=task_queue, graphs=orders, max_cached_workflows=0)
    client = await connect(settings, target_host=address, namespace="default", api_key=None, tls=False, rpc_metadata={})
    nodes = NodeActivities({"db": lambda: Saboteur(Orders(orders))}, GraphLoader(orders, inline=True))
    async with build_worker(client, settings, nodes):
        await asyncio.Event().wait()


def be_quiet() -> None:
    """What fails here is meant to; and only the parent talks to the harness."""
    logging.getLogger("temporalio").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def end_with_input() -> None:
    """End this process when its standard input does."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
