"""A `db` handler that does to a run, once at each place, what the run's orders say.

An order is a file `<run>@<address>` that holds the name of a fault; it is struck (renamed) before it is carried out,
so that it is carried out once, whatever happens to the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from anabranch.activities.node_result import NodeResult
from anabranch.activities.sql.handler import DbActivity
from anabranch.errors import NodeError, Unavailable
from anabranch.graph.model import DbNode
from anabranch.transport.node_protocol import NodeTask

_POLL = 0.02


class Orders:
    """The folder through which the harness tells workers what to do, and they tell what they did."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def give(self, run: str, address: str, fault: str) -> None:
        """Have `fault` happen at an address."""
        self._path(run, address).write_text(fault)

    def take(self, run: str, address: str) -> str:
        """The fault to carry out now; empty if there is none."""
        path = self._path(run, address)
        if not path.exists():
            return ""
        path.rename(self._path(run, address, ".struck"))
        return self._path(run, address, ".struck").read_text()

    def struck(self, run: str, address: str) -> bool:
        """Whether the fault has happened, or is happening."""
        return self._path(run, address, ".struck").exists()

    def tell(self, run: str, address: str, what: str) -> None:
        """Leave word."""
        self._path(run, address, f".{what}").touch()

    async def hear(self, run: str, address: str, what: str) -> None:
        """Wait for word."""
        while not self._path(run, address, f".{what}").exists():  # noqa: ASYNC110 - another process leaves it
            await asyncio.sleep(_POLL)

    def _path(self, run: str, address: str, suffix: str = "") -> Path:
        return self._folder / f"{run}@{address}{suffix}"


class Saboteur:
    """Runs `db` nodes as `DbActivity` does, and sabotages them to order."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._db = DbActivity()

    async def aclose(self) -> None:
        """Close every database connection."""
        await self._db.aclose()

    async def __call__(self, task: NodeTask, node: DbNode) -> NodeResult:
        """Run the node, with its fault before or after the effect."""
        fault = self._orders.take(task.run.session_id, task.address)
        name, _, when = fault.rpartition("_")
        if when == "before":
            await self._strike(name, task)
        outcome = await self._late(task, node) if fault == "late" else await self._db(task, node)
        if when == "after":
            await self._strike(name, task)
        return outcome

    async def _strike(self, name: str, task: NodeTask) -> None:
        if name == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "fail":
            raise NodeError("sabotage: it failed")
        if name == "lose":
            raise Unavailable("sabotage: the answer was lost")
        self._orders.tell(task.run.session_id, task.address, "held")
        await asyncio.Event().wait()  # until it is cancelled, or times out

    async def _late(self, task: NodeTask, node: DbNode) -> NodeResult:
        """Be given up for lost, deaf to the cancellation, and do the work all the same when the run is over."""
        run, address = task.run.session_id, task.address
        waiting = asyncio.create_task(self._orders.hear(run, address, "over"))
        while not waiting.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(waiting)
        try:
            return await self._db(task, node)
        finally:
            self._orders.tell(run, address, "late")
