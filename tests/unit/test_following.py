"""Who follows a run and goes leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, NoReturn, cast

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionStartedEventAttributes
from temporalio.client import Client

from anabranch.console.run.live import Watched
from anabranch.inspection.following import grown
from anabranch.inspection.history import History
from anabranch.inspection.inspect import Inspector


class Served:
    """A run with one event, which nothing follows: as a client, and as its handle."""

    def get_workflow_handle(self, _workflow_id: str, *, run_id: str | None) -> Served:
        return self

    async def fetch_history_events(self, **_: Any) -> AsyncGenerator[HistoryEvent]:
        begun = WorkflowExecutionStartedEventAttributes(original_execution_run_id="r", first_execution_run_id="r")
        yield HistoryEvent(
            event_id=1,
            event_type=EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
            workflow_execution_started_event_attributes=begun,
        )
        await asyncio.Event().wait()


@pytest.mark.parametrize("is_asked", [False, True])
async def test_who_waits_for_news_of_a_run_and_goes_leaves_no_task_behind(
    monkeypatch: pytest.MonkeyPatch, is_asked: bool
) -> None:
    monkeypatch.setattr("anabranch.inspection.following._PAUSE", 0)
    before = asyncio.all_tasks()
    async with aclosing(grown(cast("Client", Served()), "w", "r")) as histories:
        assert (await anext(histories)).last.event_id == 1
        if is_asked:
            waiting = asyncio.ensure_future(anext(histories))
            await asyncio.sleep(0.05)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
    for _ in range(3):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


class Busy:
    """An inspector that never comes to an end."""

    def __init__(self) -> None:
        self.has_begun = asyncio.Event()

    async def inspect(self, *_: object) -> NoReturn:
        self.has_begun.set()
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_run_that_is_looked_at_no_more_is_not_followed_when_its_end_returns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_followed = False

    async def followed(client: Client, workflow_id: str, run_id: str | None) -> AsyncGenerator[History]:
        nonlocal is_followed
        is_followed = True
        try:
            async with aclosing(grown(client, workflow_id, run_id)) as histories:
                async for history in histories:
                    yield history
        finally:
            is_followed = False

    monkeypatch.setattr("anabranch.console.run.live.grown", followed)
    busy = Busy()
    watched = Watched(cast("Client", Served()), cast("Inspector", busy), "w", "r")
    watched.begin()
    await busy.has_begun.wait()
    assert is_followed
    await watched.end()
    assert not is_followed
