"""Expressions and templates written, or fed, by an enemy: refused with a typed error, or finished.

What took too long would not end before its test's time is up.
"""

from typing import Any

import pytest

from anabranch.errors import AnabranchError, EvaluationError, ExpressionError
from anabranch.graph.expressions.cel_hints import of_source
from anabranch.graph.expressions.expressions import ValueMissing, compile_expression
from anabranch.graph.expressions.templates import compile_template
from anabranch.graph.kinds.db import bind_of_a_driver

BIG = "x" * 500_000
DATA: dict[str, Any] = {
    "a": 1,
    "big": BIG,
    "long": list(range(9000)),
    "wide": {f"k{i}": i for i in range(3000)},
    "o": {"x": {}},
    "most": 2**64 - 1,
}


def run(source: str) -> object:
    try:
        return compile_expression(source).evaluate(DATA, {})
    except AnabranchError as error:
        return error


@pytest.mark.parametrize(
    "source",
    [
        "+".join(["a"] * 10_000),
        "+".join(["a"] * 1_000),
        "(" * 500 + "a" + ")" * 500,
        "[" * 500 + "]" * 500,
        "a" + ".b" * 3_000,
        "a ? " * 500 + "1" + " : 2" * 500,
        "[" + "a, " * 2_000 + "a]",
        "{" + ", ".join(f"'k{i}': a" for i in range(300)) + "}",
        "a" * 257,
        "'a" * 4_000,
        "\x00",
        "a\u202eb",
        "\ud800",
        "é == 1",
        "9223372036854775808",
    ],
)
def test_what_is_too_long_too_deep_or_no_cel_does_not_compile(source: str) -> None:
    assert isinstance(run(source), ExpressionError)


@pytest.mark.parametrize(
    "source",
    [
        "long.all(i, long.all(j, i + j >= 0))",
        "long.map(i, long.map(j, i))",
        "wide.map(k, wide.map(j, j + k)).size()",
        "['aaaa']" + ".map(x, x + x + x + x)" * 14 + "[0].size()",
        "[[1]]" + ".map(x, [x, x, x, x])" * 14,
        "[[1]]" + ".map(x, x + x + x + x)" * 14 + "[0].size()",
        "[[1]]" + ".map(x, {'a': x, 'b': x})" * 20,
        "[[1]]" + ".map(x, [x, x].map(y, [x, y]))" * 12,
        "[[1]]" + ".map(x, [x, x, x, x])" * 14 + " == [[1]]" + ".map(x, [x, x, x, x])" * 14,
        "[long.map(i, 1)].map(A, [long.map(j, A)].map(B, long.map(k, B) == long.map(k, B)))",
        "long.map(i, big)",
        "long.map(i, a == 1 ? big : '')",
        "long.map(i, string(big))",
        "long.map(i, big + 'x')",
        "long.map(i, big.upperAscii()).size()",
        "big + big + big + big + big",
        "[big, big, big, big, big]",
        "big.replace('x', 'xxxxxxxxxx')",
        "big.replace('', big)",
        "big.split('')",
        "big.split('').join(big)",
        "big.matches('(((a{100}){100}){100})')",
    ],
)
def test_what_grows_without_bound_is_stopped(source: str) -> None:
    assert isinstance(run(source), EvaluationError)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("!" * 8_000 + "true", True),
        ("-" * 8_000 + "1", 1),
        (" && ".join(["a == 1"] * 800), True),
        ("big.matches('(x+x+)+y')", False),
        ("long.map(i, i).size()", 9000),
        ("wide.map(k, k).size()", 3000),
        ("most", 2**64 - 1),
        ("[[1]]" + ".map(x, [x, x, x, x])" * 14 + "[0].size()", 4),
    ],
)
def test_what_is_large_but_bounded_is_evaluated(source: str, expected: object) -> None:
    assert run(source) == expected


@pytest.mark.parametrize("source", ["o.__class__", "o.x.__class__.__bases__", "o['__class__']"])
def test_python_attributes_are_not_fields(source: str) -> None:
    assert isinstance(run(source), ValueMissing)


@pytest.mark.parametrize(
    "source", ["__import__('os')", "a.__init__()", "eval('1')", "a.format_map(a)", "getattr(a, 'b')"]
)
def test_python_functions_are_not_there(source: str) -> None:
    assert isinstance(run(source), ExpressionError)


def test_an_integer_beyond_int64_is_only_passed_on() -> None:
    assert isinstance(run("most + 1"), EvaluationError)


def test_values_are_never_parsed() -> None:
    template = compile_template({"text": "Hello {{ name }}!", "value": "{{ name }}"})
    hostile = "{{ secret }} ${secret} %s '; drop table x; --"
    rendered = template.render({"name": hostile, "secret": "s3cret"}, {})
    assert rendered == {"text": f"Hello {hostile}!", "value": hostile}


@pytest.mark.parametrize(
    "text", ["{{" * 50_000, "{{ '" * 20_000, "{{ '''\\" * 20_000, "{{ {" * 20_000, "{{ //" * 20_000]
)
def test_holes_that_never_close_are_found_out(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_template(text)


def test_a_template_does_not_grow_without_bound() -> None:
    with pytest.raises(EvaluationError, match="more than 2097152 characters"):
        compile_template([*["{{ big }} again"] * 10]).render(DATA, {})


@pytest.mark.parametrize("said", ["for ", '"\\', "[a ", "f'' "])
def test_a_hint_is_looked_for_at_the_beginning_alone(said: str) -> None:
    of_source(said * 500_000, "Syntax error: extraneous input", {})


@pytest.mark.parametrize(
    "query",
    ["".join(f"$t{number}$ " for number in range(300_000)), "'" * 999_999, "$$" * 500_000 + "$", "--\n" * 300_000],
)
def test_texts_in_sql_that_are_not_closed_are_looked_through_once(query: str) -> None:
    assert bind_of_a_driver(f"{query} a = ?") in (None, "?")
