"""JSON values and the paths that lead to them.

A path is a tuple of keys; lists are atomic, so no path goes into one.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from enum import Enum
from typing import Any, Final, TypeAlias, cast

from anabranch.errors import InputError, WireFormatError

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Path: TypeAlias = tuple[str, ...]

MAX_DEPTH: Final = 64
MIN_INT: Final = -(2**63)
MAX_INT: Final = 2**64 - 1
"""The range of MessagePack: signed and unsigned 64-bit integers."""


class Missing(Enum):
    """The type of `MISSING`."""

    MISSING = "missing"

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing.MISSING
"""There is no value at this path. (JSON's null is a value.)"""


def value_at(data: Json, path: Path) -> Json | Missing:
    """The value at a path, or MISSING."""
    value = data
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return MISSING
        value = value[key]
    return value


def format_path(path: Path) -> str:
    r"""A path as text: keys joined by dots, a dot inside a key as `\.` and a backslash as `\\`."""
    return ".".join(key.replace("\\", "\\\\").replace(".", "\\.") for key in path)


def parse_path(text: str) -> Path:
    """The inverse of `format_path`. Raises InputError for a lone backslash at the end."""
    if "." not in text and "\\" not in text:
        return (text,)
    keys: list[str] = []
    key = ""
    letters = iter(text)
    for letter in letters:
        if letter == ".":
            keys.append(key)
            key = ""
        elif letter == "\\":
            escaped = next(letters, None)
            if escaped is None:
                raise InputError(
                    f"the path {text!r} ends in a lone backslash", suggestion="write \\\\ for a backslash in a key"
                )
            key += escaped
        else:
            key += letter
    return (*keys, key)


def same(left: Json | Missing, right: Json | Missing) -> bool:
    """JSON equality: numbers by value (1 equals 1.0), a bool never equals a number, objects without order."""
    if left is right:
        return True
    if isinstance(left, bool) or isinstance(right, bool):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def identity(value: Json) -> Hashable:
    """A hashable key that is equal for two values if `same` is true of them."""
    if isinstance(value, dict):
        return dict, frozenset((key, identity(item)) for key, item in value.items())
    if isinstance(value, list):
        return list, tuple(map(identity, value))
    return (bool, value) if isinstance(value, bool) else value


def check_value(value: object, *, path: Path = ()) -> None:
    """Refuse anything but JSON data: other types, depth over 64, integers beyond 64 bits, NaN, infinities, surrogates.

    Raises WireFormatError naming the path. Never recurses deeper than the limit.
    """
    if not isinstance(value, Mapping | list):
        wrong = _wrong_scalar(value)
        if wrong:
            raise _refused(path, wrong)
        return
    if len(path) >= MAX_DEPTH:
        raise _refused(path, f"is nested deeper than {MAX_DEPTH}")
    for key, item in enumerate(value) if isinstance(value, list) else _members(value, path):
        wrong = _wrong_scalar(item)  # first, because most items are scalars, and isinstance with Mapping is slow
        if wrong and isinstance(item, Mapping | list):
            check_value(item, path=(*path, str(key)))
        elif wrong:
            raise _refused((*path, str(key)), wrong)


def exact(value: object, *, path: Path = ()) -> Json:
    """JSON data in Python's own types: what derives from them becomes one of them, and a tuple a list.

    An enumeration's member becomes its text or number. Raises WireFormatError as `check_value` does.
    """
    if not isinstance(value, Mapping | list | tuple):
        if wrong := _wrong_scalar(value):
            raise _refused(path, wrong)
        return _exact_scalar(value)
    if len(path) >= MAX_DEPTH:
        raise _refused(path, f"is nested deeper than {MAX_DEPTH}")
    if isinstance(value, Mapping):
        members = _members(value, path)
        return {str.__str__(key): exact(item, path=(*path, str.__str__(key))) for key, item in members}
    return [exact(item, path=(*path, str(index))) for index, item in enumerate(value)]


def _exact_scalar(value: object) -> Json:
    # The types' own methods: those of a subclass may say anything.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool) or value is None:
        return value
    return int.__index__(value) if isinstance(value, int) else float.__float__(cast("float", value))


def _members(value: Mapping[Any, object], path: Path) -> Iterable[tuple[str, object]]:
    for key in value:
        if not isinstance(key, str):
            raise _refused(path, f"has the key {key!r}, which is not a string")
        if wrong := _wrong_scalar(key):
            raise _refused(path, f"has a key that {wrong}")
    return value.items()


def _wrong_scalar(value: object) -> str | None:
    if isinstance(value, str):
        return None if value.isascii() or value.isprintable() or _is_text(value) else "holds a lone surrogate"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"is {value}, which JSON cannot express"
    if isinstance(value, int):
        return None if MIN_INT <= value <= MAX_INT else "is an integer beyond 64 bits"
    return None if value is None else f"is of type {type(value).__name__}, which is not JSON data"


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refused(path: Path, what: str) -> WireFormatError:
    return WireFormatError(
        f"the value at {format_path(path) or 'the top'!r} {what}",
        suggestion="a context holds null, booleans, numbers, text, lists and objects",
    )
