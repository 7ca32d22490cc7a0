"""GRL: what is read, how rules chain, and the purchasing rules over a table of products."""

from pathlib import Path
from typing import Any

import pytest

from anabranch.activities.rules.chaining import evaluate_chain
from anabranch.activities.rules.handler import evaluate_rules
from anabranch.context.values import Json
from anabranch.errors import EvaluationError, ExpressionError
from anabranch.graph.load import load_graph
from anabranch.graph.model import RuleNode
from anabranch.graph.rules.chained_rule import Assignment, Complete, Retract
from anabranch.graph.rules.rules_text import parse_rules
from tests.json_values import at

PURCHASING = Path(__file__).parents[2] / "examples" / "purchasing.yaml"
INPUT: dict[str, Any] = {
    "product": {
        "available": 50,
        "reserved": 10,
        "required": 100,
        "average_demand": 4,
        "recent_demand": 4,
        "lead_time_days": 5,
        "unit_price": 2.5,
    },
    "supplier": {"active": True, "minimum_order": 20},
    "approval_limit": 250,
}


def evaluate_grl(text: str, data: dict[str, Json], roots: dict[str, Json]) -> dict[str, Json]:
    return evaluate_chain(text, data, roots).changes


def purchase(**changes: Any) -> dict[str, Any]:
    node = load_graph(PURCHASING).graph.nodes["decide"]
    assert isinstance(node, RuleNode)
    product = {**INPUT["product"], **{key: value for key, value in changes.items() if key in INPUT["product"]}}
    supplier = {**INPUT["supplier"], **{key: value for key, value in changes.items() if key in INPUT["supplier"]}}
    limit = changes.get("approval_limit", INPUT["approval_limit"])
    return evaluate_rules(node, {"product": product, "supplier": supplier, "approval_limit": limit}, {}).changes


def test_the_purchasing_example_has_eleven_rules() -> None:
    node = load_graph(PURCHASING).graph.nodes["decide"]
    assert isinstance(node, RuleNode)
    rules = parse_rules(node.grl or "")
    assert [rule.name for rule in rules] == [
        *("FreeStock", "RisingTrend", "SteadyTrend", "ReorderPoint", "Shortage", "NoShortage", "ReorderNeed"),
        *("InactiveSupplier", "MinimumOrder", "Total", "Approval"),
    ]
    assert len(rules) == 11


@pytest.mark.parametrize(
    ("changes", "shortage", "reorder_point", "reorder"),
    [
        ({}, 60, 20, {"needed": True, "quantity": 80, "total": 200, "needs_approval": False}),
        ({"approval_limit": 199.99}, 60, 20, {"needed": True, "quantity": 80, "total": 200, "needs_approval": True}),
        ({"recent_demand": 6}, 60, 30, {"needed": True, "quantity": 90, "total": 225, "needs_approval": False}),
        ({"recent_demand": 4.4}, 60, 20, {"needed": True, "quantity": 80, "total": 200, "needs_approval": False}),
        ({"minimum_order": 500}, 60, 20, {"needed": True, "quantity": 500, "total": 1250, "needs_approval": True}),
        ({"minimum_order": 80}, 60, 20, {"needed": True, "quantity": 80, "total": 200, "needs_approval": False}),
        ({"active": False}, 60, 20, {"needed": False, "quantity": 0, "blocked": "supplier inactive"}),
        (
            {"active": False, "minimum_order": 500},
            60,
            20,
            {"needed": False, "quantity": 0, "blocked": "supplier inactive"},
        ),
        ({"available": 125}, 0, 20, {"needed": True, "quantity": 20, "total": 50, "needs_approval": False}),
        ({"available": 130}, 0, 20, None),
        ({"available": 1000}, 0, 20, None),
        ({"reserved": 50}, 100, 20, {"needed": True, "quantity": 120, "total": 300, "needs_approval": True}),
        ({"average_demand": 0}, 60, 0, {"needed": True, "quantity": 60, "total": 150, "needs_approval": False}),
        ({"lead_time_days": 5.1}, 60, 20.4, {"needed": True, "quantity": 81, "total": 202.5, "needs_approval": False}),
    ],
)
def test_purchasing_rules_feed_each_other(
    changes: dict[str, Any], shortage: float, reorder_point: float, reorder: dict[str, Any] | None
) -> None:
    decided = purchase(**changes)
    assert decided["shortage"] == shortage
    assert decided["reorder_point"] == pytest.approx(reorder_point)
    assert decided.get("reorder") == reorder


