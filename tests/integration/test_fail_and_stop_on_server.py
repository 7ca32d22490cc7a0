"""`fail` and `stop` on a real server: who hears of the code, what is cancelled, and what ends."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
import yaml
from temporalio.client import WorkflowExecutionStatus

from tests.integration.graph_kit import MODES, PATIENCE, Served, attempts, chain, edge, error_of, leaf, put, until

UNDONE = {**put(), "compensate": put()}


@pytest.fixture
def mode() -> str:
    return MODES[1]


def fail(code: str, message: str = "", **fields: Any) -> dict[str, Any]:
    return {"type": "fail", "code": code, "message": message, **fields}


async def test_the_code_of_a_fail_node_is_caught_around_bodies_and_children_and_ends_the_run(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "anabranch")
    inner = chain(reserve=UNDONE, none=fail("SOLD_OUT", "only {{ n }} left"))
    served.write("inner", yaml.safe_dump({"name": "inner", **inner}))
    child = {"type": "graph", "graph": "inner", "mode": "child_workflow"}
    each = {"type": "foreach", "items": "[1]", "body": chain(p=UNDONE, wrong=fail("ODD", "{{ item }} is odd"))}
    told = put(child="{{ error.code }}: {{ error.message }}")
    nodes = {"child": child, "told": told, "each": each, "caught": put(each="{{ error.code }} at {{ error.node }}")}
    nodes |= {"slow": leaf("dawdle", args={"name": served.task_queue}, heartbeat="300ms")}
    nodes |= {"late": {"type": "wait", "for": "500ms"}, "end": fail("BAD_DAY", "{{ child }}; {{ each }}")}
    edges = [
        edge("child", "told", outcome="failure", when="error.code == 'SOLD_OUT'"),
        edge("told", "each"),
        edge("each", "caught", outcome="failure"),
        edge("caught", "late"),
        edge("late", "end"),
    ]
    handle = await served.start({"nodes": nodes, "edges": edges}, {"n": 2})
    error = await error_of(handle)
    message = "SOLD_OUT: node 'none': only 2 left; ODD at each[0]/wrong"
    reported = error.details[0]
    assert (error.type, reported["node"], reported["message"]) == ("BAD_DAY", "end", message)
    assert reported["compensated"] == ["each[0]/p"]
    # On a busy machine it may not have begun.
    assert attempts[f"{served.task_queue} cancelled"] == attempts[f"{served.task_queue} begun"]
    status = await handle.query("status")
    assert status["failure"] == {
        "node": "end",
        "code": "BAD_DAY",
        "type": "BAD_DAY",
        "message": message,
        "outcome": "failure",
    }
    assert {name: node["status"] for name, node in status["nodes"].items()} == {
        **dict.fromkeys(("child", "each", "end"), "failed"),
        **dict.fromkeys(("told", "caught", "late"), "succeeded"),
        "slow": "cancelled",
    }
    assert status["nodes"]["child"]["error"]["code"] == "SOLD_OUT"
    logged = [(each.getMessage(), vars(each).get("node"), vars(each).get("code")) for each in caplog.records]
    assert {("Node failed", "none", "SOLD_OUT"), ("Node failed", "child", "SOLD_OUT")} <= {*logged}
    assert [each for each in logged if each[0] == "Run failed"] == [
        ("Run failed", "none", "SOLD_OUT"),
        ("Run failed", "end", "BAD_DAY"),
    ]


async def test_a_stop_ends_a_child_an_item_or_the_run_as_completed(served: Served) -> None:
    slow = leaf("dawdle", args={"name": served.task_queue}, heartbeat="300ms")
    ending = {"found": put(x="{{ n }}"), "stop": {"type": "stop"}, "slow": slow}
    inner = {"nodes": ending, "edges": [edge("found", "stop", when="n > 0")]}
    served.write("inner", yaml.safe_dump({"name": "inner", **inner}))
    child = {"type": "graph", "graph": "inner", "mode": "child_workflow", "output": {"child": "result.x"}}
    body: dict[str, Any] = {
        "nodes": {"p": put(seen="{{ item }}"), "stop": {"type": "stop"}, "q": put(seen="{{ item * 10 }}")},
        "edges": [edge("p", "stop", when="item == 2"), edge("p", "q", otherwise=True)],
    }
    each = {"type": "foreach", "items": "[1, 2, 3]", "body": body, "collect": {"into": "all", "value": "seen"}}
    nodes = {"child": child, "each": each, "end": {"type": "stop"}, "after": put(after=True)}
    nodes |= {"wait": {"type": "wait", "for": "1h"}, "never": {**put(never=True), "compensate": put()}}
    edges = [edge("child", "each"), edge("each", "end"), edge("wait", "never"), edge("never", "after")]
    handle = await served.start({"nodes": nodes, "edges": edges}, {"n": 7})
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert (result["status"], result["data"]) == ("completed", {"n": 7, "child": 7, "all": [10, 2, 30]})
    assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED
    status = await handle.query("status")
    ended = {name: node["status"] for name, node in status["nodes"].items()}
    assert ended == {
        **dict.fromkeys(("child", "each", "end"), "succeeded"),
        "wait": "cancelled",
        "never": "skipped",
        "after": "skipped",
    }
    assert "compensated" not in status
    await until(lambda: attempts[f"{served.task_queue} cancelled"] == attempts[f"{served.task_queue} begun"])
