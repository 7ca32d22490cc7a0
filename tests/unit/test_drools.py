"""Drools-like rules: what is read, what it is translated to, what it comes to, and what is refused with advice."""

from typing import Any

import pytest

from anabranch.activities.rules.chaining import evaluate_chain
from anabranch.context.values import Json
from anabranch.errors import ExpressionError
from anabranch.graph.rules.chained_rule import ChainedRule
from anabranch.graph.rules.rules_text import is_drools, parse_rules

RUN: dict[str, Json] = {"run": {"id": "r", "time": "2026-11-28T23:00:00Z"}}


def rule(when: str, then: str, attributes: str = "") -> str:
    return f'rule "R" "described" {attributes}\nwhen\n  {when}\nthen\n  {then}\nend\n'


def parsed(when: str, then: str = "insert!(x => 1);", attributes: str = "") -> ChainedRule:
    (found,) = parse_rules(rule(when, then, attributes))
    return found


def fired(when: str, then: str = "insert!(x => 1);", **data: Any) -> dict[str, Json]:
    return evaluate_chain(rule(when, then), data, RUN).changes


SHIPPING = """
rule "calculate_shipping" "Calculate shipping cost"
when
  $total: Number from order_total
  $weight: Number from total_weight
then
  if $total > 100.0 {
    insert!(shipping_cost => 0.0);
    insert!(shipping_method => "FREE");
  } else {
    insert!(shipping_cost => $weight * 2.5);
    insert!(shipping_method => "STANDARD");
  }
end
"""


def test_a_rule_in_the_form_of_drools_is_translated_to_cel() -> None:
    (shipping,) = parse_rules(SHIPPING)
    assert (shipping.name, shipping.salience, shipping.no_loop) == ("calculate_shipping", 0, False)
    assert shipping.when.source == "type(order_total) in [int, double] && type(total_weight) in [int, double]"
    assert [expression.source for expression in shipping.expressions[1:]] == [
        *("order_total > 100.0", "0.0", '"FREE"'),
        *("total_weight * 2.5", '"STANDARD"'),
    ]
    assert shipping.keys == frozenset({"order_total", "total_weight"})
    assert shipping.assigned == {("shipping_cost",), ("shipping_method",)}


def test_the_first_branch_whose_condition_holds_is_taken() -> None:
    assert evaluate_chain(SHIPPING, {"order_total": 1499.99, "total_weight": 4}, RUN).changes == {
        "shipping_cost": 0.0,
        "shipping_method": "FREE",
    }
    assert evaluate_chain(SHIPPING, {"order_total": 40, "total_weight": 4}, RUN).changes == {
        "shipping_cost": 10.0,
        "shipping_method": "STANDARD",
    }
    tiers = """if $n > 100 { insert!(tier => "gold"); } else if $n > 10 { insert!(tier => "silver") }
               else if missing == 1 { insert!(tier => "none"); } else { if $n == 0 { insert!(tier => "zero"); } }"""
    for number, tier in ((101, "gold"), (11, "silver"), (0, "zero")):
        assert fired("$n: Number from n", tiers, n=number) == {"tier": tier}
    assert fired("$n: Number from n", tiers, n=5) == {}
    assert fired("$n: Number from n", tiers, n=5, missing=1) == {"tier": "none"}


