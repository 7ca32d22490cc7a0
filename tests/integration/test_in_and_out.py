"""What runs are given and what they come to, on a real server: `result`."""

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
