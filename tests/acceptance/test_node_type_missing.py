"""Workers with and without a node type of another distribution on one task queue."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from anabranch.dev.devserver import DevServer
from tests.acceptance.worker_process import PATIENCE, answer, refusal, until_waiting, worker_process
from tests.node_type_kit import PROJECT

GRAPH = """
name: ask_and_tell
nodes:
  draft: {type: sms, to: "1", text: Hello, preview: true}
  ask: {type: approval}
  tell: {type: sms, to: "{{ draft.to }}", text: "{{ draft.text }}!"}
edges:
  - {from: draft, to: ask}
  - {from: ask, to: tell}
"""
pytestmark = pytest.mark.timeout(300)


async def test_a_worker_that_lacks_the_type_of_a_run_leaves_it_to_one_that_has_it(
    client: Client, dev_server: DevServer, task_queue: str, tmp_path: Path
) -> None:
    (tmp_path / "ask_and_tell.yaml").write_text(GRAPH)
    without = {
        "TEMPORAL_ADDRESS": dev_server.address,
        "ANABRANCH_GRAPHS": str(tmp_path),
        "ANABRANCH_TASK_QUEUE": task_queue,
        # Without a cache there is no sticky queue, on which the server would wait ten seconds for the dead worker.
        "ANABRANCH_MAX_CACHED_WORKFLOWS": "0",
    }
    having = {**without, "PYTHONPATH": os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])}
    handle = await client.start_workflow("ask_and_tell", {}, id=task_queue, task_queue=task_queue)
    with worker_process(having):
        await until_waiting(handle, "ask")
    await handle.signal("resume")  # changes nothing, and gives the worker a task
    with worker_process(without):
        told = await refusal(handle)
    assert "this worker cannot read the graph that the run is held to: nodes.draft: has the unknown type sms" in told
    assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    with worker_process(having):
        await until_waiting(handle, "ask")  # it reads the run's history first
        await answer(handle)
        result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["data"]["tell"] == {"to": "1", "text": "Hello!"}
