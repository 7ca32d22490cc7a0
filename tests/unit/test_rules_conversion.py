"""Rules that chain as a list of `rules`: the same from the same context, or a reason why there is no such list."""

from typing import Any

import pytest

from anabranch.activities.rules.chaining import evaluate_chain
from anabranch.activities.rules.handler import evaluate_rules
from anabranch.context.values import Json
from anabranch.graph.model import RuleNode
from anabranch.graph.rules.conversion import to_rules
from tests.unit.test_drools import RUN, SHIPPING, rule

NOTE = """rule "note" when $s: String from state  $o: Map from order  not Number(this > 5) from blocked then
  insert!(seen => true, at => current_time());
  if $s == "NEW" { insert!(note => format!("${:.2}", $o.total)); if gift { insert!(card => "{{ yes }}"); } }
  else if order.lines.count > 2 { insert!(note => "many"); }
  else { insert!(note => "few", least => [1, nil]); }
  insert!(seen => 2);
end
rule "low" salience 9 no-loop when Integer(this < 3 || this > 30) from level then insert!(low => level); end"""
CONTEXTS: list[dict[str, Any]] = [
    {},
    {"order_total": 1499.99, "total_weight": 4},
    {"order_total": 40, "total_weight": 4},
    {"order_total": "40", "total_weight": 4},
    {"order_total": None, "total_weight": 4},
    {"state": "NEW", "order": {"total": 2}, "level": 2},
    {"state": "NEW", "order": {"total": 2}, "gift": True, "level": 10},
    {"state": "NEW", "order": {"total": 2}, "gift": None, "blocked": 4},
    {"state": "OLD", "order": {"lines": {"count": 3}}, "gift": True, "level": 31},
    {"state": "OLD", "order": {"lines": {"count": 1}}, "blocked": 6},
    {"state": "OLD", "order": {"lines": {"count": 1}}, "blocked": "x"},
    {"state": "OLD", "order": {"lines": 7}},
    {"state": "OLD", "order": {}},
    {"order": {"in": {"package": 2}}, "in": True},
    {"order": {"in": {}}, "in": True},
]
RESERVED = "rule A { when order.in.package > 1 && in == true then a = order.in; }"
GRL = 'rule A { when level > 1 && state != "x" then a = level * 2; Log("a", a); } rule B { when gift then b = "b"; }'


@pytest.mark.parametrize("text", [SHIPPING, NOTE, GRL, RESERVED])
@pytest.mark.parametrize("context", CONTEXTS)
def test_the_list_writes_what_the_text_does(text: str, context: dict[str, Json]) -> None:
    converted = to_rules(text)
    assert converted.reasons == ()
    node = RuleNode.model_validate({"type": "rule", "rules": list(converted.rules)})
    assert evaluate_rules(node, context, RUN).changes == evaluate_chain(text, context, RUN).changes


def test_branches_become_rules_and_constants_are_written_plainly() -> None:
    here = "has(context.order_total) && has(context.total_weight) && type(order_total) in [int, double]"
    here += " && type(total_weight) in [int, double]"
    assert to_rules(SHIPPING).rules == (
        {
            "name": "calculate_shipping",
            "when": f"{here} && order_total > 100.0",
            "then": {"shipping_cost": 0.0, "shipping_method": "FREE"},
        },
        {
            "name": "calculate_shipping 2",
            "when": f"{here} && !(order_total > 100.0)",
            "then": {"shipping_cost": "{{ total_weight * 2.5 }}", "shipping_method": "STANDARD"},
        },
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (rule("Number from n", "insert!(n => n + 1);"), "rule 'R' reads `n`, which it writes"),
        (rule("Number from n", "insert!(a => 1); insert!(b => a);"), "rule 'R' reads `a`, which it writes"),
        ("rule A { when b then a = 1; } rule B { when c then b = 2; }", "rule 'A' reads `b`, which 'B' writes"),
        (
            rule("Number from n", "insert!(a.b => 1);"),
            "rule 'R' writes `a.b`, and makes an object of null: a list refuses that",
        ),
        (rule("Number from n", "insert!(a => 1); drools.halt();"), "rule 'R' ends rules by `Retract` or `Complete`"),
        (rule("eval(a > 1 || b > 1)", "x = 1;"), "rule 'R' has a choice that reads what may be absent: `(a > 1 || b"),
        (rule("eval(size(context) > 1)", "x = 1;"), "rule 'R' reads the whole context"),
    ],
)
def test_a_text_without_such_a_list_says_why(text: str, reason: str) -> None:
    converted = to_rules(text)
    assert converted.rules == ()
    assert converted.reasons[0].startswith(reason)


def test_rules_that_read_only_what_rules_before_them_write_are_a_list() -> None:
    text = "rule A salience 9 { when n > 1 then a = n; } rule B { when a > 1 then b = a; }"
    assert [each["name"] for each in to_rules(text).rules] == ["A", "B"]
