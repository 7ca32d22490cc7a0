"""Which way a run goes, on a real server: `otherwise`, several outcomes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.graph_kit import MODES, Served, edge, leaf, put


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
        },
        "edges": [
            *(edge(name, f"after_{name}", outcome=["failure", "timeout"]) for name in ("fail", "late")),
            edge("fine", "after_fine", outcome=["success", "failure"]),
        ],
    }
    result = await served.run(graph)
    assert result["data"] == {"done": True, "fail": "NO_STOCK", "late": "NO_ANSWER", "fine": "nothing"}
