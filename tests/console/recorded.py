"""A console over recorded histories: a client that knows them, and asks no server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Self, cast

import httpx2
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode

from anabranch.console.access.access import Access
from anabranch.console.app import console
from anabranch.console.services import Services
from anabranch.inspection.history import History
from anabranch.settings import Settings
from anabranch.transport.converter import data_converter
from tests.console.kit import ORIGIN
from tests.inspection.test_history import events, history


@dataclass
class Handle:
    """A handle of a run whose history ends where it was recorded: who waits for more waits for ever."""

    id: str
    recorded: History | None
    asked: list[str]

    def _history(self) -> History:
        if self.recorded is None:
            raise RPCError("no such run", RPCStatusCode.NOT_FOUND, b"")
        return self.recorded

    async def fetch_history(self) -> WorkflowHistory:
        self.asked.append("history")
        return WorkflowHistory("", self._history().events)

    async def fetch_history_events(self, *, wait_new_event: bool) -> AsyncIterator[HistoryEvent]:
        assert wait_new_event
        self.asked.append("poll")
        for event in self._history().events:
            yield event

    def get_update_handle(self, update_id: str) -> Self:
        return self

    async def result(self) -> Any:
        raise RPCError("no such update", RPCStatusCode.NOT_FOUND, b"")

    async def describe(self) -> Any:
        self.asked.append("describe")
        info = SimpleNamespace(history_length=len(self._history().events))
        return SimpleNamespace(
            run_id=self._history().run_id, raw_description=SimpleNamespace(workflow_execution_info=info)
        )


@dataclass
class Recorded:
    """The client. `asked` is what it was asked for, in order."""

    runs: dict[str, History]
    asked: list[str] = field(default_factory=list)
    namespace: str = "default"
    data_converter: Any = field(default_factory=data_converter)

    def get_workflow_handle(self, workflow_id: str, **_: Any) -> Handle:
        return Handle(workflow_id, self.runs.get(workflow_id), self.asked)


def recorded(*names: str, **cut: int) -> Recorded:
    """The histories of these names, some of them as far as an event, each as the run of its name."""
    runs = {name: history(events(name)) for name in (*names, *cut)}
    runs |= {name: runs[name].until(event) for name, event in cut.items()}
    return Recorded({name: History(name, each.events) for name, each in runs.items()})


@asynccontextmanager
async def looking(client: Recorded, access: Access | None = None) -> AsyncGenerator[httpx2.AsyncClient]:
    """Requests to a console that shows these runs."""
    services = Services.of(cast("Client", client), Settings())
    transport = httpx2.ASGITransport(app=console(services, access or Access()))
    async with httpx2.AsyncClient(transport=transport, base_url=ORIGIN) as asking:
        yield asking
    await services.close()
