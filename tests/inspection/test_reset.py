"""A run that was reset is another one than the run that it was, though its history begins with the same events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import ResetReapplyExcludeType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client

from anabranch.inspection.inspect import Inspector
from anabranch.inspection.runs import Runs
from tests.integration.graph_kit import PATIENCE, Handle, Served, chain, until_status, worker_for


@pytest.fixture
async def runs(client: Client) -> AsyncIterator[Runs]:
    inspector = Inspector(client.data_converter)
    yield Runs(client, inspector)
    inspector.close()


async def reset(served: Served, workflow_id: str, run_id: str, events: Sequence[HistoryEvent]) -> str:
    """Reset a run to the last workflow task of these events; the id of the new run."""
    tasks = [each.event_id for each in events if each.HasField("workflow_task_completed_event_attributes")]
    answer = await served.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=served.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
            workflow_task_finish_event_id=tasks[-1],
            request_id=workflow_id,
            reset_reapply_exclude_types=[ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE],
        )
    )
    return answer.run_id


@pytest.fixture
async def served(client: Client, task_queue: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with worker_for(client, task_queue, tmp_path) as served:
        yield served


async def test_a_run_that_is_reset_is_not_taken_for_the_one_that_it_was(served: Served, runs: Runs) -> None:
    first = await served.start(chain(ask={"type": "approval"}), {})
    await until_status(first, "ask", "waiting")
    before, asked = (await first.describe()).run_id, (await first.fetch_history()).events
    await first.execute_update("complete_task", {"node": "ask", "answer": {"ok": True}})
    await asyncio.wait_for(first.result(), PATIENCE)
    after = await reset(served, first.id, before, asked)
    now = await runs.inspect(first.id)
    assert (now.run_id, after != before) == (after, True)
    again: Handle = served.client.get_workflow_handle(first.id, run_id=now.run_id)
    await again.execute_update("complete_task", {"node": "ask", "answer": {"ok": False}})
    await asyncio.wait_for(again.result(), PATIENCE)
    was, ended = await runs.inspect(first.id, before), await runs.inspect(first.id, after)
    assert [(each.run_id, each.last.context) for each in (was, ended)] == [
        (before, {"ok": True}),
        (after, {"ok": False}),
    ]
    history = await runs.history(first.id, after)
    [*_, failed] = [each.event_id for each in history.events if each.HasField("workflow_task_failed_event_attributes")]
    early = history.until(failed - 1)
    assert (early.run_id, early.until(failed - 2).run_id) == (after, after)
