"""Where a node's expressions are evaluated, and what bounds them together."""

import asyncio
import threading
from typing import Any

import pytest

from anabranch.activities.evaluation import AT_ONCE, evaluated
from anabranch.activities.rendering import render
from anabranch.activities.rules.handler import RuleActivity, evaluate_rules
from anabranch.context.distributed import DistributedContext
from anabranch.context.values import Json
from anabranch.errors import ExpressionTooCostly
from anabranch.graph.expressions.cost import COST_LIMIT, Cost
from anabranch.graph.expressions.expressions import compile_expression
from anabranch.graph.expressions.templates import compile_template
from anabranch.graph.model import RuleNode
from anabranch.transport.node_protocol import NodeTask, RunInfo

RUN = RunInfo(id="run-1", session_id="s", graph="g", time="2026-01-31T12:00:00Z")
STARVING: dict[str, Any] = {"tags": [f"z{i}" for i in range(9000)], "text": "a" * 1_000_000}
SEARCH = "tags.exists(t, text.indexOf(t) >= 0)"
SOME_TIME = "xs.all(x, xs.size() + x >= 0 && x * 2 >= x && x + 1 > x)"
XS: dict[str, Any] = {"xs": list(range(5000))}


def task_of(data: dict[str, Any], node: dict[str, Any] | None = None) -> NodeTask:
    return NodeTask("a", node or {}, DistributedContext("s", data=data), RUN, "key")


def place_of(turns: int) -> Any:
    """A computation of so many iterations, whose result is the thread that finished it."""

    def compute(cost: Cost) -> threading.Thread:
        compile_expression("xs.all(x, x >= 0)").evaluate({"xs": list(range(turns))}, {}, cost)
        assert cost.spent > turns
        return threading.current_thread()

    return compute


async def test_what_costs_little_is_evaluated_on_the_event_loop() -> None:
    assert await evaluated(place_of(1000)) is threading.current_thread()


async def test_what_costs_more_is_evaluated_beside_it() -> None:
    place = await evaluated(place_of(AT_ONCE // 2))
    assert place is not threading.current_thread()
    assert place.name.startswith("expressions")


async def test_what_costs_too_much_is_refused() -> None:
    cost = Cost.of(20)
    assert compile_expression("[1].map(x, x)").evaluate({}, {}, cost) == [1]
    with pytest.raises(ExpressionTooCostly, match="more than 20 units"):
        compile_expression("[1].map(x, x)").evaluate({}, {}, cost)


@pytest.mark.parametrize(
    "node",
    [
        {"rules": [{"when": SEARCH, "then": {"x": 1}}]},
        {"rules": [{"then": {"x": f"{{{{ {SEARCH} }}}}"}}]},
        {"grl": f"rule R {{ when {SEARCH} then x = 1; }}"},
    ],
)
async def test_a_search_of_many_words_in_a_long_text_fails_the_node(node: dict[str, Any]) -> None:
    rule = RuleNode.model_validate({"type": "rule", **node})
    with pytest.raises(ExpressionTooCostly, match="costs more than 4,000,000 units"):
        await RuleActivity()(task_of(STARVING), rule)


async def test_a_long_evaluation_leaves_the_event_loop_to_others() -> None:
    rule = RuleNode.model_validate({"type": "rule", "rules": [{"when": SOME_TIME, "then": {"x": 1}}]})
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    result = await RuleActivity()(task_of(XS), rule)
    other.cancel()
    assert result.writes == {"x": 1}
    assert turns > 1


async def test_templates_of_a_field_are_rendered_alike_at_once_and_beside() -> None:
    value: Json = {"small": "{{ xs.size() }}", "large": f"so {{{{ {SOME_TIME} }}}}"}
    assert await render(value, task_of(XS)) == {"small": 5000, "large": "so true"}


def test_the_rules_of_a_node_share_one_limit() -> None:
    rule = {"when": "xs.all(x, x + 1 > x)", "then": {"x": 1}}
    cost = Cost()
    evaluate_rules(RuleNode.model_validate({"type": "rule", "rules": [rule]}), XS, {}, cost)
    many = RuleNode.model_validate({"type": "rule", "rules": [rule] * (COST_LIMIT // cost.spent + 1)})
    with pytest.raises(ExpressionTooCostly, match="rule "):
        evaluate_rules(many, XS, {})


def test_one_large_value_written_many_times_is_too_much() -> None:
    rules = [{"then": {f"k{index}": "{{ xs }}"}} for index in range(400)]
    with pytest.raises(ExpressionTooCostly, match="what the rules write"):
        evaluate_rules(RuleNode.model_validate({"type": "rule", "rules": rules}), XS, {})


def test_a_template_that_repeats_a_large_list_is_too_much() -> None:
    texts: list[Json] = ["{{ xs }}"] * 1000
    template = compile_template(texts)
    with pytest.raises(Exception, match="come to more than 2097152 characters"):
        template.render(XS, {})
    assert template.render({"xs": [1]}, {}) == [[1]] * 1000


def test_an_expression_costs_the_same_each_time() -> None:
    spent = set()
    for _ in range(3):
        cost = Cost()
        compile_expression("xs.map(x, string(x) + 'a').join(',').contains('7a') && xs == xs").evaluate(XS, {}, cost)
        spent.add(cost.spent)
    assert len(spent) == 1
