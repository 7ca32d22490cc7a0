"""A run is followed by long polls of its history, and inspected again as it grows: no query asks a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from anabranch.inspection.growing import Growing
from anabranch.inspection.history import History
from anabranch.inspection.inspect import Inspector
from anabranch.inspection.inspection import Inspection

_PAUSE = 0.5
"""Seconds between two replays, at least: a run that grows fast is not replayed for each event."""
_SHARE = 0.5
"""How long the pause is, at least, beside what a replay took: long histories do not keep a processor busy."""


async def follow(
    client: Client, inspector: Inspector, workflow_id: str, run_id: str | None = None
) -> AsyncGenerator[Inspection]:
    """A run as it is, and again whenever it has grown, to its end. Where it continues as new, the next run follows.

    Raises RPCError, and what `Inspector.inspect` raises.
    """
    while True:
        inspection, growing = None, Growing()
        async with aclosing(growing), aclosing(grown(client, workflow_id, run_id)) as histories:
            async for history in histories:
                yield (inspection := await inspector.inspect(history, growing))
        if inspection is None or inspection.next_run_id is None:
            return
        run_id = inspection.next_run_id


async def grown(client: Client, workflow_id: str, run_id: str | None) -> AsyncGenerator[History]:
    """The history of one workflow run, and again each time that it has grown, to its end.

    Who takes a history long to look at it gets the next one later. Raises RPCError.
    """
    loop = asyncio.get_running_loop()
    events: list[HistoryEvent] = []
    has_grown = asyncio.Event()
    poll = asyncio.create_task(_poll(client, workflow_id, run_id, events, has_grown))
    news: asyncio.Task[bool] | None = None
    try:
        while True:
            news = asyncio.create_task(has_grown.wait())
            await asyncio.wait({news, poll}, return_when=asyncio.FIRST_COMPLETED)
            if poll.done() and not has_grown.is_set():
                poll.result()
                return
            has_grown.clear()
            history, began = History.of(workflow_id, events), loop.time()
            yield history
            if history.closed is not None:
                return
            took = loop.time() - began
            await asyncio.sleep(max(_PAUSE - took, _SHARE * took))
    finally:
        poll.cancel()
        if news is not None:
            news.cancel()


async def _poll(
    client: Client, workflow_id: str, run_id: str | None, events: list[HistoryEvent], has_grown: asyncio.Event
) -> None:
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.event_id > len(events):
            events.append(event)
            has_grown.set()
