"""What Anabranch declares to CEL's checker, and functions on texts, lists and numbers, charged by what they touch.

Types are CEL's names; Each implementation takes the cost of the evaluation first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from anabranch.graph.expressions.cel_values import (
    ELEMENT,
    NUMBERS,
    EvaluationFailed,
    NoOverload,
    checked,
)
from anabranch.graph.expressions.cost import VALUE_SIZE, Cost


@dataclass(frozen=True, slots=True)
class Function:
    """One overload: `name(parameters) -> result`, called as `first.name(rest)` if `member`."""

    name: str
    result: str
    parameters: tuple[str, ...]
    member: bool = False


TEXT_AND_LISTS = (
    Function("lowerAscii", "string", ("string",), member=True),
    Function("upperAscii", "string", ("string",), member=True),
    Function("trim", "string", ("string",), member=True),
    Function("replace", "string", ("string", "string", "string"), member=True),
    Function("substring", "string", ("string", "int"), member=True),
    Function("substring", "string", ("string", "int", "int"), member=True),
    Function("indexOf", "int", ("string", "string"), member=True),
    Function("split", "list<string>", ("string", "string"), member=True),
    Function("join", "string", ("list<dyn>", "string"), member=True),
    Function("format", "string", ("string", "list<dyn>"), member=True),
    Function("sum", "dyn", ("list<dyn>",), member=True),
)
"""Functions of CEL's string extension, with its meaning, and `sum`."""
_NUMBER_PAIRS = (("double", "double"), ("int", "double"), ("double", "int"))
_SUMS = (
    *(("double", pair) for pair in _NUMBER_PAIRS),
    ("int", ("int", "int")),
    ("string", ("string", "string")),
    ("list<dyn>", ("list<dyn>", "list<dyn>")),
    ("duration", ("duration", "duration")),
    ("timestamp", ("timestamp", "duration")),
    ("timestamp", ("duration", "timestamp")),
)
CHECKED = (
    *TEXT_AND_LISTS,
    # CEL rounds doubles only.
    *(Function(f"math.{name}", "int", ("int",)) for name in ("ceil", "floor", "round", "trunc")),
    *(Function("_+_", result, parameters) for result, parameters in _SUMS),
    *(Function("_/_", "dyn", pair) for pair in (*_NUMBER_PAIRS, ("int", "int"))),
    *(Function(name, "double", pair) for name in ("_-_", "_*_") for pair in _NUMBER_PAIRS[1:]),
    *(Function("_%_", "double", pair) for pair in _NUMBER_PAIRS),
    *(Function(name, "bool", pair) for name in ("_<_", "_<=_", "_>_", "_>=_") for pair in _NUMBER_PAIRS[1:]),
    Function("_==_", "bool", ("dyn", "dyn")),
    Function("_!=_", "bool", ("dyn", "dyn")),
    Function("@in", "bool", ("dyn", "list<dyn>")),
    Function("@in", "bool", ("dyn", "map<dyn, dyn>")),
    Function("_?_:_", "dyn", ("bool", "dyn", "dyn")),
)
"""What the checker accepts beyond CEL: a number is a number, and a list or a choice may mix types."""
CHECKER_EXCLUDES = ("_+_", "_/_", "_==_", "_!=_", "@in", "_?_:_")
"""CEL's own declarations that `CHECKED` replaces."""

_QUADRATIC_TEXT, _QUADRATIC_PART, _SHORT_TEXT = 30_000, 100, 2_500


def _texts(function: str, *values: object) -> None:
    if any(type(value) is not str for value in values):
        raise NoOverload(function, *values)


def _search(cost: Cost, text: str, part: str) -> None:
    """Charge a search, by the worst that Python's takes: it is linear but for short texts."""
    units = 1 + len(text) // 32
    if len(text) < _SHORT_TEXT or (len(text) < _QUADRATIC_TEXT and len(part) < _QUADRATIC_PART):
        units += len(text) * len(part) // 512
    cost.spend(units)


def contains(cost: Cost, text: Any, part: Any) -> bool:
    """Whether a text holds another."""
    _texts("contains", text, part)
    _search(cost, text, part)
    return part in text


def index_of(cost: Cost, text: Any, part: Any) -> int:
    """Where a text holds another; -1 where it does not."""
    _texts("indexOf", text, part)
    _search(cost, text, part)
    return int(text.find(part))


