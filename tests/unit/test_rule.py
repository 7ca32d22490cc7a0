"""Lists of rules: order, defaults, what later rules see, and the node's activity."""

from typing import Any

import pytest

from anabranch.activities.rules.handler import RuleActivity, evaluate_rules
from anabranch.context.distributed import DistributedContext
from anabranch.context.values import Json
from anabranch.errors import EvaluationError, ExpressionTooCostly, NodeError, WireFormatError, WriteRefused
from anabranch.graph.expressions.cost import Cost
from anabranch.graph.model import RuleNode
from anabranch.transport.node_protocol import NodeTask, RunInfo

RUN = RunInfo(id="run-1", session_id="order-1", graph="orders", time="2026-01-31T12:00:00Z")


def rules(*entries: dict[str, Any], **fields: Any) -> RuleNode:
    return RuleNode.model_validate({"type": "rule", "rules": list(entries), **fields})


VALIDATE = rules(
    {"when": 'order_total > 0 && customer_id != ""', "then": {"validated": True, "validation_time": "{{ run.time }}"}},
    {"otherwise": {"validated": False}},
)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"order_total": 5, "customer_id": "c"}, {"validated": True, "validation_time": RUN.time}),
        ({"order_total": 0, "customer_id": "c"}, {"validated": False}),
        ({"order_total": 5, "customer_id": ""}, {"validated": False}),
    ],
)
def test_a_rule_with_otherwise_alone_is_the_default(data: dict[str, Any], expected: dict[str, Any]) -> None:
    assert evaluate_rules(VALIDATE, data, {"run": RUN.root()}).changes == expected


def test_then_holds_where_when_does_and_otherwise_where_not() -> None:
    node = rules({"when": "n > 1", "then": {"size": "large"}, "otherwise": {"size": "small"}})
    assert evaluate_rules(node, {"n": 2}, {}).changes == {"size": "large"}
    assert evaluate_rules(node, {"n": 1}, {}).changes == {"size": "small"}


def test_a_later_rule_sees_what_an_earlier_one_wrote() -> None:
    node = rules({"then": {"net": "{{ gross / 1.25 }}"}}, {"when": "net > 70", "then": {"big": "{{ net }}"}})
    assert evaluate_rules(node, {"gross": 100}, {}).changes == {"net": 80.0, "big": 80.0}


def test_salience_comes_before_position() -> None:
    node = rules(
        {"then": {"by": "last"}}, {"then": {"by": "first"}, "salience": 10}, {"then": {"by": "middle"}, "salience": 1}
    )
    assert evaluate_rules(node, {}, {}).changes == {"by": "last"}


def test_hit_first_stops_after_the_first_match() -> None:
    tiers = (
        {"when": "total > 1000", "then": {"tier": "gold"}},
        {"when": "total > 100", "then": {"tier": "silver"}},
        {"otherwise": {"tier": "none"}},
    )
    assert evaluate_rules(rules(*tiers, hit="first"), {"total": 2000}, {}).changes == {"tier": "gold"}
    assert evaluate_rules(rules(*tiers), {"total": 2000}, {}).changes == {"tier": "silver"}
    assert evaluate_rules(rules(*tiers, hit="first"), {"total": 5}, {}).changes == {"tier": "none"}


def test_a_failed_condition_with_otherwise_is_no_match() -> None:
    node = rules(
        {"when": "total > 100", "then": {"a": 1}, "otherwise": {"a": 0}},
        {"when": "total > 1", "then": {"b": 1}},
        hit="first",
    )
    assert evaluate_rules(node, {"total": 5}, {}).changes == {"a": 0, "b": 1}


def test_an_unconditional_rule_does_not_keep_the_default_from_applying() -> None:
    node = rules(
        {"then": {"seen": True}}, {"when": "total > 100", "then": {"big": True}}, {"otherwise": {"big": False}}
    )
    assert evaluate_rules(node, {"total": 5}, {}).changes == {"seen": True, "big": False}


def test_keys_are_paths_and_values_may_be_structured() -> None:
    then = {r"a\.b": 1, "list": ["{{ n }}", {"n.n": "n is {{ n }}"}], "none": None, "o.p.q": 2, "o.r": 3}
    found = evaluate_rules(rules({"then": then}), {"n": 7}, {})
    assert found.changes == {"a.b": 1, "list": [7, {"n.n": "n is 7"}], "none": None}
    assert found.parts == {("o", "p", "q"): 2, ("o", "r"): 3}
    assert found.result == {"a.b": 1, "list": [7, {"n.n": "n is 7"}], "none": None, "o": {"p": {"q": 2}, "r": 3}}
    assert evaluate_rules(rules({"then": {r"a\.b.c": 1}}), {}, {}).parts == {("a.b", "c"): 1}


