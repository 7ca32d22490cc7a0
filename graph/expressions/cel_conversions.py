"""Functions whose meaning is CEL's to the digit: conversions, times, regular expressions, rounding.

The runtime evaluates them, one call on small values at a time (`cel_runtime.call`); what it is given is charged and
bounded before.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from anabranch.graph.expressions import cel_runtime
from anabranch.graph.expressions.cel_values import (
    NUMBERS,
    EvaluationFailed,
    Instant,
    NoOverload,
    Span,
    Uint,
    type_of,
)
from anabranch.graph.expressions.cost import Cost

_CALL = 40
"""Units of a call of the runtime."""
_OFFSET = re.compile(r"[+-]?\d\d:\d\d")
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


def _part_of_time(name: str) -> Callable[..., int]:
    """`getHours` and the like, of a timestamp, in a zone too, or of a duration."""

    def apply(cost: Cost, time: Any, *zone: Any) -> int:
        if type(time) is Span and not zone:
            return int(_call(cost, f"duration(a).{name}()", time.text()))
        if type(time) is not Instant or any(type(each) is not str for each in zone):
            raise NoOverload(name, time, *zone)
        if not zone:
            return int(_call(cost, f"timestamp(a).{name}()", time.text()))
        _check_zone(cost, zone[0])
        return int(_call(cost, f"timestamp(a).{name}(b)", time.text(), *zone))

    return apply


def _check_zone(cost: Cost, zone: str) -> None:
    # The runtime opens any file of the name, and keeps each name that it was asked for.
    cost.spend(len(zone))
    if not (_OFFSET.fullmatch(zone) or (zone in _zones() and zone != "localtime")):
        raise EvaluationFailed("there is no such time zone", "use a name such as Europe/Berlin, or +02:00")


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


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


def _rounded(name: str) -> Callable[[Cost, Any], Any]:
    def apply(cost: Cost, number: Any) -> Any:
        if type(number) is float:
            return _call(cost, f"math.{name}(a)", number)
        if type(number) not in NUMBERS:
            raise NoOverload(f"math.{name}", number)
        return int(number)

    return apply


def sign(cost: Cost, number: Any) -> Any:
    """-1, 0 or 1."""
    if type(number) is float:
        return _call(cost, "math.sign(a)", number)
    if type(number) not in NUMBERS:
        raise NoOverload("math.sign", number)
    return (number > 0) - (number < 0)


def root(cost: Cost, number: Any) -> Any:
    """The square root."""
    if type(number) not in NUMBERS:
        raise NoOverload("math.sqrt", number)
    return _call(cost, "math.sqrt(a)", float(number))


_PARTS = ("Date", "DayOfMonth", "DayOfWeek", "DayOfYear", "FullYear", "Hours", "Milliseconds", "Minutes", "Month")
CONVERSIONS: dict[str, Callable[..., Any]] = {
    "int": to_int,
    "uint": to_uint,
    "double": to_double,
    "bool": to_bool,
    "string": to_text,
    "timestamp": to_instant,
    "duration": to_span,
    "type": lambda _cost, value: type_of(value),
    "dyn": lambda _cost, value: value,
    "matches": matches,
    "math.sign": sign,
    "math.sqrt": root,
    **{f"math.{name}": _rounded(name) for name in ("ceil", "floor", "round", "trunc")},
    **{f"get{part}": _part_of_time(f"get{part}") for part in (*_PARTS, "Seconds")},
}
"""By CEL's names."""