@pytest.mark.parametrize(
    ("when", "matches", "fails"),
    [
        ("$a: Number(this > 0.0) from a", [1, 0.5], [0, -1, "1", True, None, [1]]),
        ("Number() from a", [0, 1.5], ["1", {}]),
        ('$a: String(this != "") from a', ["x"], ["", 1, None]),
        ("Boolean(this) from a", [True], [False, "true"]),
        ("Integer from a", [1, 2.0], [1.5, "1"]),
        ("List(size > 1, this contains 2) from a", [[1, 2]], [[2], "2"]),
        ("Map(b == 1, c.d >= 2) from a", [{"b": 1, "c": {"d": 2}}], [{"b": 1, "c": {"d": 1}}, {"b": 1}, 1]),
        ("Order(b == 1 || b == 2) from a", [{"b": 2}], [{"b": 3}]),
        ("Object from a", [0, "", {}], [None]),
        ('String(length > 2 && this matches "a.*") from a', ["abc"], ["ab", "bac"]),
        ("Number(this in (1, 2, 3)) from a", [1, 3], [4]),
        ("Number(this not in (1, 2, 3)) from a", [4], [1]),
        ("String(this.toUpperCase() == 'X' , !this.isEmpty()) from a", ["x"], ["y", ""]),
        ("String(this.startsWith('x'), this.equals('xy')) from a", ["xy"], ["xz"]),
        ("eval(a > 1)", [2], [1]),
        ("Number(this > 1) from a or Boolean(this) from a", [2, True], [1, False]),
        ("(Number(this > 1) from a or Number(this < -1) from a) and Number(this != 5) from a", [2, -2], [0, 5]),
        ("not Number(this > 1) from a", [1, "x", None], [2]),
        ("not (Number(this > 1) from a and Number(this < 5) from a)", [1, 5], [2]),
        ("exists Number(this > 1) from a", [2, [0, 2]], [1, [0, 1], []]),
        ("not Item(price > 10) from a", [[], [{"price": 1}]], [[{"price": 1}, {"price": 11}]]),
        ("$list: List from a  $n: Number(this == $list[0]) from b", [[7, 8]], [[8], 7]),
        ("$o: Map($p: price, $p > 10) from a  Number(this < $p) from b", [{"price": 11}], [{"price": 6}, {}]),
        ("Number(this > b) from a", [8], [7]),
        ("", [1], []),
    ],
)
def test_a_pattern_matches_a_value_of_its_type_that_fits(when: str, matches: list[Json], fails: list[Json]) -> None:
    assert [fired(when, a=value, b=7) for value in matches] == [{"x": 1}] * len(matches)
    assert [fired(when, a=value, b=7) for value in fails] == [{}] * len(fails)


def test_a_value_that_is_not_there_matches_nothing_but_not() -> None:
    assert fired("Number from a") == {}
    assert fired("Number from a.b.c", a={}) == {}
    assert fired("not Number from a") == {"x": 1}
    assert fired("not Number from a.b", a=5) == {"x": 1}
    assert fired("exists Number from a") == {}
    assert fired("Number from b or Number from a", a=1) == {"x": 1}
    assert fired("Order(total > 1)") == {}


def test_a_pattern_without_from_is_about_the_object_under_the_key_of_its_type() -> None:
    then = "$o.total = $o.total * 0.4; modify ($o) { setState('NEW'), level = 2 } update($o);"
    assert fired("$o: Order(total > 100)", then + " insert!(done.at => current_time());", Order={"total": 200}) == {
        "Order": {"total": 80.0, "state": "NEW", "level": 2},
        "done": {"at": "2026-11-28T23:00:00Z"},
    }


def test_keys_that_may_be_absent_are_not_required() -> None:
    plain = parsed("$a: Number from a.b")
    assert (plain.keys, plain.paths) == (frozenset({"a"}), frozenset({("a", "b")}))
    optional = parsed("not Number from a  exists Number from b  (Number from c or Number from d.e)")
    assert (optional.keys, optional.paths) == (frozenset("abcd"), frozenset())


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('format!("Order approved for ${}", $a)', "Order approved for $1499.99"),
        ('format!("{:.2} of {0:.1} {{%}} {n}", $a, n = "x")', "1499.99 of 1500.0 {%} x"),
        ('format!("{1} {0}", $a, b)', "[true,null] 1499.99"),
        ('format!("plain")', "plain"),
        ('format!("{} {}", 40.0, nil)', "40 null"),
    ],
)
def test_format_writes_what_rust_does(written: str, text: str) -> None:
    assert fired("$a: Number from a", f"insert!(x => {written});", a=1499.99, b=[True, None]) == {"x": text}


def test_actions_that_only_say_something_do_nothing() -> None:
    said = 'println!("{} of {}", $a, a); Log("a", $a); System.out.println("x" + $a); info!("x"); insert!(x => 2);'
    assert fired("$a: Number from a", said, a=1) == {"x": 2}


def test_attributes_and_headers_are_read() -> None:
    text = "package com.shop.rules;\nimport java.util.*;\nimport java.util.List;\n"
    text += rule("Number from a", "insert!(x => 1);", "salience -5 no-loop true dialect 'mvel'") + "// end\n"
    text += 'rule Other salience 3, when Number from a then insert!(x => 2, "y z" => [1, 2]); end'
    first, second = parse_rules(text)
    assert (first.name, first.salience, first.no_loop) == ("Other", 3, False)
    assert (second.name, second.salience, second.no_loop) == ("R", -5, True)
    assert evaluate_chain(text, {"a": 1}, RUN).changes == {"x": 1, "y z": [1, 2]}


