"""Expressions that a workflow evaluates: what costs too much fails its node, and much is spread over tasks."""

from typing import Any

import pytest

from anabranch.limits import RUN_LIMITS
from anabranch.workflows.interpreter.commands import YIELD
from tests.unit.machine_kit import Play, edge, machine_of, python

STARVING: dict[str, Any] = {"tags": [f"z{i}" for i in range(9000)], "text": "a" * 1_000_000}
SEARCH = "tags.exists(t, text.indexOf(t) >= 0)"
BODY = {"nodes": {"p": python()}}
GRAPHS: dict[str, dict[str, Any]] = {
    "when": {"nodes": {"a": python(when=SEARCH)}},
    "edge": {"nodes": {"a": python(), "b": python()}, "edges": [edge("a", "b", when=SEARCH)]},
    "items": {"nodes": {"a": {"type": "foreach", "items": f"{SEARCH} ? [1] : [2]", "body": BODY}}},
    "while": {"nodes": {"a": {"type": "while", "while": SEARCH, "body": BODY}}},
    "until": {"nodes": {"a": {"type": "wait", "until": f"{SEARCH} ? 1 : 2"}}},
    "prompt": {"nodes": {"a": {"type": "approval", "prompt": f"{{{{ {SEARCH} }}}}"}}},
    "output": {"nodes": {"a": {"type": "approval", "prompt": "Ok?", "output": {"x": SEARCH}}}},
    "collect": {
        "nodes": {"a": {"type": "foreach", "items": "[1]", "collect": {"into": "c", "value": SEARCH}, "body": BODY}}
    },
}


@pytest.mark.parametrize("place", GRAPHS)
def test_an_expression_that_costs_too_much_fails_its_node_and_not_the_workflow_task(place: str) -> None:
    finish = Play(machine_of(GRAPHS[place], STARVING)).run()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node) == ("EXPRESSION_TOO_COSTLY", "a")
    assert f"costs more than {RUN_LIMITS.step_units:,} units" in finish.failure.message


def test_a_failure_edge_may_handle_it() -> None:
    edges = [
        edge("a", "b", when=SEARCH),
        edge("a", "c", outcome="failure", when="error.type == 'EXPRESSION_TOO_COSTLY'"),
    ]
    play = Play(machine_of({"nodes": {name: python() for name in "abc"}, "edges": edges}, STARVING))
    assert play.run().failure is None
    assert play.ran == ["a", "c"]


def test_conditions_that_cost_much_are_spread_over_several_workflow_tasks() -> None:
    condition = "xs.all(x, x + 1 > x && x + 2 > x)"
    nodes = {f"n{index}": python(when=f"!({condition})") for index in range(60)}
    play = Play(machine_of({"nodes": nodes}, {"xs": list(range(3000))})).start()
    count = 0
    while list(play.pending) == [YIELD]:
        play.answer(YIELD)
        count += 1
    assert count >= 3
    assert play.ran == []
    assert play.state.finished is not None