@pytest.mark.parametrize(
    ("steps", "changes", "parts"),
    [
        ([{"o.a": 1}, {"o.b": "{{ o.a + o.z }}"}], {}, {("o", "a"): 1, ("o", "b"): 10}),
        ([{"o.a": 1}, {"o": {"c": "{{ o.a + o.z }}"}}], {"o": {"c": 10}}, {}),
        ([{"o": {"c": 1}}, {"o.d.e": "{{ o.c }}"}], {"o": {"c": 1, "d": {"e": 1}}}, {}),
        ([{"o.d": {"c": 1}}, {"o.d.e": "{{ o.d.c + 1 }}"}], {}, {("o", "d"): {"c": 1, "e": 2}}),
        ([{"o.d.e": 1, "p": 2}, {"o.d": {"f": "{{ o.d.e }}"}}], {"p": 2}, {("o", "d"): {"f": 1}}),
        ([{"o.d.e": 1}, {"o.d.e": "{{ o.d.e + 1 }}"}], {}, {("o", "d", "e"): 2}),
    ],
)
def test_a_later_rule_sees_what_was_written_inside_of_an_object_and_the_last_write_holds(
    steps: list[dict[str, Any]], changes: dict[str, Any], parts: dict[Any, Any]
) -> None:
    data: dict[str, Json] = {"o": {"z": 9, "d": {"old": 1}}}
    found = evaluate_rules(rules(*({"then": step} for step in steps)), data, {})
    assert (found.changes, found.parts) == (changes, parts)
    assert data == {"o": {"z": 9, "d": {"old": 1}}}


@pytest.mark.parametrize(("value", "kind"), [([1], "a list"), (5, "a single value"), (None, "null"), ("t", "a single")])
def test_a_path_through_what_is_no_object_is_refused_and_names_the_rule(value: Json, kind: str) -> None:
    node = rules({"then": {"a": 1}}, {"name": "sum", "then": {"o.p.total": 1}})
    with pytest.raises(WriteRefused, match=f"`o.p.total` cannot be written: `o.p` is {kind}") as caught:
        evaluate_rules(node, {"o": {"p": value}}, {})
    assert (caught.value.place, caught.value.code) == ("rule 'sum'", "WRITE_REFUSED")


def test_writing_inside_of_large_objects_again_and_again_costs_too_much() -> None:
    data: dict[str, Json] = {"o": {str(index): index for index in range(50_000)}}
    node = rules(*({"then": {f"o.k{index}": 1}} for index in range(200)))
    with pytest.raises(ExpressionTooCostly, match="the rules: "):
        evaluate_rules(node, data, {}, Cost.of(1_000_000))


def test_the_context_is_not_changed() -> None:
    data: dict[str, Json] = {"n": 1, "o": {"x": 1}}
    evaluate_rules(rules({"then": {"n": 2, "o": "{{ {'x': 2} }}"}}), data, {})
    assert data == {"n": 1, "o": {"x": 1}}


@pytest.mark.parametrize(("name", "shown"), [("vat", "rule 'vat'"), (None, "rule 2")])
def test_an_error_names_the_rule(name: str | None, shown: str) -> None:
    node = rules({"then": {"a": 1}}, {"name": name, "when": "missing > 1", "then": {"b": 1}})
    with pytest.raises(EvaluationError) as caught:
        evaluate_rules(node, {}, {})
    assert caught.value.place == shown


def test_what_json_cannot_say_is_not_written() -> None:
    with pytest.raises(WireFormatError, match="'n'"):
        evaluate_rules(rules({"then": {"n": float("nan")}}), {}, {})


@pytest.mark.parametrize("fields", [{}, {"rules": [], "grl": "rule R { when a then b = 1; }"}])
def test_a_node_has_exactly_one_kind_of_rules(fields: dict[str, Any]) -> None:
    with pytest.raises(NodeError, match="exactly one of"):
        evaluate_rules(RuleNode.model_validate({"type": "rule", **fields}), {}, {})


async def test_the_activity_writes_what_the_rules_wrote_and_shows_it_to_output() -> None:
    context = DistributedContext("order-1", {"order_total": 5, "customer_id": "c"})
    node = VALIDATE.model_dump(mode="json", exclude_defaults=True)
    task = NodeTask(address="validate", node=node, context=context, run=RUN, key="run-1/validate")
    outcome = await RuleActivity()(task, VALIDATE)
    assert outcome.writes == outcome.result == {"validated": True, "validation_time": RUN.time}