def test_a_rule_fires_again_only_when_what_its_conditions_read_changes() -> None:
    assert fired("Number from a", "insert!(n => n + 1);", a=1, n=0) == {"n": 1}
    assert fired("Number(this < 5) from n", "insert!(n => n + 1);", n=0) == {"n": 5}
    chained = evaluate_chain(rule("Number from n", "n += 1;"), {"n": 0}, RUN)
    assert (chained.changes, len(chained.warnings)) == ({"n": 100}, 1)
    assert fired("Number from n", "insert!(n => n + 1); drools.halt();", n=0) == {"n": 1}
    assert fired("Number from n", "insert!(n => n + 1); Retract('R');", n=0) == {"n": 1}


def test_rules_chain_through_what_they_insert() -> None:
    text = 'rule B when String(this == "ok") from state then insert!(told => true); end\n'
    text += 'rule A when Number from n then insert!(state => "ok"); end'
    assert evaluate_chain(text, {"n": 1}, RUN).changes == {"state": "ok", "told": True}


def test_the_form_shows_in_how_the_first_rule_begins() -> None:
    assert is_drools('/* { */ rule "{ when" when Number from a then x = 1; end')
    assert not is_drools('// when\nrule "when" "when" { when a then b = 1; }')
    assert not is_drools("")


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("rule R when then end end", 1, 22, "'end' is not expected here"),
        ("rule R when", 1, 8, "end too early"),
        (rule("order_total > 100", ""), 3, 15, "'>' is not expected here"),
        (rule("Number from a", "insert!(x => 1"), 6, 1, "'end' is not expected here"),
        (rule("Number from a", "insert!(x => 1 2);"), 5, 18, "'2' is not expected here"),
        (rule("Number from a", "insert!(x => $b);"), 5, 16, r"\$b is not bound"),
        (rule("Number from a", "insert!(x);"), 5, 3, "insert! names no key"),
        (rule("Number from a", "insert!(run.id => 1);"), 5, 11, "'run' cannot be written"),
        (rule("Number from a", "insert!(x => frobnicate(1));"), 5, 16, "no function 'frobnicate'"),
        (rule("Number from a", "insret!(x => 1);"), 5, 3, "no action insret! .did you mean insert!"),
        (rule("Number from a", "retract($a);"), 5, 3, "cannot remove a key .write insert!.key => nil."),
        (rule("Number from a", "x + 1;"), 5, 3, "is not an action"),
        (rule("Number from a", "insert!(x => vec!(1));"), 5, 16, "vec! is not a value"),
        (rule("Number from a", 'insert!(x => format!("{} {}", 1));'), 5, 24, "no value for the hole {}"),
        (rule("Number from a", 'insert!(x => format!("{}", 1, 2));'), 5, 24, "no hole for its value 1"),
        (rule("Number from a", 'insert!(x => format!("{:>8}", 1));'), 5, 24, "a hole that is not known"),
        (rule("Number(this > 0)", ""), 3, 3, "does not say of which value.*write Number from KEY"),
        (rule("Date from a", ""), 3, 3, "JSON has no dates"),
        (rule("$x: Number from a\n$x: Number from b", ""), 4, 1, r"two patterns bind \$x"),
        (rule("Number from a\nNumber(this > ) from b", ""), 4, 1, "ends too early"),
        (rule("List from collect(Item() from b)", ""), 3, 13, "from collect has no counterpart"),
        (rule("accumulate(Number from b)", ""), 3, 3, "accumulate has no counterpart"),
        (rule("", "", "agenda-group 'x'"), 1, 22, "agenda-group has no counterpart"),
        (rule("(Number from a or $y: Number from b)", "insert!(x => $y);"), 5, 16, r"\$y is not bound"),
        (rule("Number from a", "x = 1;") * 2, 7, 6, "two rules are called 'R'"),
    ],
)
def test_what_has_no_counterpart_is_refused_at_its_place(text: str, line: int, column: int, said: str) -> None:
    with pytest.raises(ExpressionError, match=said) as caught:
        parse_rules(text)
    assert (caught.value.line, caught.value.column) == (line, column)
