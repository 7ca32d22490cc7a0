"""A run that is told something: opened by its workflow id, asked for what it waits for, and sent a message."""

from __future__ import annotations

import asyncio
import getpass
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.client import Client
from temporalio.service import RPCError

from anabranch.cli.opening import inspector_for
from anabranch.cli.queues import is_served
from anabranch.cli.report import show_finding
from anabranch.display import plain
from anabranch.inspection.history import History
from anabranch.inspection.inspect import Inspector
from anabranch.inspection.inspection import Inspection
from anabranch.inspection.runs import Runs
from anabranch.settings import settings_from_environment
from anabranch.steering.checking import check
from anabranch.steering.sending import Handle, answered, send, signal
from anabranch.steering.waiting import Waiting, waiting_of
from anabranch.transport.client import connect
from anabranch.workflows.interpreter.writers import UNNAMED, the_name
from anabranch.workflows.temporal.requests import Request

_NORMAL = 2.0
"""Seconds within which a run answers where there is a worker."""


@dataclass(frozen=True, slots=True)
class Steering:
    """What a command is about: which run, who tells it something, how long it waits for the run's answer."""

    run: str
    run_id: str | None
    by: str | None
    timeout: float = 60
    update_id: str | None = None
    as_json: bool = False

    @property
    def name(self) -> str:
        """Who tells it: the name that is given, else that of the login. Raises InputError for what is not a name."""
        name = self.by
        if name is None:
            with suppress(KeyError, OSError, ImportError):  # a container's user may have no name
                name = getpass.getuser()
        return the_name(name) if name is not None else UNNAMED


@dataclass(frozen=True, slots=True)
class Steered:
    """A run on a server, as its history has it now. What is sent to it names who sent it as its identity."""

    client: Client
    handle: Handle
    inspector: Inspector
    history: History
    inspection: Inspection
    waiting: Waiting
    steering: Steering

    @classmethod
    async def open(cls, steering: Steering) -> Self:
        """Raises InputError for a run that is not there, and what `Inspector.inspect` raises."""
        settings = settings_from_environment()
        client = await connect(settings, identity=steering.name)
        inspector = inspector_for(client.data_converter, settings, client.namespace)
        history = await Runs(client, inspector).history(steering.run, steering.run_id)
        inspection = await inspector.inspect(history)
        handle: Handle = client.get_workflow_handle(
            steering.run, run_id=steering.run_id, first_execution_run_id=inspection.first_run_id
        )
        return cls(client, handle, inspector, history, inspection, waiting_of(inspection), steering)

    async def check(self, update: str, request: Request) -> None:
        """Raise what the run would refuse an update with."""
        await check(self.inspector, self.history, update, request)

    async def update(self, update: str, request: Request) -> dict[str, Any]:
        """Check an update, and send it; the run's answer, with the update's id."""
        await self.check(update, request)
        update_id = self.steering.update_id or f"{update}-{uuid.uuid4()}"
        async with self._patience():
            answer = await send(self.handle, update, request, update_id=update_id, within=self.steering.timeout)
        return {"workflow_id": self.handle.id, "update_id": update_id, **answer}

    async def sent_before(self) -> dict[str, Any] | None:
        """The run's answer to the update whose id is given; None where it has not heard of it."""
        if (update_id := self.steering.update_id) is None:
            return None
        async with self._patience():
            answer = await answered(self.handle, update_id=update_id, within=self.steering.timeout)
        return None if answer is None else {"workflow_id": self.handle.id, "update_id": update_id, **answer}

    @asynccontextmanager
    async def _patience(self) -> AsyncGenerator[None]:
        """Say that the run is waited for, where that takes longer than usual."""
        task = asyncio.create_task(self._say_that_it_waits())
        try:
            yield
        finally:
            task.cancel()

    async def signal(self, name: str) -> None:
        """Send a signal, which says who sent it: the server keeps it until a worker takes it."""
        await signal(self.handle, name, by=self.steering.name)

    async def _say_that_it_waits(self) -> None:
        await asyncio.sleep(_NORMAL)
        queue = self.history.started.task_queue.name
        with suppress(RPCError):
            served = await is_served(self.client, queue, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW)
            nobody = "" if served else f": no worker listens on the task queue {plain(queue)!r}"
            text = f"the run has not answered yet{nobody}; it is waited for, {self.steering.timeout:g} s in all"
            show_finding("NO_WORKER", plain(self.handle.id), text, "start `anabranch worker`", warning=True)