def test_names_are_paths_and_actions_are_typed() -> None:
    (rule,) = parse_rules(
        """// a comment
        rule "Some Name" "described" salience -5 no-loop {
            when Order.total >= 100 && !(list[0] == nil) /* and */ || Order.name.HasPrefix("A when then")
            then Order.discount += Max(1, 2) * 0.5; Log("hello"); plain = 'x'; Retract("Some Name"); Complete();
        }"""
    )
    assert (rule.name, rule.salience, rule.no_loop) == ("Some Name", -5, True)
    assert rule.keys == frozenset({"Order", "list"})
    assert rule.assigned == {("Order", "discount"), ("plain",)}
    assert [type(action) for action in rule.actions] == [Assignment, Assignment, Retract, Complete]


def test_rules_are_tried_by_salience_then_as_they_stand() -> None:
    text = "".join(f"rule R{i} salience {s} {{ when a then b = 1; }}" for i, s in enumerate((1, 5, 1, 9)))
    assert [rule.name for rule in parse_rules(text)] == ["R3", "R1", "R0", "R2"]


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("", 1, 1, "end too early"),
        ("garbage", 1, 1, "'garbage' is not expected here"),
        ("rule X { when a then b = 1 }", 1, 28, "'}' is not expected here"),
        ("rule X {\n when a == 'x\n then b = 1; }", 2, 12, "is not expected here"),
        ("rule X { when a then b = 1; }\nrule X { when a then b = 1; }", 2, 6, "two rules are called 'X'"),
        ("rule X { when a then Retract('Y'); }", 1, 30, "no rule 'Y' to retract"),
        ("rule X { when a then Launch('Y'); }", 1, 22, "no action Launch"),
        ("rule X { when a then Log('Y', + ); }", 1, 22, r"extraneous input '\+'"),
        ("rule X { when a then Log 'Y'; }", 1, 26, "is not expected here"),
        ("rule X { when a then Retract('X', 'X'); }", 1, 22, "no action Retract"),
        ("rule X salience " + "9" * 5000 + " { when a then b = 1; }", 1, 17, "at most nine digits"),
        ("rule X { when a + then b = 1; }", 1, 15, "ends too early"),
        ("rule X { when frobnicate(a) then b = 1; }", 1, 15, "no function 'frobnicate'"),
        ("rule X { when a then run.id = 1; }", 1, 22, "'run' cannot be written"),
        ("rule X { when " + "(" * 50_000 + " then b = 1; }", 1, 15, "over the limit of 8192"),
        ("".join(f"rule R{i} {{ when a then b = 1; }}" for i in range(501)), 1, 1, "501 rules are over the limit"),
    ],
)
def test_what_is_no_grl_says_where(text: str, line: int, column: int, said: str) -> None:
    with pytest.raises(ExpressionError, match=said) as caught:
        parse_rules(text)
    assert (caught.value.line, caught.value.column) == (line, column)


def test_rules_chain_forward_whatever_their_order() -> None:
    text = """
    rule Third { when c > 2 then d = c + 1; }
    rule Second { when b > 1 then c = b + 1; }
    rule First { when a > 0 then b = a + 1; }
    """
    assert evaluate_grl(text, {"a": 1}, {}) == {"b": 2, "c": 3, "d": 4}


def test_a_condition_on_what_is_not_there_yet_is_false() -> None:
    assert evaluate_grl("rule R { when !missing then a = 1; }", {}, {}) == {}
    assert evaluate_grl("rule R { when Order.missing > 1 then a = 1; }", {"Order": {}}, {}) == {}


def test_a_rule_that_changes_nothing_does_not_fire() -> None:
    assert evaluate_grl("rule R { when a > 0 then a = 1; }", {"a": 1}, {}) == {}


def test_a_retracted_rule_fires_no_more() -> None:
    assert evaluate_grl('rule R { when n >= 0 then n += 1; Retract("R"); }', {"n": 0}, {}) == {"n": 1}


def test_a_no_loop_rule_fires_once_per_run_whatever_changes_after_it() -> None:
    alone = "rule R no-loop { when n >= 0 then n = n + 1; }"
    assert evaluate_grl(alone, {"n": 0}, {}) == {"n": 1}
    assert evaluate_grl(alone + "rule Other { when n == 1 then n = 10; }", {"n": 0}, {}) == {"n": 10}
    assert evaluate_grl(alone.replace("no-loop", "no-loop false"), {"n": 0}, {}) == {"n": 100}


