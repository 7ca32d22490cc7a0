"""What is left as it is, and said in the documentation: each a fact, so that what is said stays true."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError

from anabranch.dev.devserver import DevServer, temporal_command
from anabranch.errors import GraphError
from anabranch.graph.load import load_text
from tests.integration.graph_kit import (
    PATIENCE,
    Handle,
    Served,
    chain,
    events,
    leaf,
    put,
    until_status,
)


async def test_a_paused_run_that_is_cancelled_undoes_what_it_did(served: Served) -> None:
    handle = await served.start(chain(step={**put(x=1), "compensate": put()}, ask={"type": "approval"}))
    await until_status(handle, "ask", "waiting")
    await handle.signal("pause")
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), PATIENCE)
    assert (await handle.query("status"))["compensated"] == ["step"]


async def test_what_a_child_asks_is_answered_at_its_own_workflow(served: Served) -> None:
    served.write("inner", "name: inner\nnodes: {ask: {type: approval}}")
    handle = await served.start(chain(sub={"type": "graph", "graph": "inner", "mode": "child_workflow"}))
    told = await until_status(handle, "sub", "running")
    child: Handle = served.client.get_workflow_handle(f"{handle.id}/sub")
    asked = await until_status(child, "ask", "waiting")
    assert ("approvals" in told, list(asked["approvals"])) == (False, ["ask"])
    await child.execute_update("complete_task", {"node": "ask", "answer": {"agreed": True}})
    assert (await asyncio.wait_for(handle.result(), PATIENCE))["data"] == {"agreed": True}


async def test_a_run_that_the_server_ends_for_its_time_is_not_undone_and_still_says_running(served: Served) -> None:
    graph: dict[str, Any] = {"name": "g", **chain(step={**put(x=1), "compensate": put()}, ask={"type": "approval"})}
    handle = await served.client.start_workflow(
        "GraphWorkflow",
        {"graph": graph, "data": {}},
        id=f"{served.task_queue}-short",
        task_queue=served.task_queue,
        execution_timeout=timedelta(seconds=3),
    )
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), PATIENCE)
    assert (await handle.describe()).status is WorkflowExecutionStatus.TIMED_OUT
    told: dict[str, Any] = await handle.query("status")
    assert (told["status"], "compensated" in told) == ("running", False)


async def test_the_message_of_a_handler_s_own_exception_is_in_the_history(served: Served) -> None:
    graph = chain(
        a={**leaf("break", args={"name": served.task_queue, "how": "unforeseen"}), "retry": {"max_attempts": 1}}
    )
    handle = await served.start(graph)
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), PATIENCE)
    assert "something else" in (await handle.fetch_history()).to_json()


@pytest.mark.parametrize("query", ["select ':x' as c", "select 1 /* :x */ as c", "select $$ :x $$ as c"])
def test_a_colon_in_a_literal_or_a_comment_is_a_bind_unless_it_is_escaped(query: str) -> None:
    graph: dict[str, Any] = {"name": "g", "nodes": {"a": {"type": "db", "connection": "A_DB", "query": query}}}
    with pytest.raises(GraphError) as refused:
        load_text(json.dumps(graph))
    (problem,) = refused.value.problems
    assert (problem.code, problem.suggestion) == (
        "SQL_BIND_MISSING",
        r"add `x:` to its `params`, or escape a literal colon as `\:`",
    )
    graph["nodes"]["a"]["query"] = query.replace(":x", r"\:x")
    assert load_text(json.dumps(graph)).warnings == ()


async def test_large_integers_and_empty_lists_are_whole_in_the_payload_and_not_as_temporal_s_command_shows_them(
    served: Served, dev_server: DevServer
) -> None:
    data = {"large": 9_007_199_254_740_993, "none": []}
    handle = await served.start(chain(a=put(x=1)), data)
    await asyncio.wait_for(handle.result(), PATIENCE)
    last = (await events(handle))[-1].workflow_execution_completed_event_attributes.result.payloads[0]
    assert json.loads(last.data)["data"] == {**data, "x": 1}
    arguments = ("workflow", "result", "--workflow-id", handle.id, "-o", "json", "--address", dev_server.address)
    shown = await asyncio.create_subprocess_exec(temporal_command(), *arguments, stdout=asyncio.subprocess.PIPE)
    text, _ = await shown.communicate()
    seen = json.loads(text)["result"]["data"]
    assert (seen["large"], seen["none"]) == (9_007_199_254_740_992, None)