def starts_with(cost: Cost, text: Any, part: Any) -> bool:
    """Whether a text begins with another."""
    _texts("startsWith", text, part)
    cost.spend(len(part) // 1024)
    return bool(text.startswith(part))


def ends_with(cost: Cost, text: Any, part: Any) -> bool:
    """Whether a text ends with another."""
    _texts("endsWith", text, part)
    cost.spend(len(part) // 1024)
    return bool(text.endswith(part))


def replace(cost: Cost, text: Any, old: Any, new: Any) -> str:
    """Replaces a part of a text wherever it is."""
    _texts("replace", text, old, new)
    _search(cost, text, old)
    found = text.count(old)
    cost.build(len(text) + found * max(0, len(new) - len(old)))
    _search(cost, text, old)
    cost.spend(found)
    return str(text.replace(old, new))


def split(cost: Cost, text: Any, separator: Any) -> list[str]:
    """The parts of a text between separators; without one, its characters."""
    _texts("split", text, separator)
    _search(cost, text, separator)
    parts = text.count(separator) + 1
    cost.build(VALUE_SIZE * parts + len(text))
    cost.spend(ELEMENT * parts)
    return text.split(separator) if separator else list(text)


def join(cost: Cost, parts: Any, separator: Any) -> str:
    """Texts as one, with a separator between them."""
    if type(parts) is not list or type(separator) is not str:
        raise NoOverload("join", parts, separator)
    cost.spend(ELEMENT * len(parts))
    if not all(type(part) is str for part in parts):
        raise EvaluationFailed("join takes a list of texts")
    cost.build(sum(map(len, parts)) + len(separator) * len(parts))
    return separator.join(parts)


def _ascii(name: str, change: Callable[[str], str]) -> Callable[[Cost, Any], str]:
    letters = {ord(c): change(c) for c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"}

    def apply(cost: Cost, text: Any) -> str:
        _texts(name, text)
        cost.build(len(text))
        if text.isascii():
            return change(text)
        cost.spend(len(text))
        return str(text.translate(letters))

    return apply


def trim(cost: Cost, text: Any) -> str:
    """A text without the white space around it."""
    _texts("trim", text)
    cost.build(len(text))
    return str(text.strip())


def substring(cost: Cost, text: Any, start: Any, end: Any = None) -> str:
    """A part of a text, by positions."""
    stop = len(text) if end is None and type(text) is str else end
    if type(text) is not str or type(start) is not int or type(stop) is not int:
        raise NoOverload("substring", text, start, *(() if end is None else (end,)))
    if not 0 <= start <= stop <= len(text):
        raise EvaluationFailed(f"substring {start} to {stop} of a text of {len(text)} characters")
    cost.build(stop - start)
    return str(text[start:stop])


def total(cost: Cost, numbers: Any) -> Any:
    """The sum of a list."""
    _list_of_numbers("sum", cost, numbers)
    if not any(type(number) is float for number in numbers):
        return checked(sum(map(int, numbers)))
    try:
        # Not sum(), which differs for floats between Python 3.11 and 3.12.
        return math.fsum(numbers)
    except (OverflowError, ValueError):
        raise EvaluationFailed("the sum is not a number") from None


def _list_of_numbers(function: str, cost: Cost, numbers: Any) -> None:
    if type(numbers) is not list:
        raise NoOverload(function, numbers)
    cost.spend(ELEMENT * len(numbers))
    if not all(type(number) in NUMBERS for number in numbers):
        raise EvaluationFailed(f"{function} takes a list of numbers")


def _best(name: str, choose: Callable[[Any], Any]) -> Callable[..., Any]:
    def apply(cost: Cost, *values: Any) -> Any:
        numbers = values[0] if len(values) == 1 and type(values[0]) is list else list(values)
        _list_of_numbers(name, cost, numbers)
        if not numbers:
            raise EvaluationFailed(f"{name} takes at least one number")
        return choose(numbers)

    return apply


def absolute(_cost: Cost, number: Any) -> Any:
    """A number without its sign."""
    if type(number) not in NUMBERS:
        raise NoOverload("math.abs", number)
    return abs(number) if type(number) is float else checked(abs(number))


def _asked(name: str, ask: Callable[[float], bool]) -> Callable[[Cost, Any], bool]:
    def apply(_cost: Cost, number: Any) -> bool:
        if type(number) not in NUMBERS:
            raise NoOverload(name, number)
        return ask(number)

    return apply


def size(_cost: Cost, value: Any) -> int:
    """The characters of a text, or the elements of a list or object."""
    if type(value) in (str, list, dict, bytes):
        return len(value)
    raise NoOverload("size", value)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "size": size,
    "contains": contains,
    "startsWith": starts_with,
    "endsWith": ends_with,
    "indexOf": index_of,
    "lowerAscii": _ascii("lowerAscii", str.lower),
    "upperAscii": _ascii("upperAscii", str.upper),
    "trim": trim,
    "replace": replace,
    "substring": substring,
    "split": split,
    "join": join,
    "sum": total,
    "math.@max": _best("math.greatest", max),
    "math.@min": _best("math.least", min),
    "math.abs": absolute,
    "math.isNaN": _asked("math.isNaN", math.isnan),
    "math.isInf": _asked("math.isInf", math.isinf),
    "math.isFinite": _asked("math.isFinite", math.isfinite),
}
"""By CEL's names."""