@pytest.mark.parametrize(
    ("data", "changed"),
    [
        ({"stock": 5, "blocked": True}, {"want": 0}),
        ({"stock": 5, "blocked": True, "want": 5}, {"want": 0}),
        ({"stock": 5, "blocked": False}, {"want": 5}),
    ],
)
def test_no_loop_rules_that_write_one_key_come_to_rest_at_the_last_in_order(
    data: dict[str, Json], changed: dict[str, Json]
) -> None:
    text = """
    rule "Set want" salience 20 no-loop { when stock >= 0 then want = stock; }
    rule "Blocked supplier" salience 10 no-loop { when blocked == true then want = 0; }
    """
    chained = evaluate_chain(text, data, {})
    assert (chained.changes, chained.warnings) == (changed, ())


def test_complete_ends_the_rules() -> None:
    text = "rule A salience 9 { when go then a = 1; Complete(); } rule B { when go then b = 1; }"
    assert evaluate_grl(text, {"go": True}, {}) == {"a": 1}


def test_a_counter_with_an_end_comes_to_rest() -> None:
    assert evaluate_grl("rule Count { when n < 100 then n = n + 1; }", {"n": 0}, {}) == {"n": 100}


def test_rules_without_rest_are_stopped_after_a_hundred_cycles_with_a_warning() -> None:
    counted = evaluate_chain("rule Count { when n >= 0 then n = n + 1; }", {"n": 0}, {})
    assert counted.changes == {"n": 100}
    (warning,) = counted.warnings
    assert warning.startswith("the rules were stopped after 100 cycles while 'Count' still fired; give")
    toggled = evaluate_chain("rule A { when a then a = false; } rule B { when !a then a = true; }", {"a": True}, {})
    assert toggled.changes == {"a": True}
    assert "while 'A', 'B' still fired" in toggled.warnings[0]


def test_rules_that_contradict_each_other_end_as_the_last_of_each_cycle_says() -> None:
    text = """
    rule Low salience 9 { when available < 10 then order = true; short = 10 - available; }
    rule Inactive salience 5 { when active == false then order = false; }
    rule Next { when order == true then quantity = short; }
    """
    chained = evaluate_chain(text, {"available": 4, "active": False}, {})
    assert chained.changes == {"order": False, "short": 6}
    assert "'Low', 'Inactive' still fired" in chained.warnings[0]


def test_log_takes_any_arguments_and_reads_none_of_them() -> None:
    (rule,) = parse_rules('rule R { when a > 0 then b = 1; Log("reorder", quantity, a + 1); Log(); }')
    assert rule.keys == frozenset({"a"})
    assert evaluate_grl("rule R { when a > 0 then b = 1; Log('x', missing); }", {"a": 1}, {}) == {"b": 1}


def test_nested_assignments_copy_and_the_input_stays_as_it_was() -> None:
    order: dict[str, Json] = {"total": 200, "lines": [1]}
    changed = evaluate_grl("rule R { when O.total > 1 then O.fee.net = 5; New.x.y = O.total; }", {"O": order}, {})
    assert changed == {"O": {"total": 200, "lines": [1], "fee": {"net": 5}}, "New": {"x": {"y": 200}}}
    assert order == {"total": 200, "lines": [1]}
    assert at(changed, "O", "lines") is order["lines"]


def test_errors_name_their_rule() -> None:
    with pytest.raises(EvaluationError, match=r"rule 'R': `a > \"x\"`"):
        evaluate_grl('rule R { when a > "x" then b = 1; }', {"a": 1}, {})
    with pytest.raises(EvaluationError, match="rule 'R': `b`: the context has no key 'b'"):
        evaluate_grl("rule R { when a > 0 then c = b; }", {"a": 1}, {})
    with pytest.raises(EvaluationError, match=r"rule 'R': `a\.x` cannot be assigned: there is a number"):
        evaluate_grl("rule R { when a > 0 then a.x = 1; }", {"a": 1}, {})


@pytest.mark.parametrize("data", [{"customer": None}, {"customer": {"address": None}}])
def test_an_assignment_through_null_is_refused_and_makes_no_object(data: dict[str, Json]) -> None:
    with pytest.raises(EvaluationError, match=r"`customer\.address\.zip` cannot be assigned: there is null where"):
        evaluate_grl("rule R { when true then customer.address.zip = 1; }", data, {})


def test_roots_are_visible_and_keys_of_reserved_names_are_reachable() -> None:
    text = 'rule R { when run.id == "r" && list[1] == item && Order.in > 0 then found = item; }'
    data: dict[str, Json] = {"list": [1, 2], "Order": {"in": 1}}
    assert evaluate_grl(text, data, {"run": {"id": "r"}, "item": 2}) == {"found": 2}
