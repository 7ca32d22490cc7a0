"""More nodes than one workflow task can take: they are spread over tasks, and a replay finds the same tasks."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from anabranch.limits import RUN_LIMITS
from anabranch.plugin import AnabranchPlugin
from tests.integration.graph_kit import PATIENCE, Handle, events, put, until_status, worker_for

ITEMS = 40_000
WAITS = {"nodes": {f"w{index}": {"type": "wait", "for": "1h"} for index in range(10)}}


async def count_of(handle: Handle, kind: EventType.ValueType) -> int:
    return sum(event.event_type == kind for event in await events(handle))


async def most_in_one_task(handle: Handle, kind: EventType.ValueType) -> int:
    """How many events of a kind the largest workflow task made."""
    counts = [0]
    for event in await events(handle):
        counts[-1] += event.event_type == kind
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            counts.append(0)
    return max(counts)


async def replays(handle: Handle, graphs: Path) -> bool:
    replayer = Replayer(workflows=[], plugins=[AnabranchPlugin(graphs)], workflow_runner=UnsandboxedWorkflowRunner())
    return (await replayer.replay_workflow(await handle.fetch_history())).replay_failure is None


@pytest.mark.slow
async def test_forty_thousand_skipped_items_complete_and_replay(
    client: Client, task_queue: str, tmp_path: Path
) -> None:
    body = {"nodes": {"large": {**put(x="{{ item }}"), "when": f"item >= {ITEMS}"}}}
    each: dict[str, Any] = {"type": "foreach", "items": "ids", "body": body}
    graph = {"nodes": {"each": each, "after": put(done=True)}, "edges": [{"from": "each", "to": "after"}]}
    async with worker_for(client, task_queue, tmp_path) as served:
        handle = await served.start(graph, {"ids": list(range(ITEMS))})
        result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert (result["data"]["done"], len(result["data"]["ids"]), result["version"]) == (True, ITEMS, 2)
    assert await count_of(handle, EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED) > ITEMS // RUN_LIMITS.task_nodes
    assert await count_of(handle, EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED) == 0
    assert await replays(handle, tmp_path)


async def test_thousands_of_timers_are_started_and_cancelled_over_several_tasks(
    client: Client, task_queue: str, tmp_path: Path
) -> None:
    graph = {"nodes": {"each": {"type": "foreach", "items": "ids", "max_concurrency": 500, "body": WAITS}}}
    async with worker_for(client, task_queue, tmp_path) as served:
        handle = await served.start(graph, {"ids": list(range(300))})
        await until_status(handle, "each[299]/w9", "waiting")
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await asyncio.wait_for(handle.result(), PATIENCE)
    assert await count_of(handle, EventType.EVENT_TYPE_TIMER_CANCELED) == 3_000
    for kind in (EventType.EVENT_TYPE_TIMER_STARTED, EventType.EVENT_TYPE_TIMER_CANCELED):
        assert await most_in_one_task(handle, kind) <= RUN_LIMITS.task_nodes + 1  # and the timer of the yield
    assert await count_of(handle, EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED) == 0
    assert await replays(handle, tmp_path)
