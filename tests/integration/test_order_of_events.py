"""What a run does where a replay may find events at other places: cancellation, loading, eviction."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus

from tests.integration.graph_kit import (
    MODES,
    PATIENCE,
    Served,
    chain,
    error_of,
    events,
    leaf,
    put,
    scheduled,
    until_status,
    worker_for,
)

ONCE: dict[str, Any] = {"retry": {"max_attempts": 1}}


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def kinds_of(found: list[Any]) -> list[str]:
    return [EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in found]


async def test_an_activity_is_cancelled_only_once_the_server_knows_it(served: Served) -> None:
    """`wrong` runs in the workflow task that schedules `slow`, and fails in it."""
    graph = {
        "nodes": {
            "slow": leaf("dawdle", args={"name": served.task_queue}, heartbeat="300ms", compensate=put(), **ONCE),
            "wrong": leaf("break", args={"name": "wrong", "how": "typed"}, local=True, **ONCE),
        }
    }
    handle = await served.start(graph)
    assert (await error_of(handle)).type == "NO_STOCK"
    kinds = kinds_of(await events(handle))
    assert "slow" in await scheduled(served.client, handle)
    assert kinds.index("ACTIVITY_TASK_SCHEDULED") < kinds.index("TIMER_FIRED")
    assert kinds.index("TIMER_FIRED") < kinds.index("ACTIVITY_TASK_CANCEL_REQUESTED")


async def test_until_the_graph_is_loaded_a_run_sends_nothing_but_what_loads_it(served: Served) -> None:
    """A signal comes with the start, and an update soon: it is accepted, and carried out when there is a graph."""
    graph = {"graph": {"name": "g", **chain(a={**put(x=1), "local": True})}, "data": {}}
    handle = await served.client.start_workflow(
        "GraphWorkflow", graph, id=served.task_queue, task_queue=served.task_queue, start_signal="pause"
    )
    updating = asyncio.create_task(handle.execute_update("write_context", {"changes": {"w": 1}, "base_version": 1}))
    await until_status(handle, "a", "ready")
    assert await asyncio.wait_for(updating, PATIENCE) == {"number": 2}
    await handle.signal("resume")
    assert (await asyncio.wait_for(handle.result(), PATIENCE))["data"] == {"x": 1, "w": 1}
    kinds = [kind for kind in kinds_of(await events(handle)) if not kind.startswith("WORKFLOW_TASK")]
    loaded = kinds.index("MARKER_RECORDED")
    heard = {"WORKFLOW_EXECUTION_STARTED", "WORKFLOW_EXECUTION_SIGNALED", "WORKFLOW_EXECUTION_UPDATE_ACCEPTED"}
    assert set(kinds[:loaded]) <= heard
    assert loaded < kinds.index("WORKFLOW_EXECUTION_UPDATE_COMPLETED")


async def test_a_run_that_is_evicted_does_nothing_more_than_end(
    client: Client, task_queue: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that stops evicts all runs that it has. None of them compensates, or is in the way of the end."""
    running = leaf("dawdle", args={"name": task_queue}, heartbeat="300ms", compensate=put())
    graph = {
        "nodes": {
            "a": {**put(), "compensate": put()},
            "slow": running,
            "ask": {"type": "approval"},
            "nap": {"type": "wait", "for": "1h"},
            "paused": leaf("break", args={"name": "paused", "how": "typed"}, on_failure="pause", **ONCE),
        }
    }
    async with worker_for(client, task_queue, tmp_path) as served:
        handle = await served.start(graph)
        await until_status(handle, "a", "succeeded")
        await until_status(handle, "paused", "paused")
        await until_status(handle, "slow", "running")
    assert "Failed running eviction" not in caplog.text
    assert "could not be evicted" not in caplog.text
    assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    assert not any(name.startswith("undo") for name in await scheduled(client, handle))
    await handle.terminate()
