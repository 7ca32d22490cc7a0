"""JSON values as a test reads them: each function says which kind of value it expects, and fails at any other."""

from __future__ import annotations

import reprlib
from typing import Any, cast

import msgpack

from anabranch.context.values import Json


def fields(value: object) -> dict[str, Json]:
    """An object."""
    assert isinstance(value, dict), _is_not(value, "an object")
    return value


def items(value: object) -> list[Json]:
    """A list."""
    assert isinstance(value, list), _is_not(value, "a list")
    return value


def number(value: object) -> int | float:
    """A number, which JSON's booleans are not."""
    assert isinstance(value, int | float), _is_not(value, "a number")
    assert not isinstance(value, bool), _is_not(value, "a number")
    return value


def text(value: object) -> str:
    """A text."""
    assert isinstance(value, str), _is_not(value, "a text")
    return value


def at(value: object, *path: str | int) -> Json:
    """The value at the end of a path of keys and indexes. Raises KeyError and IndexError."""
    found: Any = value
    for step in path:
        found = fields(found)[step] if isinstance(step, str) else items(found)[step]
    return cast("Json", found)  # parsed from JSON


def packed(value: object) -> bytes:
    """As MessagePack writes it."""
    written = msgpack.packb(value)
    assert isinstance(written, bytes)
    return written


def unchecked(value: object) -> Any:
    """The same value for a type checker to accept anywhere: tests pass what a careless caller might."""
    return value


def _is_not(value: object, what: str) -> str:
    return f"not {what}: {reprlib.repr(value)}"
