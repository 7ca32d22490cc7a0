"""The sagas of a storm: what people do to them meanwhile, and how they are started."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from temporalio.client import (
    Client,
    RPCTimeoutOrCancelledError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from tests.faults.record import Ends
from tests.storms.graphs import SHAPES

T = TypeVar("T")
Handle = WorkflowHandle[Any, dict[str, Any]]
TASK_QUEUE = "storm"
PATIENCE = 240.0
"""Seconds within which every run must be over once nothing is struck any more."""
_UNANSWERED = (RPCError, RPCTimeoutOrCancelledError, WorkflowQueryFailedError, WorkflowUpdateFailedError, TimeoutError)
_GONE = {RPCStatusCode.NOT_FOUND, RPCStatusCode.ALREADY_EXISTS, RPCStatusCode.FAILED_PRECONDITION}


class Run:
    """One saga: how it is to end, and what people do to it meanwhile."""

    def __init__(self, name: str, seed: float) -> None:
        self.name = name
        self._rng = random.Random(seed)
        self.graph = self._rng.choice(sorted(SHAPES))
        self._ending = self._rng.choices(["completed", "failed", "cancelled"], [5, 3, 2])[0]
        self.given = {"ok": 0 if self._ending == "failed" else 1}

    @property
    def may_end(self) -> tuple[str, ...]:
        """A cancellation may come too late."""
        return ("cancelled", "completed") if self._ending == "cancelled" else (self._ending,)

    async def disturb(self, handle: Handle) -> None:
        """Ask, pause, write and send what is refused, from the very start on; and cancel where it is to be."""
        for _ in range(self._rng.randint(1, 6)):
            await asyncio.sleep(self._rng.random() * 0.15)
            with suppress(*_UNANSWERED):
                async with asyncio.timeout(20):
                    await self._one(handle)
        if self._ending == "cancelled":
            await asyncio.sleep(self._rng.random())
            await _sent(handle.cancel)

    async def _one(self, handle: Handle) -> None:
        what = self._rng.random()
        if what < 0.6:
            await handle.query(self._rng.choice(["status", "context", "history"]))
        elif what < 0.75:
            try:
                await handle.signal("pause")
            finally:
                await _sent(lambda: handle.signal("resume"))
        elif what < 0.9:
            await handle.execute_update("write_context", {"changes": {"note": self.name}, "base_version": 1, "by": "x"})
        else:
            await handle.execute_update("complete_task", {"node": "nobody", "answer": 1})


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended, and its context then."""

    run: Run
    ends: Ends
    data: Mapping[str, Any]


class Starter(Protocol):
    """What starts runs."""

    def handle(self, run: Run) -> Handle:
        """The run's handle, started or not."""
        ...

    async def start(self, run: Run) -> Handle:
        """Start it, once, however often it takes. Returns when it has started."""
        ...

    async def findings(self, ended: Sequence[Ended]) -> list[str]:
        """What is wrong beside the runs, when all of them are over."""
        ...


class ByClient:
    """Starts each run by Temporal's client; nothing is left beside the run."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def handle(self, run: Run) -> Handle:
        return self._client.get_workflow_handle(run.name)

    async def start(self, run: Run) -> Handle:
        async def start() -> Handle:
            with suppress(WorkflowAlreadyStartedError):  # the answer to an earlier try was lost
                await self._client.start_workflow(run.graph, run.given, id=run.name, task_queue=TASK_QUEUE)
            return self.handle(run)

        return await persist(start)

    async def findings(self, ended: Sequence[Ended]) -> list[str]:
        return []


async def persist(call: Callable[[], Awaitable[T]]) -> T:
    """The answer, however often the server is not there."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await call()
            except RPCError as error:
                if error.status in _GONE:
                    raise
                await asyncio.sleep(0.1)


async def _sent(call: Callable[[], Awaitable[None]]) -> None:
    """Send it until the server has it, or the run is over."""
    with suppress(RPCError):
        await persist(call)
