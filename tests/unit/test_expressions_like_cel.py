"""Where numbers do not mix, an expression has the value that Google's runtime gives it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.errors import EvaluationError
from anabranch.graph.expressions import cel_runtime
from anabranch.graph.expressions.cel_values import EvaluationFailed
from anabranch.graph.expressions.expressions import compile_expression

_INTS = st.integers(-(2**62), 2**62) | st.integers(-9, 9)
_FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)
_TEXTS = st.text("abé😀 .-Z", max_size=8)


def ours(source: str, *values: Any) -> Any:
    try:
        return compile_expression(source).evaluate(dict(zip("ab", values, strict=False)), {})
    except EvaluationError:
        return "no value"


def runtime(source: str, *values: Any) -> Any:
    try:
        return cel_runtime.call(source, *values)
    except EvaluationFailed:
        return "no value"


@pytest.mark.parametrize("operator", ["==", "!=", "<", "<=", ">", ">="])
@given(a=_TEXTS, b=_TEXTS, numbers=st.tuples(_INTS, _INTS), floats=st.tuples(_FLOATS, _FLOATS))
def test_comparisons(operator: str, a: str, b: str, numbers: tuple[int, int], floats: tuple[float, float]) -> None:
    for pair in ((a, b), numbers, floats):
        assert ours(f"a {operator} b", *pair) == runtime(f"a {operator} b", *pair)


@pytest.mark.parametrize("operator", ["+", "-", "*", "%"])
@given(a=st.integers(-(2**31), 2**31), b=st.integers(-(2**31), 2**31))
def test_arithmetic_of_integers(operator: str, a: int, b: int) -> None:
    assert ours(f"a {operator} b", a, b) == runtime(f"a {operator} b", a, b)


@pytest.mark.parametrize(
    "source",
    [
        "a.size()",
        "a.contains(b)",
        "a.startsWith(b)",
        "a.endsWith(b)",
        "a + b",
        "a == b || a.contains(b)",
        "[a, b].exists(x, x == 'a')",
        "[a, b].all(x, x.size() > 1)",
        "[a, b].exists_one(x, x.startsWith('a'))",
        "[a, b].map(x, x + 'é').exists(x, x == 'aé')",
        "[a, b].filter(x, x != '').size()",
        "a in [b, 'ab']",
        "a in {b: 1}",
        "{a: 1} == {b: 1}",
        "[a, [b]] == [b, [a]]",
        "{'k': a}.k",
        "has({'k': a}.k)",
        "[a, b][1]",
        "string(a)",
        "int(a)",
        "double(a)",
        "bool(a)",
        "type(a) == string",
    ],
)
@given(a=_TEXTS, b=_TEXTS)
def test_functions_of_texts(source: str, a: str, b: str) -> None:
    assert ours(source, a, b) == runtime(source, a, b)


@pytest.mark.parametrize(
    "source",
    [
        "a && b",
        "a || b",
        "!(a && b) || a",
        "a ? b : !b",
        "(1 / (a ? 1 : 0) > 0) || b",
        "b && (1 / (a ? 1 : 0) > 0)",
        "[a, b].all(x, x || 1 / 0 > 1)",
        "[a, b].exists(x, x && [1][3] == 1)",
        "[a, b].exists_one(x, x)",
        "(a ? 1 : 'x') == (b ? 1 : 'x')",
        "a < b",
        "[a, b].map(x, !x) == [b, a]",
    ],
)
@pytest.mark.parametrize(
    ("a", "b"), [(True, True), (True, False), (False, True), (False, False), (True, 1), ("x", False)]
)
def test_conditions_and_their_errors(source: str, a: object, b: object) -> None:
    assert ours(source, a, b) == runtime(source, a, b)


@pytest.mark.parametrize(
    "source", ["int(a)", "string(a)", "math.round(a)", "math.floor(a)", "math.sign(a)", "math.abs(a)"]
)
@given(a=_FLOATS)
def test_functions_of_floats(source: str, a: float) -> None:
    assert ours(source, a) == runtime(source, a)


@pytest.mark.parametrize("part", ["FullYear", "Month", "Date", "DayOfWeek", "DayOfYear", "Hours", "Milliseconds"])
@given(at=st.datetimes(), seconds=st.integers(-(10**9), 10**9))
def test_times(part: str, at: Any, seconds: int) -> None:
    text, span = f"{at.isoformat()}Z", f"{seconds}s"
    for source in (f"timestamp(a).get{part}()", f"(timestamp(a) - duration(b)).get{part}()"):
        assert ours(source, text, span) == runtime(source, text, span)
    assert ours("string(timestamp(a))", text) == runtime("string(timestamp(a))", text)
    assert ours("string(duration(b))", text, span) == runtime("string(duration(b))", text, span)
    assert ours("int(timestamp(a) + duration(b))", text, span) == runtime("int(timestamp(a) + duration(b))", text, span)
