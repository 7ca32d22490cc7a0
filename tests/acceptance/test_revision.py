"""Workers of two releases on one task queue: which of them goes on with which runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from anabranch.dev.devserver import DevServer
from anabranch.graph.revision import REVISION
from tests.acceptance.worker_process import PATIENCE, Handle, answer, refusal, until_waiting, worker_process

NEWER = "tests/acceptance/newer_worker.py"
GRAPHS = {
    "order": "name: order\nnodes:\n  ship: {type: graph, graph: shipping, mode: child_workflow}\n",
    "shipping": "name: shipping\nnodes:\n  ask: {type: approval}\n",
}
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def environment(dev_server: DevServer, task_queue: str, tmp_path: Path) -> dict[str, str]:
    for name, text in GRAPHS.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return {
        "TEMPORAL_ADDRESS": dev_server.address,
        "ANABRANCH_GRAPHS": str(tmp_path),
        "ANABRANCH_TASK_QUEUE": task_queue,
        # Without a cache there is no sticky queue, on which the server would wait ten seconds for the dead worker.
        "ANABRANCH_MAX_CACHED_WORKFLOWS": "0",
    }


async def started(client: Client, task_queue: str) -> tuple[Handle, Handle]:
    """A run, and the child that it waits for once a worker serves it."""
    handle: Handle = await client.start_workflow("order", {}, id=task_queue, task_queue=task_queue)
    return handle, client.get_workflow_handle(f"{task_queue}/ship")


async def until_asked(child: Handle) -> None:
    await asyncio.wait_for(_until_there(child), PATIENCE)
    await until_waiting(child, "ask")


async def _until_there(child: Handle) -> None:
    while True:
        try:
            await child.describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            await asyncio.sleep(0.05)
        else:
            return


async def result(handle: Handle) -> dict[str, Any]:
    data: dict[str, Any] = (await asyncio.wait_for(handle.result(), PATIENCE))["data"]
    return data


async def test_a_worker_fails_the_tasks_of_a_run_that_is_held_to_a_newer_revision_and_a_newer_worker_goes_on(
    client: Client, task_queue: str, environment: dict[str, str]
) -> None:
    handle, child = await started(client, task_queue)
    with worker_process(environment, program=NEWER):
        await until_asked(child)
    answering = asyncio.create_task(answer(child))
    with worker_process(environment):
        reported = await refusal(child)  # the child is held to what its parent is
    assert f"held to revision {REVISION + 1} of the interpreter; this worker knows none above {REVISION}" in reported
    assert (await child.describe()).status is WorkflowExecutionStatus.RUNNING
    with worker_process(environment, program=NEWER):
        await asyncio.wait_for(answering, PATIENCE)
        assert await result(handle) == {"ok": True}


async def test_during_a_rollout_an_older_worker_goes_on_with_what_a_newer_one_began(
    client: Client, task_queue: str, environment: dict[str, str]
) -> None:
    handle, child = await started(client, task_queue)
    held_back = {**environment, "ANABRANCH_INTERPRETER_REVISION": str(REVISION)}
    with worker_process(held_back, program=NEWER):
        await until_asked(child)
    with worker_process(environment):
        await answer(child)
        assert await result(handle) == {"ok": True}
