"""The functions of expressions: each as its registration says, and what they refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Set as AbstractSet
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.errors import EvaluationError, ExpressionError, ExpressionTooCostly
from anabranch.graph.expressions.expressions import ValueMissing, compile_expression
from anabranch.graph.expressions.functions.catalogue import CATALOGUE, EXAMPLE
from anabranch.graph.expressions.functions.function import Function

EXAMPLES = [example.rpartition(" => ")[::2] for function in CATALOGUE.values() for example in function.examples]


def value(source: str, data: dict[str, Any] = EXAMPLE) -> Any:
    return compile_expression(source).evaluate(data, {"run": {}})


@pytest.mark.parametrize(("source", "expected"), EXAMPLES)
def test_a_registered_example_has_the_value_shown(source: str, expected: str) -> None:
    assert json.dumps(value(source)) == json.dumps(json.loads(expected))


@pytest.mark.parametrize("function", CATALOGUE.values(), ids=lambda function: function.name)
def test_each_function_says_what_it_does_and_has_an_example_that_calls_it(function: Function) -> None:
    name = "?" if "?" in function.name else f"{function.name}("
    assert function.text.endswith(".")
    assert [example for example in function.examples if name in example]


@pytest.mark.parametrize(
    ("source", "keys", "required"),
    [
        ("order.?total.orValue(0)", {"order"}, {"order"}),
        ("context.?order.?total.orValue(0)", {"order"}, set()),
        ('context[?"order"].total.orValue(0)', {"order"}, set()),
        ("context.?a.or(context.?b).orValue(c)", {"a", "b", "c"}, {"c"}),
        ("lines.sortBy(line, line.price * rate)", {"lines", "rate"}, {"lines", "rate"}),
        ("lines.sortBy(lines, lines.price)", {"lines"}, {"lines"}),
        ("lines.map(x, lines.sortBy(x, x.a)).sortBy(y, x)", {"lines", "x"}, {"lines", "x"}),
        ("m.transformMap(k, v, v.transformList(i, k, k + i + v + w))", {"m", "w"}, {"m", "w"}),
        ("cel.bind(x, y, x + z)", {"y", "z"}, {"y", "z"}),
        ("a.?b.optMap(x, x + c).orValue(x)", {"a", "c", "x"}, {"a", "c", "x"}),
        ("lists.range(lists) + [optional.of(n).value()]", {"lists", "n"}, {"lists", "n"}),
    ],
)
def test_names_that_a_function_binds_are_not_read_and_optional_keys_are_not_required(
    source: str, keys: AbstractSet[str], required: AbstractSet[str]
) -> None:
    expression = compile_expression(source)
    assert expression.keys == keys
    assert expression.required == required


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a.?b.orValue(0)", 1),
        ("a.?x.orValue(0)", 0),
        ("a.?x.y.z.orValue(0)", 0),
        ("a.?none.orValue(0)", None),
        ("a.?none.?x.orValue(0)", 0),
        ("context.?nothing.?b.orValue(0)", 0),
        ("nothing.?b.orValue(0)", 0),
        ("context.?missing.b.orValue(0)", 0),
        ("has(a.?x.y)", False),
        ("has(a.?d.e)", True),
        ("a.?d.e.orValue(0)", 2),
        ("l[?0].orValue(0)", 5),
        ("l[?9].orValue(0)", 0),
        ("l.first().or(l.last()).value()", 5),
        ("[a.?x, a.?b].map(o, o.hasValue())", [False, True]),
        ("optional.of(l) == optional.of([5]) && optional.none() == a.?x", True),
        ("[a].map(each, each.?b.orValue(0))", [1]),
        ("true || a.?b.c.orValue(false)", True),
        ("l.first().optMap(x, x + l.last().optMap(y, y * 2).value()).value()", 15),
    ],
)
def test_what_may_be_absent_has_another_value_instead(source: str, expected: object) -> None:
    data = {"a": {"b": 1, "none": None, "d": {"e": 2}}, "l": [5], "nothing": None}
    assert value(source, data) == expected


@pytest.mark.parametrize(
    "source", ["missing.?b.orValue(0)", "a.?b.c.orValue(0)", "a.b.?c.orValue(0)", "a.x.?y.orValue(0)"]
)
def test_what_must_be_there_is_missing_behind_and_before_what_may_be_absent(source: str) -> None:
    with pytest.raises(ValueMissing):
        value(source, {"a": {"b": 1}})


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("[1, 'a'].sort()", r"sort cannot order number and text \(order by values of one kind\)"),
        ("[null].sort()", "sort cannot order null"),
        ("[1.0, double('NaN')].sort()", "sort cannot order NaN"),
        ("lines.sortBy(l, l)", "sortBy cannot order object"),
        ("[].minBy(x, x)", "minBy takes at least one element"),
        ("[].average()", "average takes at least one number"),
        ("[1.5].groupBy(x, x)", "groupBy makes keys of texts, whole numbers and booleans, not of number"),
        ("[1].zip([])", "zip pairs lists of one length; these have 1 and 0 elements"),
        ("[1].chunk(0)", "chunk makes lists of 0 elements"),
        ("[1].slice(1, 3)", "slice 1 to 3 of a list of 1"),
        ("lists.range(-1)", "counts up to -1"),
        ("[1, 2].transformMapEntry(i, x, {'k': x})", "duplicate key 'k'"),
        ("1.5.fixed(99)", "fixed takes 0 to 15 digits, not 99"),
        ("1.5.fixed(2, '::')", "one character each"),
        ("'a'.padStart(3, '')", "padStart fills with one character, not with 0"),
        ("name.charAt(4)", "charAt from 4 in a text of 3 characters"),
        ("timestamp(ordered_at).formatTime('%Q')", "formatTime does not know '%Q'"),
        ("timestamp(ordered_at).formatTime('%')", "formatTime does not know '%'"),
        ("parseTime('1', '%d%d')", "parseTime has twice '%d'"),
        ("parseTime('2026-02-30', '%Y-%m-%d')", "the text is not a time: day "),
        ("parseTime('x', '%Y')", "not a time of the form '%Y'"),
        ("timestamp(ordered_at).startOf('decade')", "the units are year, month, week, day, hour, minute"),
        ("timestamp(ordered_at).addDate(1, 'hour')", "the units are year, month, week, day"),
        ("timestamp(ordered_at).addDate(9000, 'year')", "between the years 1 and 9999"),
        ("timestamp(ordered_at).addDate(18446744073709551615u, 'day')", "no matching overload"),
        ("'%x'.format([1.5])", "does not take"),
        ("[?1]", "behind . write what may be absent"),
        ("stock.?pot.value()", r"write \.orValue"),
        ("stock.orValue(1)", "takes an optional value"),
    ],
)
def test_what_has_no_value_says_why(source: str, said: str) -> None:
    with pytest.raises((EvaluationError, ExpressionError), match=said):
        value(source)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "[1, 1.0, true, '1', null, null, [1], [1.0], {'a': 1}, {'a': 1.0}].distinct()",
            [1, True, "1", None, [1], {"a": 1}],
        ),
        ("['b', 'B', 'a', 'é', 'z'].sort()", ["B", "a", "b", "z", "é"]),
        ("[[2, 'a'], [1, 'b'], [2, 'c']].sortBy(p, -p[0]).map(p, p[1])", ["a", "c", "b"]),
        ("[3, 1, 2].sortBy(x, timestamp(x)).reverse()", [3, 2, 1]),
        ("[[1], 2, [[3]]].flatten(9)", [1, 2, 3]),
        ("[1, 2].flatten(0)", [1, 2]),
        ("[true, false, true].groupBy(x, x).keys()", ["false", "true"]),
        ("[1, 2].groupBy(n, n)", {"1": [1], "2": [2]}),
        ("{'b': 1, 'a': 2}.merge({'b': 3})", {"b": 3, "a": 2}),
        ("(-2.5).fixed(0) + ' ' + (-0.001).fixed(2) + ' ' + (0.5).fixed(0)", "-3 0.00 1"),
        ("999.999.fixed(2, '.', ',') + ' ' + 1000.fixed(0, '', ' ')", "1,000.00 1 000"),
        ("18446744073709551615u.fixed(1, '.', \"'\")", "18'446'744'073'709'551'615.0"),
        (
            "[math.round(0.125, 2), math.round(-0.125, 2), math.round(1.005, 2), math.round(7, 2)]",
            [0.13, -0.13, 1.01, 7],
        ),
        ("'a-b-c'.split('-', 0) + 'a-b'.split('-', 1) + 'abc'.split('', 2)", ["a-b", "a", "bc"]),
        ("'aaa'.lastIndexOf('aa') * 10 + 'aaa'.lastIndexOf('aa', 0)", 10),
        ("lists.range(0)", []),
        ("cel.bind(x, 2, cel.bind(y, x * 2, x + y))", 6),
    ],
)
def test_functions_do_what_their_names_say_at_the_edges(source: str, expected: object) -> None:
    assert json.dumps(value(source)) == json.dumps(expected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        # Berlin skips 02:00 to 03:00 on 2026-03-29, and shows it twice on 2026-10-25.
        ("parseTime('2026-03-29 02:30', '%Y-%m-%d %H:%M', 'Europe/Berlin')", "2026-03-29T01:30:00Z"),
        ("parseTime('2026-10-25 02:30', '%Y-%m-%d %H:%M', 'Europe/Berlin')", "2026-10-25T00:30:00Z"),
        ("parseTime('2026-10-25T02:30+01:00', '%Y-%m-%dT%H:%M%z', 'Asia/Tokyo')", "2026-10-25T01:30:00Z"),
        ("parseTime('2026-10-25T02:30Z', '%Y-%m-%dT%H:%M%z')", "2026-10-25T02:30:00Z"),
        ("timestamp('2026-03-28T12:00:00Z').addDate(1, 'day', 'Europe/Berlin')", "2026-03-29T11:00:00Z"),
        ("timestamp('2024-02-29T12:00:00.25Z').addDate(-1, 'year')", "2023-02-28T12:00:00.250000Z"),
        ("timestamp('2026-11-29T12:00:00Z').startOf('week')", "2026-11-23T00:00:00Z"),
        ("timestamp('2026-10-25T01:45:10Z').startOf('hour', 'Europe/Berlin')", "2026-10-25T01:00:00Z"),
        ("timestamp('2026-11-29T12:00:00Z').startOf('hour', '+05:30')", "2026-11-29T11:30:00Z"),
        ("timestamp('2026-06-01T00:00:00Z').startOf('day', 'America/New_York')", "2026-05-31T04:00:00Z"),
        (
            "timestamp('2026-12-31T23:30:00Z').formatTime('%G-W%V-%u %j %I %p %B', '+01:00')",
            "2026-W53-5 001 12 AM January",
        ),
        ("timestamp('0987-01-02T03:04:05Z').formatTime('%Y%m%d%H%M%S%%')", "09870102030405%"),
        ("timestamp('2300-07-01T12:00:00Z').getHours('Europe/Berlin')", 14),
    ],
)
def test_a_calendar_follows_its_time_zone(source: str, expected: object) -> None:
    assert value(source) == expected


def test_time_zones_are_those_of_the_package_and_not_of_the_machine() -> None:
    code = "from tests.unit.test_functions import value; print(value('timestamp(ordered_at).getHours(\"Asia/Tokyo\")'))"
    environment = {**os.environ, "TZDIR": "/nowhere", "PYTHONTZPATH": "/nowhere", "TZ": "America/New_York"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "18\n"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-2, 2) | st.text("ab"),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    )
)
def test_equal_values_have_one_fingerprint_and_are_distinct_once(found: Any) -> None:
    twin = json.loads(json.dumps(found, sort_keys=True))
    assert value("hash(a) == hash(b) && uuid(a) == uuid(b) && [a, b].distinct().size() == 1", {"a": found, "b": twin})


@given(st.lists(st.integers(-99, 99) | st.floats(-9, 9)), st.integers(1, 5))
def test_functions_of_lists_agree_with_each_other(numbers: list[float], length: int) -> None:
    data = {"n": numbers, "k": length}
    assert value("n.chunk(k).flatten() == n && n.reverse().reverse() == n", data)
    assert value("n.sort() == n.sortBy(x, x)", data)
    assert value("n.zip(n).map(pair, pair[1]) == n", data)
    assert value("n == [] || n.sort()[0] == n.minBy(x, x)", data)
    assert value("lists.range(n.size()).map(i, n[i]) == n && n.transformList(i, x, n[i]) == n", data)


@pytest.mark.parametrize(
    "source",
    [
        "lists.range(300000)",
        "'x'.padStart(3000000)",
        "lists.range(10000).map(i, lists.range(10000))",
        "lists.range(9000).sortBy(i, lists.range(9000).sum())",
        "[lists.range(9000)].map(l, l.map(i, l)).map(l, l.distinct())",
        "[lists.range(9000)].map(l, l.map(i, l)).map(l, l.flatten())",
        "hash([lists.range(9000)].map(l, l.map(i, l)))",
    ],
)
def test_what_grows_without_bound_is_stopped(source: str) -> None:
    with pytest.raises(ExpressionTooCostly):
        value(source)


def test_the_parser_copies_no_expression_without_bound() -> None:
    with pytest.raises(ExpressionError, match="at most 4 optMap and optFlatMap"):
        compile_expression("a.?b" + ".optMap(x, x)" * 5)
    assert value("optional.of(1)" + ".optMap(x, x + 1)" * 4 + ".value()") == 5
