"""What Anabranch adds to CEL: one number type, text functions, and a bound on what an evaluation builds.

Types are CEL's names; `signature` reads `result, parameters`. Pure Python, no CEL import: `expressions.py`
registers these tables with the runtime.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

MAX_BUILT = 2 * 1024 * 1024
"""Characters that one evaluation may build; any other value counts as `VALUE_SIZE`."""
VALUE_SIZE = 8


class _Budget(threading.local):
    spent: int = 0


_budget = _Budget()


def reset_budget() -> None:
    """Start the count of an evaluation on this thread."""
    _budget.spent = 0


def charge(size: int) -> None:
    """Count `size` characters as built; OverflowError beyond `MAX_BUILT`."""
    _budget.spent += size
    if _budget.spent > MAX_BUILT:
        raise OverflowError(f"the expression builds more than {MAX_BUILT // 1024} KiB")


def may_build() -> bool:
    """Whether the evaluation on this thread is within `MAX_BUILT`."""
    return _budget.spent <= MAX_BUILT


@dataclass(frozen=True, slots=True)
class Function:
    """One overload: `name(parameters) -> result`, called as `first.name(rest)` if `member`."""

    name: str
    result: str
    parameters: tuple[str, ...]
    impl: Callable[..., Any] | None = None
    member: bool = False


def _divide(a: float, b: float) -> float:
    if b == 0:
        raise ZeroDivisionError("divide by zero")
    if isinstance(a, int) and isinstance(b, int) and a % b == 0:
        return a // b
    return a / b


def _modulo(a: float, b: float) -> float:
    if b == 0:
        raise ZeroDivisionError("modulus by zero")
    return math.fmod(a, b)


def _plus_int(a: int, b: int) -> int:
    total = a + b
    if not -(2**63) <= total < 2**63:
        raise OverflowError("integer overflow")
    return total


def _concat(a: Any, b: Any) -> Any:
    _count(a)
    _count(b)
    return a + b


def _count(value: object) -> bool:
    """Charge a value with everything in it; always true."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        charge(len(value) if isinstance(value, str) else VALUE_SIZE)
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
    return True


def _replace(text: str, old: str, new: str) -> str:
    charge(len(text) + text.count(old) * max(0, len(new) - len(old)))
    return text.replace(old, new)


def _split(text: str, separator: str) -> list[str]:
    charge(VALUE_SIZE * (text.count(separator) + 1) + len(text))
    return text.split(separator) if separator else list(text)


def _join(parts: list[Any], separator: str) -> str:
    if not all(isinstance(part, str) for part in parts):
        raise TypeError("join takes a list of texts")
    charge(sum(map(len, parts)) + len(separator) * len(parts))
    return separator.join(parts)


def _charged(function: Callable[..., str]) -> Callable[..., str]:
    def call(text: str, *args: Any) -> str:
        charge(len(text))
        return function(text, *args)

    return call


