"""Runs that ask too much of a worker fail, each by itself; the runs beside them go on."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType

from tests.hostile.starving import table
from tests.integration.graph_kit import PATIENCE, Served, error_of, events, leaf, put

SEARCH = "words.exists(t, text.indexOf(t) >= 0)"
WORDS: dict[str, Any] = {"words": [f"z{index}" for index in range(9_000)], "text": "a" * 1_000_000}
CANARY = {"nodes": {"a": {"type": "rule", "rules": [{"then": {"x": 1}}]}, "b": put(y=2)}}
STARVING: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a condition of an edge": (
        {"nodes": {"a": put(), "b": put()}, "edges": [{"from": "a", "to": "b", "when": SEARCH}]},
        WORDS,
    ),
    "a condition of a node": ({"nodes": {"a": {**put(), "when": SEARCH}}}, WORDS),
    "the items of a loop": (
        {"nodes": {"a": {"type": "foreach", "items": f"[{SEARCH}]", "body": {"nodes": {"b": put()}}}}},
        WORDS,
    ),
    "a prompt": ({"nodes": {"a": {"type": "approval", "prompt": f"{{{{ {SEARCH} }}}}"}}}, WORDS),
    "a rule": ({"nodes": {"a": {"type": "rule", "rules": [{"when": SEARCH, "then": {"x": 1}}]}}}, WORDS),
    "GRL": ({"nodes": {"a": {"type": "rule", "grl": f"rule R {{ when {SEARCH} then x = 1; }}"}}}, WORDS),
    "an argument": ({"nodes": {"a": leaf(args={"x": f"{{{{ {SEARCH} }}}}"}, reads=("words", "text"))}}, WORDS),
    "a table": (
        {"nodes": {"a": {"type": "rule", "decision_table": table("sum(map([1..n], #))")}}},
        {"n": 4_000_000_000},
    ),
    "a slow table": (
        {"nodes": {"a": {"type": "rule", "decision_table": table("some([1..n], some([1..n], false))")}}},
        {"n": 20_000},
    ),
}


@pytest.mark.parametrize("name", STARVING)
async def test_a_run_that_starves_fails_by_itself_and_another_beside_it_goes_on(served: Served, name: str) -> None:
    graph, data = STARVING[name]
    starving = [await served.start(graph, data) for _ in range(3)]
    for _ in range(3):
        assert (await served.run(CANARY))["data"] == {"x": 1, "y": 2}
    errors = await asyncio.gather(*map(error_of, starving))
    assert [error.type for error in errors] == ["EXPRESSION_TOO_COSTLY"] * 3
    broken = {EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED, EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT}
    for handle in starving:
        assert [event for event in await events(handle) if event.event_type in broken] == []


COSTLY = "!xs.all(x, x + 1 > x && x + 2 > x && x * 2 >= x && string(x) != '')"
RULE: dict[str, Any] = {"type": "rule", "rules": [{"then": {"y": 1}}]}
BODIES: dict[str, dict[str, Any]] = {
    "at their start": {"nodes": {"a": {**RULE, "when": COSTLY}}},
    "at their failure": {
        "nodes": {"a": {"type": "rule", "rules": [{"then": {"y": "{{ 1 / 0 }}"}}]}, "b": RULE},
        "edges": [{"from": "a", "to": "b", "outcome": "failure", "when": COSTLY.removeprefix("!")}],
    },
    "at their end": {"nodes": {"a": RULE, "b": RULE}, "edges": [{"from": "a", "to": "b", "when": COSTLY}]},
}


@pytest.mark.parametrize(
    "place",
    ["at their end", *(pytest.param(each, marks=pytest.mark.slow) for each in BODIES if each != "at their end")],
)
async def test_a_hundred_conditions_that_cost_much_are_spread_over_workflow_tasks(served: Served, place: str) -> None:
    each = {"type": "foreach", "items": "xs.filter(x, x < 100)", "max_concurrency": 100, "body": BODIES[place]}
    handle = await served.start({"nodes": {"each": each}}, {"xs": list(range(9_000))})
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["status"] == "completed"
    # A task of 2 s would fail each time that it is tried. Where the machine starves a short one may fail, too.
    kinds = Counter(event.event_type for event in await events(handle))
    assert kinds[EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED] > 1
    assert kinds[EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED] <= 2
