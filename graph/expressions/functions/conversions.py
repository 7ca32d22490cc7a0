"""Functions whose meaning is CEL's to the digit: conversions and regular expressions.

The runtime evaluates them, one call on small values at a time (`cel_runtime.call`); what it is given is charged and
bounded before.
"""

from __future__ import annotations

import re
from typing import Any, Final

from anabranch.graph.expressions import cel_runtime
from anabranch.graph.expressions.cel_values import (
    NUMBERS,
    Instant,
    NoOverload,
    Span,
    Uint,
    type_of,
)
from anabranch.graph.expressions.cost import Cost
from anabranch.graph.expressions.functions.function import Function

_CALL = 40
"""Units of a call of the runtime."""
_REPETITION = re.compile(r"\{(\d{1,5})(?:,(\d{0,5}))?\}")
_WIDE = re.compile(r"\\[pP]|\[\^")
_WIDE_SIZE, _ANY_SIZE, _LARGEST = 200, 8, 1_000_000
_STEPS_PER_UNIT = 16


def _call(cost: Cost, source: str, *values: Any) -> Any:
    cost.spend(_CALL + sum(len(value) // 8 for value in values if type(value) is str))
    return cel_runtime.call(source, *values)


def to_int(cost: Cost, value: Any) -> int:
    """`int(x)`."""
    kind = type(value)
    if kind is int or kind is Uint:
        return int(value)
    if kind is Instant:
        return int(value.nanos // 1_000_000_000)
    if kind in (str, float):
        return int(_call(cost, "int(a)", value))
    raise NoOverload("int", value)


def to_uint(cost: Cost, value: Any) -> Uint:
    """`uint(x)`."""
    kind = type(value)
    if kind in (int, Uint) and value >= 0:
        return Uint(value)
    if kind in (int, str, float):
        return Uint(_call(cost, "uint(a)", value))
    raise NoOverload("uint", value)


def to_double(cost: Cost, value: Any) -> float:
    """`double(x)`."""
    kind = type(value)
    if kind in NUMBERS:
        return float(value)
    if kind is str:
        return float(_call(cost, "double(a)", value))
    raise NoOverload("double", value)


def to_bool(cost: Cost, value: Any) -> bool:
    """`bool(x)`."""
    if value is True or value is False:
        return value
    if type(value) is str:
        return bool(_call(cost, "bool(a)", value))
    raise NoOverload("bool", value)


def to_text(cost: Cost, value: Any) -> str:
    """`string(x)`."""
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is int or kind is Uint:
        return str(int(value))
    if kind is float:
        return str(_call(cost, "string(a)", value))
    if kind is Instant:
        return str(_call(cost, "string(timestamp(a))", value.text()))
    if kind is Span:
        return str(_call(cost, "string(duration(a))", value.text()))
    raise NoOverload("string", value)


def to_instant(cost: Cost, value: Any) -> Instant:
    """`timestamp(x)`: of a text, or of seconds since 1970."""
    if type(value) is Instant:
        return value
    if type(value) in (str, int):
        return Instant.read(_call(cost, "string(timestamp(a))", value))
    raise NoOverload("timestamp", value)


def to_span(cost: Cost, value: Any) -> Span:
    """`duration(x)`."""
    if type(value) is Span:
        return value
    if type(value) is str:
        return Span.read(_call(cost, "string(duration(a))", value))
    raise NoOverload("duration", value)


def matches(cost: Cost, text: Any, pattern: Any) -> bool:
    """Whether a text matches a regular expression (RE2)."""
    if type(text) is not str or type(pattern) is not str:
        raise NoOverload("matches", text, pattern)
    cost.spend(len(pattern))
    steps = _size_of(pattern)
    # An automaton of that many states is built, and in the worst case all of them are looked at for each character.
    cost.spend(2 * steps + steps * len(text) // _STEPS_PER_UNIT)
    return bool(_call(cost, "a.matches(b)", text, pattern))


def _size_of(pattern: str) -> int:
    """At least as many instructions as RE2 makes of a pattern: repetitions in repetitions multiply."""
    size = len(pattern) + _ANY_SIZE * pattern.count(".") + _WIDE_SIZE * len(_WIDE.findall(pattern))
    for least, most in _REPETITION.findall(pattern):
        size = min(_LARGEST, size * max(1, int(least), int(most or 0)))
    return size


CONVERSIONS: Final = (
    Function(
        "int",
        ("int(value: any) -> whole",),
        "A whole number: of a text, of a float (its whole part), of a timestamp (seconds since 1970).",
        ('int("5") => 5', "int(weight) => 2", "int(timestamp(ordered_at)) => 1795858200"),
        to_int,
        known=1,
    ),
    Function(
        "uint",
        ("uint(value: any) -> whole",),
        "A whole number without a sign.",
        ("uint(5) => 5",),
        to_uint,
        known=1,
    ),
    Function(
        "double",
        ("double(value: any) -> fraction",),
        "A float: of a text, of a whole number.",
        ('double("2.5") => 2.5',),
        to_double,
        known=1,
    ),
    Function(
        "string",
        ("string(value: any) -> text",),
        "A text: of a number, a boolean, a timestamp, a duration.",
        ('string(weight) => "2.5"',),
        to_text,
        known=1,
    ),
    Function(
        "bool",
        ("bool(value: any) -> boolean",),
        "A boolean: of the texts `true`, `false` and their like.",
        ('bool("true") => true',),
        to_bool,
        known=1,
    ),
    Function(
        "timestamp",
        ("timestamp(value: any) -> timestamp",),
        "A timestamp: of a text in RFC 3339, of whole seconds since 1970.",
        ('timestamp(ordered_at) < timestamp("2027-01-01T00:00:00Z") => true', 'timestamp(0) => "1970-01-01T00:00:00Z"'),
        to_instant,
        known=1,
    ),
    Function(
        "duration",
        ("duration(value: any) -> duration",),
        "A duration: of a text such as `90m` or `1h30m`.",
        ('timestamp(ordered_at) + duration("24h") => "2026-11-29T09:30:00Z"', 'duration("90m") => "5400s"'),
        to_span,
        known=1,
    ),
    Function(
        "type",
        ("type(value: any) -> any",),
        "The type of a value, to be compared with `int`, `double`, `string`, `bool`, `list`, `map` or `null_type`.",
        ("type(total) == int => true",),
        lambda _cost, value: type_of(value),
        known=1,
    ),
    Function(
        "dyn",
        ("dyn(value: any) -> any",),
        "The value itself, of which nothing is known before the run.",
        ("dyn(total) => 120",),
        lambda _cost, value: value,
        known=1,
    ),
)
MATCHES: Final = Function(
    "matches",
    ("text.matches(pattern: text) -> boolean", "matches(value: text, pattern: text) -> boolean"),
    "Whether a regular expression (RE2) finds something in a text.",
    ('name.matches("^[A-Z]") => true', 'matches(name, "^[a-z]") => false'),
    matches,
    known=2,
)
