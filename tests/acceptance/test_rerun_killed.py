"""A rerun whose worker dies while it reads the run before: a worker of a later release takes over the same."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError

from anabranch.dev.devserver import DevServer
from anabranch.graph.revision import REVISION
from anabranch.inspection.inspect import Inspector
from anabranch.inspection.runs import Runs
from tests.acceptance.worker_process import PATIENCE, Handle, kill, service, worker_process

HELD, NEWER = "tests/acceptance/held_worker.py", "tests/acceptance/newer_worker.py"
ORDER = """
name: order
nodes:
  reserve: {{type: http, url: "http://127.0.0.1:{port}/reserve", output: {{reserved: result.body.answer}}}}
  pay: {{type: rule, rules: [{{when: card == "good", then: {{paid: true}}}}]}}
  check: {{type: fail, code: NOT_PAID}}
edges:
  - {{from: reserve, to: pay}}
  - {{from: pay, to: check, when: "!has(context.paid)"}}
"""
pytestmark = pytest.mark.timeout(300)


async def test_a_worker_killed_while_it_reads_the_run_before_and_a_newer_one_that_goes_on(
    dev_server: DevServer, client: Client, task_queue: str, tmp_path: Path
) -> None:
    """What is kept is not done again, and the run stays held to the revision of the run before."""
    environment = {
        "TEMPORAL_ADDRESS": dev_server.address,
        "ANABRANCH_GRAPHS": str(tmp_path),
        "ANABRANCH_TASK_QUEUE": task_queue,
        "HTTP_ALLOW_PRIVATE": "true",
        "ANABRANCH_MAX_CACHED_WORKFLOWS": "0",
        "HELD_FILE": str(tmp_path / "held"),
    }
    async with service() as reserving:
        reserving.opened.set()
        (tmp_path / "order.yaml").write_text(ORDER.format(port=reserving.port))
        run: Handle = await client.start_workflow("order", {"card": "bad"}, id=task_queue, task_queue=task_queue)
        with worker_process(environment), pytest.raises(WorkflowFailureError):
            await asyncio.wait_for(run.result(), PATIENCE)
        request: dict[str, Any] = {"workflow_id": run.id, "from": ["pay"], "set": {"card": "good"}}
        rerun: Handle = await client.start_workflow(
            "GraphWorkflow",
            {"rerun": request},
            id=f"{task_queue}-again",
            task_queue=task_queue,
            task_timeout=timedelta(seconds=2),
        )
        with worker_process(environment, program=HELD) as first:
            await asyncio.to_thread(until_there, tmp_path / "held")
            kill(first)
        with worker_process(environment, program=NEWER):
            ended = await asyncio.wait_for(rerun.result(), PATIENCE)
    assert ended["data"] == {"card": "good", "reserved": "/reserve", "paid": True}
    assert len(reserving.keys) == 1
    inspector = Inspector(client.data_converter)
    pinned = (await Runs(client, inspector).inspect(rerun.id)).pinned
    inspector.close()
    assert pinned is not None
    assert pinned.revision == REVISION


def until_there(path: Path) -> None:
    for _ in range(2000):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path.name} is not there in time")
