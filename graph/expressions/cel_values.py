"""CEL's values as Python's, beside those of JSON: types, instants, unsigned numbers, keys; equality and order, exact.

An integer and a float are compared by what they are worth: `9007199254740993 == 9007199254740992.0` is false.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from anabranch.graph.expressions.cost import VALUE_SIZE, Cost

INT_MIN: Final = -(2**63)
INT_END: Final = 2**64
"""Integers are those of a context: from -2^63 up to 2^64 - 1."""
TYPE_NAMES: Final = frozenset(
    {"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint", "google"}
)
"""Identifiers that CEL keeps for its types; a context key of such a name is reached as `context.NAME`."""
ELEMENT = 4
"""Units for each element that is looked at."""
UNWRAP: Final = "end it with .orValue(…), which says what there is instead"
"""What to do about an optional value where a value is needed."""
_LONG = 1024
_NANOS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1)
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z")
_SPAN = re.compile(r"(-?)(\d+)(?:\.(\d{1,9}))?s")
_FIRST, _LAST = -62_135_596_800 * _NANOS, 253_402_300_800 * _NANOS
_LONGEST = 315_576_000_000 * _NANOS


class EvaluationFailed(Exception):
    """Why an expression has no value. The operators `&&` and `||` and the loops over conditions may do without it."""

    def __init__(self, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion


class VariableMissing(EvaluationFailed):
    """A read found nothing; the message is its variable."""


class NoOverload(EvaluationFailed):
    """A function does not take values of these kinds."""

    def __init__(self, function: str, *values: object) -> None:
        kinds = [word_of(value) for value in values]
        super().__init__(f"`{function}` does not take ({', '.join(kinds)})", _conversion(kinds))


@dataclass(frozen=True, slots=True)
class CelType:
    """The value of `type(x)`."""

    name: str


class Uint(int):
    """An integer that `uint()` or a `u` made; counted like any other."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, order=True)
