"""What runs are given and what they come to, on a real server: `inputs`, `result`."""

from __future__ import annotations

import json
from typing import Any

from tests.integration.graph_kit import Served, chain, error_of, put

BILL = """
name: bill
nodes: {a: {type: rule, rules: [{then: {net: "{{ price * 2 }}", draft: true}}]}}
result: {total: net * 2}
"""


def of_bill(**fields: Any) -> dict[str, Any]:
    return {"type": "graph", "graph": "bill", **fields}


async def test_runs_and_graphs_inside_come_to_their_results(served: Served) -> None:
    served.write("bill", BILL)
    as_child = of_bill(mode="child_workflow", input={"price": "{{ total }}"})
    graph = chain(inline=of_bill(), child=as_child, seen=put(seen="{{ total }}"))
    served.write("outer", json.dumps({"name": "outer", **graph}))
    result = await served.run("outer", {"price": 3})
    assert result["data"] == {"price": 3, "total": 48, "seen": 48}
    handle = await served.start_type("bill", {"price": 5})
    assert (await handle.result())["data"] == {"total": 20}
    context = await handle.query("context")
    assert context["data"] == {"price": 5, "net": 10, "draft": True}


async def test_a_result_that_fails_undoes_the_run(served: Served) -> None:
    undone = {**put(n=0), "compensate": put(undone=True)}
    handle = await served.start({**chain(a=undone), "result": {"share": "1 / n"}})
    error = await error_of(handle)
    assert error.type == "EXPRESSION_FAILED"
    assert "`result.share` of graph 'g'" in error.message
    assert (await handle.query("status"))["compensated"] == ["a"]


QUOTE = """
name: quote
inputs: {pieces: {type: integer}, currency: {enum: [EUR, USD], default: EUR}}
nodes: {a: {type: rule, rules: [{then: {text: "{{ pieces }} {{ currency }}"}}]}}
"""


async def test_runs_and_graphs_inside_have_the_defaults_of_their_inputs(served: Served) -> None:
    served.write("quote", QUOTE)
    assert await served.run("quote", {"pieces": 2}) | {"session_id": ""} == {
        "session_id": "",
        "status": "completed",
        "version": 2,
        "data": {"pieces": 2, "currency": "EUR", "text": "2 EUR"},
    }
    given = {"input": {"pieces": "{{ n }}"}, "output": {"text": "result.text"}}
    nodes = {mode: {"type": "graph", "graph": "quote", "mode": mode, **given} for mode in ("inline", "child_workflow")}
    nodes["child_workflow"]["output"] = {"other": "result.text"}
    served.write("asks", json.dumps({"name": "asks", "nodes": nodes}))
    assert (await served.run("asks", {"n": 3}))["data"] == {"n": 3, "text": "3 EUR", "other": "3 EUR"}
    refused = await served.error("quote", {"pieces": "two"})
    assert (refused.type, "the input `pieces` of graph 'quote'" in refused.message) == ("SCHEMA_VIOLATION", True)
    refused = await served.error("asks", {"n": "three"})
    assert refused.type == "SCHEMA_VIOLATION"
    assert (await served.error("quote", {})).type == "INPUT_MISSING"