def _ascii(change: Callable[[str], str]) -> Callable[[str], str]:
    letters = {ord(c): change(c) for c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"}
    return lambda text: text.translate(letters)


def _substring(text: str, start: int, end: int | None = None) -> str:
    stop = len(text) if end is None else end
    if not 0 <= start <= stop <= len(text):
        raise IndexError(f"substring {start} to {stop} of a text of {len(text)} characters")
    return text[start:stop]


def _sorted_keys(entries: dict[Any, Any]) -> list[Any]:
    charge(VALUE_SIZE * len(entries))
    return sorted(entries, key=lambda key: (type(key).__name__, key))


def _sum(numbers: list[Any]) -> int | float:
    if any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
        raise TypeError("sum takes a list of numbers")
    # math.fsum, because sum() of floats differs between Python 3.11 and 3.12.
    return math.fsum(numbers) if any(isinstance(n, float) for n in numbers) else sum(map(int, numbers))


def _numbers(name: str, impl: Callable[..., Any], result: str = "double") -> list[Function]:
    mixed = (("double", "double"), ("int", "double"), ("double", "int"))
    return [Function(name, result, pair, impl) for pair in mixed]


_MIXED_ONLY = slice(1, None)
TEXT_AND_LISTS = (
    Function("lowerAscii", "string", ("string",), _charged(_ascii(str.lower)), member=True),
    Function("upperAscii", "string", ("string",), _charged(_ascii(str.upper)), member=True),
    Function("trim", "string", ("string",), _charged(str.strip), member=True),
    Function("replace", "string", ("string", "string", "string"), _replace, member=True),
    Function("substring", "string", ("string", "int"), _charged(_substring), member=True),
    Function("substring", "string", ("string", "int", "int"), _charged(_substring), member=True),
    Function("indexOf", "int", ("string", "string"), str.find, member=True),
    Function("split", "list<string>", ("string", "string"), _split, member=True),
    Function("join", "string", ("list<dyn>", "string"), _join, member=True),
    Function("sum", "dyn", ("list<dyn>",), _sum, member=True),
)
"""Functions of CEL's string extension, with its meaning, and `sum`."""
ROUNDING = tuple(Function(f"math.{name}", "int", ("int",), int) for name in ("ceil", "floor", "round", "trunc"))
"""CEL rounds doubles only."""

EVALUATED = (
    *TEXT_AND_LISTS,
    *ROUNDING,
    *_numbers("_-_", lambda a, b: a - b)[_MIXED_ONLY],
    *_numbers("_*_", lambda a, b: a * b)[_MIXED_ONLY],
    *_numbers("_%_", _modulo),
    *_numbers("@plus", lambda a, b: a + b),
    Function("@plus", "int", ("int", "int"), _plus_int),
    Function("@plus", "string", ("string", "string"), _concat),
    Function("@plus", "list<dyn>", ("list<dyn>", "list<dyn>"), _concat),
    Function("@plus", "duration", ("duration", "duration"), lambda a, b: a + b),
    Function("@plus", "timestamp", ("timestamp", "duration"), lambda a, b: a + b),
    Function("@plus", "timestamp", ("duration", "timestamp"), lambda a, b: a + b),
    *_numbers("@divide", _divide),
    Function("@divide", "dyn", ("int", "int"), _divide),
    Function("@may_build", "bool", (), may_build),
    Function("@count", "bool", ("dyn",), _count),
    Function("@keys", "list<dyn>", ("map<dyn, dyn>",), _sorted_keys),
)
"""What the runtime calls; `graph/expressions/cel_syntax.py` inserts the names with `@`."""

_PAIRS = (("int", "double"), ("double", "int"))
CHECKED = (
    *TEXT_AND_LISTS,
    *ROUNDING,
    *(Function("_+_", plus.result, plus.parameters) for plus in EVALUATED if plus.name == "@plus"),
    *(Function("_/_", "dyn", divide.parameters) for divide in EVALUATED if divide.name == "@divide"),
    *(Function(name, "double", pair) for name in ("_-_", "_*_") for pair in _PAIRS),
    *(Function("_%_", "double", pair) for pair in (("double", "double"), *_PAIRS)),
    *(Function(name, "bool", pair) for name in ("_<_", "_<=_", "_>_", "_>=_") for pair in _PAIRS),
    Function("_==_", "bool", ("dyn", "dyn")),
    Function("_!=_", "bool", ("dyn", "dyn")),
    Function("@in", "bool", ("dyn", "list<dyn>")),
    Function("@in", "bool", ("dyn", "map<dyn, dyn>")),
    Function("_?_:_", "dyn", ("bool", "dyn", "dyn")),
)
"""What the checker accepts beyond CEL: a number is a number, and a list or a choice may mix types."""
CHECKER_EXCLUDES = ("_+_", "_/_", "_==_", "_!=_", "@in", "_?_:_")
"""CEL's own declarations that `CHECKED` replaces."""


def text_of_instant(value: datetime | timedelta) -> str:
    """A timestamp as RFC 3339 in UTC (`2026-01-31T12:00:00Z`); a duration in seconds (`90s`), as CEL's `string()`."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    seconds = value / timedelta(seconds=1)
    return f"{int(seconds) if seconds.is_integer() else seconds}s"
