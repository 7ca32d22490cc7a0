"""Which way a run goes, on a real server: `otherwise`, several outcomes, joins of two, values to go on with."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from tests.integration.graph_kit import (
    MODES,
    PATIENCE,
    Served,
    attempts,
    edge,
    gate,
    leaf,
    put,
    until,
    until_status,
)


@pytest.fixture
def mode() -> str:
    return MODES[1]


def rule(**then: Any) -> dict[str, Any]:
    return {"type": "rule", "rules": [{"then": then}]}


async def test_each_item_goes_the_way_whose_condition_holds_or_the_other(served: Served) -> None:
    body = {
        "nodes": {
            "weigh": put(weight="{{ item }}"),
            "by_truck": put(carrier="truck"),
            "by_air": rule(carrier="air"),
            "by_post": leaf("break", args={"name": "posted", "until": 1}, output={"carrier": "'post'"}),
        },
        "edges": [
            edge("weigh", "by_post", otherwise=True),
            edge("weigh", "by_truck", when="weight > 30"),
            edge("weigh", "by_air", when="weight < 1"),
        ],
    }
    each = {"type": "foreach", "items": "weights", "body": body, "collect": {"into": "carriers", "value": "carrier"}}
    result = await served.run({"nodes": {"ship": each}}, {"weights": [40, 2, 0.5]})
    assert result["data"]["carriers"] == ["truck", "post", "air"]


@pytest.mark.parametrize("losers", ["drop", "cancel"])
async def test_a_join_of_two_goes_on_with_the_two_that_arrived_and_the_third_is_undone_with_the_run(
    served: Served, losers: str
) -> None:
    name = f"third {losers}"
    async with gate(name) as opened:
        nodes = {
            **{each: put(votes=[each]) | {"compensate": put()} for each in ("first", "second")},
            "third": leaf("pass_gate", args={"name": name, "votes": ["third"]}, compensate=put()),
            "decide": {**put(said="{{ votes }}"), "join": 2, "losers": losers},
            "ask": {"type": "approval"},
        }
        edges = [*(edge(each, "decide") for each in ("first", "second", "third")), edge("decide", "ask")]
        handle = await served.start({"nodes": nodes, "edges": edges, "context": {"merge": {"votes": "append"}}})
        status = await until_status(handle, "ask", "waiting")
        assert status["nodes"]["third"]["status"] == ("running" if losers == "drop" else "cancelled")
        opened.set()
        await until(lambda: attempts[name] == 1)
        assert (await handle.query("context"))["data"]["said"] == ["first", "second"]
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await asyncio.wait_for(handle.result(), PATIENCE)
    compensated = (await handle.query("status"))["compensated"]
    assert sorted(compensated) == ["first", "second", "third"]


async def test_one_edge_takes_a_failure_and_a_time_out(served: Served) -> None:
    graph: dict[str, Any] = {
        "nodes": {
            "fail": leaf("break", args={"name": "several", "how": "typed"}, retry={"max_attempts": 1}),
            "late": {"type": "approval", "prompt": "?", "timeout": "100ms"},
            "fine": put(done=True),
            **{
                f"after_{name}": rule(**{name: "{{ error == null ? 'nothing' : error.type }}"})
                for name in ("fail", "late", "fine")
            },
            "both": put(codes="{{ errors.map(each, each.code) }}", nearest="{{ error.code }}"),
        },
        "edges": [
            *(edge(name, f"after_{name}", outcome=["failure", "timeout"]) for name in ("fail", "late")),
            edge("fine", "after_fine", outcome=["success", "failure"]),
            *(edge(f"after_{name}", "both") for name in ("fail", "late")),
        ],
    }
    result = await served.run(graph)
    told = {"codes": ["NO_STOCK", "NO_ANSWER"], "nearest": "NO_STOCK"}
    assert result["data"] == {"done": True, "fail": "NO_STOCK", "late": "NO_ANSWER", "fine": "nothing"} | told


async def test_a_run_goes_on_with_the_values_for_nodes_that_failed_and_says_so(served: Served) -> None:
    use = {"on_failure": {"use": {"rate": 1.5, "why": "{{ error.type }}"}}}
    refused = leaf("break", args={"name": "refused", "how": "typed"}, retry={"max_attempts": 1})
    body = {"nodes": {"ask": {**refused, **use}, "scale": put(scaled="{{ rate * item }}")}}
    each = {"type": "foreach", "items": "[1, 2]", "body": {**body, "edges": [edge("ask", "scale")]}}
    late = {"type": "approval", "prompt": "?", "timeout": "100ms", "on_failure": {"use": {"late": "{{ error.type }}"}}}
    graph: dict[str, Any] = {
        "nodes": {
            "each": {**each, "collect": {"into": "all", "value": "[scaled, why]"}},
            "wrong": {**rule(half="{{ 1 / zero }}"), "on_failure": {"use": {"half": 0}}},
            "late": late,
            "end": put(done=True),
        },
        "edges": [edge("each", "end"), edge("wrong", "end"), edge("late", "end")],
    }
    handle = await served.start(graph, {"zero": 0})
    result = await handle.result()
    told = {"all": [[1.5, "NO_STOCK"], [3.0, "NO_STOCK"]], "half": 0, "late": "NO_ANSWER", "done": True, "zero": 0}
    assert result["data"] == told
    said = {each["by"]: each["warning"] for each in result["warnings"]}
    assert said.keys() == {"each", "wrong", "late"}
    assert said["late"] == "failed (NO_ANSWER), and the run went on with its `on_failure`"
    fallbacks = {each["by"] for each in await handle.query("history") if each["kind"] == "fallback"}
    assert fallbacks == {"wrong", "each[0]/ask", "each[1]/ask", "late"}