class Instant:
    """A timestamp: nanoseconds since 1970."""

    nanos: int

    def __post_init__(self) -> None:
        if not _FIRST <= self.nanos < _LAST:
            raise EvaluationFailed("a timestamp is between the years 1 and 9999")

    @classmethod
    def read(cls, text: str) -> Instant:
        """The instant of a text in UTC, as the runtime writes it."""
        base, fraction = _matched(_INSTANT, text)
        seconds = (datetime.fromisoformat(base) - _EPOCH) // timedelta(seconds=1)
        return cls(seconds * _NANOS + _fraction(fraction))

    def text(self) -> str:
        """RFC 3339 in UTC, with all nine digits."""
        return f"{self._seconds()}.{self.nanos % _NANOS:09d}Z"

    def json(self) -> str:
        """RFC 3339 in UTC, to the microsecond: `2026-01-31T12:00:00Z`."""
        micros = self.nanos % _NANOS // 1000
        return f"{self._seconds()}{f'.{micros:06d}' if micros else ''}Z"

    def _seconds(self) -> str:
        return (_EPOCH + timedelta(seconds=self.nanos // _NANOS)).replace(tzinfo=UTC).isoformat()[:19]


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A duration in nanoseconds."""

    nanos: int

    def __post_init__(self) -> None:
        if abs(self.nanos) > _LONGEST:
            raise EvaluationFailed("a duration is at most 10,000 years")

    @classmethod
    def read(cls, text: str) -> Span:
        """The duration of a text in seconds, as the runtime writes it."""
        sign, seconds, fraction = _matched(_SPAN, text)
        nanos = int(seconds) * _NANOS + _fraction(fraction)
        return cls(-nanos if sign else nanos)

    def text(self) -> str:
        """Seconds, with all nine digits."""
        seconds, nanos = divmod(abs(self.nanos), _NANOS)
        return f"{'-' if self.nanos < 0 else ''}{seconds}.{nanos:09d}s"

    def json(self) -> str:
        """Seconds, to the microsecond: `90s`."""
        micros = abs(self.nanos) // 1000
        seconds = micros // 1_000_000 if micros % 1_000_000 == 0 else micros / 1_000_000
        return f"{'-' if self.nanos < 0 and micros else ''}{seconds}s"


@dataclass(frozen=True, slots=True)
class BoolKey:
    """`true` or `false` as the key of an object: Python takes them for 1 and 0."""

    value: bool


@dataclass(frozen=True, slots=True, eq=False)
class Maybe:
    """An optional value (https://github.com/google/cel-spec/wiki/proposal-246): one that is there, or none."""

    value: Any = None
    present: bool = False


NUMBERS = frozenset({int, float, Uint})
_ORDERED = NUMBERS | {str, bool, Instant, Span}
_TYPES = {
    type(None): CelType("null_type"),
    bool: CelType("bool"),
    int: CelType("int"),
    Uint: CelType("uint"),
    float: CelType("double"),
    str: CelType("string"),
    bytes: CelType("bytes"),
    list: CelType("list"),
    dict: CelType("map"),
    Instant: CelType("google.protobuf.Timestamp"),
    Span: CelType("google.protobuf.Duration"),
    CelType: CelType("type"),
    Maybe: CelType("optional_type"),
}
TYPES_BY_NAME = {cel_type.name: cel_type for cel_type in _TYPES.values()}
_WORDS = {
    "null_type": "null",
    "bool": "bool",
    "int": "number",
    "uint": "number",
    "double": "number",
    "string": "text",
    "map": "object",
    "optional_type": "optional value",
    "google.protobuf.Timestamp": "timestamp",
    "google.protobuf.Duration": "duration",
}


def type_of(value: object) -> CelType:
    """The CEL type of a value."""
    return _TYPES[type(value)]


def word_of(value: object) -> str:
    """The kind of a value in the words of messages: `number`, `text`, `null`, …"""
    name = type_of(value).name
    return _WORDS.get(name, name)


def checked(number: int) -> int:
    """The number, if an integer of a context can be so large."""
    if INT_MIN <= number < INT_END:
        return int(number)
    raise EvaluationFailed("integer overflow")


def key_of(value: Any) -> Any:
    """A value as the key of a dict that stands for an object; `1` and `1.0` are one key. EvaluationFailed for none."""
    kind = type(value)
    if kind is str or kind is int:
        return value
    if kind is bool:
        return BoolKey(value)
    if kind is Uint or (kind is float and value.is_integer()):
        return int(value)
    raise EvaluationFailed(f"{word_of(value)} is no key of an object", "keys are texts, whole numbers and booleans")


def sorted_keys(entries: dict[Any, Any], cost: Cost) -> list[Any]:
    """The keys of an object as values: booleans, numbers, then texts, each in their order."""
    cost.spend(ELEMENT * len(entries))
    cost.build(VALUE_SIZE * len(entries))
    if all(type(key) is str for key in entries):
        return sorted(entries)
    keys = [key.value if type(key) is BoolKey else key for key in entries]
    return sorted(keys, key=lambda key: (type(key).__name__, key))


def equal(cost: Cost, a: Any, b: Any) -> bool:
    """Whether two values are the same; values of different kinds are not, numbers are compared exactly."""
    kind = type(a)
    if kind is type(b):
        if kind is str:
            if len(a) > _LONG:
                cost.spend(len(a) // _LONG)
            return bool(a == b)
        if kind is list:
            return len(a) == len(b) and _equal_lists(cost, a, b)
        if kind is dict:
            return len(a) == len(b) and _equal_objects(cost, a, b)
        if kind is Maybe:
            return a.present is b.present and (not a.present or equal(cost, a.value, b.value))
        return bool(a == b)
    if kind is Maybe or type(b) is Maybe:
        raise EvaluationFailed("an optional value is compared with a value", UNWRAP)
    return kind in NUMBERS and type(b) in NUMBERS and bool(a == b)


def _equal_lists(cost: Cost, a: list[Any], b: list[Any]) -> bool:
    cost.spend(ELEMENT * len(a))
    return all(equal(cost, one, other) for one, other in zip(a, b, strict=True))


def _equal_objects(cost: Cost, a: dict[Any, Any], b: dict[Any, Any]) -> bool:
    cost.spend(ELEMENT * len(a))
    return all(key in b and equal(cost, value, b[key]) for key, value in a.items())


def contained(cost: Cost, value: Any, holder: Any) -> bool:
    """Whether a list holds an equal value, or an object the key."""
    if type(holder) is list:
        cost.spend(ELEMENT * len(holder))
        return any(equal(cost, value, each) for each in holder)
    if type(holder) is dict:
        try:
            return key_of(value) in holder
        except EvaluationFailed:
            return False
    raise NoOverload("in", value, holder)


def ordered(operator: str, cost: Cost, a: Any, b: Any) -> None:
    """Refuse values that have no order; charge those that have."""
    kind = type(a)
    if kind in NUMBERS and type(b) in NUMBERS:
        return
    if kind is str and type(b) is str:
        if len(a) > _LONG:
            cost.spend(len(a) // _LONG)
    elif not (kind in _ORDERED and kind is type(b)):
        raise NoOverload(operator, a, b)


def _conversion(kinds: list[str]) -> str | None:
    if "optional value" in kinds:
        return UNWRAP
    if "null" in kinds:
        return "ask `!= null` first"
    if "text" in kinds and "number" in kinds:
        return "convert with string(x), int(x) or double(x)"
    return None


def _matched(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    found = pattern.fullmatch(text)
    if found is None:
        raise EvaluationFailed(f"{text!r} is not a time")
    return found.groups(default="")


def _fraction(digits: str) -> int:
    return int(digits.ljust(9, "0")) if digits else 0
