"""Between JSON and SQL values.

Into SQL: objects and lists travel as JSON text, which text, `json` and `jsonb` columns all take. A list travels as an
array where the statement casts it to one (`cast(:ids as text[])`).
Out of SQL: a decimal becomes the JSON number that is equal to it (an integer where it is whole); where there is none,
`decimals` of the node decides. Dates and times become ISO 8601 text, a UUID text, an interval seconds, arrays and JSON
columns what they are, bytes are refused.
MySQL's driver gives a `time` as an interval, a `boolean` as 0 or 1, and JSON as text.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from anabranch.context.values import MAX_INT, MIN_INT, Json
from anabranch.errors import NodeError

Decimals = Literal["text", "round"]
"""What becomes of decimals: all of them text, or each the nearest number. None: of those that no number is equal to,
an error."""

_ARRAY = re.compile(r"cast\s*\(\s*:(\w+)\s+as\s+[a-z][\w .]*(?:\([\d, ]*\)\s*)?\[", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class JsonNumber:
    """A number inside of a JSON column, as it is written there."""

    value: Decimal


def array_binds(query: str) -> frozenset[str]:
    """The binds that a statement casts to an array, as PostgreSQL has them."""
    return frozenset(_ARRAY.findall(query))


def bind_value(value: Json, *, is_array: bool = False) -> str | int | float | bool | list[Json] | None:
    """A JSON value as one that every driver accepts; a list for an array stays one."""
    if is_array and isinstance(value, list):
        return value
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return value


def json_row(columns: Sequence[str], row: Sequence[Any], decimals: Decimals | None = None) -> dict[str, Json]:
    """One row as an object; NodeError names the column whose value is not JSON."""
    return {column: json_value(value, column, decimals) for column, value in zip(columns, row, strict=True)}


def json_value(value: Any, column: str, decimals: Decimals | None = None) -> Json:
    """A column's value as JSON."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Decimal):
        return format(value, "f") if decimals == "text" else _number(value, column, decimals)
    if isinstance(value, JsonNumber):
        return _number(value.value, column, decimals)
    if convert := _CONVERT.get(type(value)):
        return convert(value)
    if isinstance(value, list | tuple):
        return [json_value(item, column, decimals) for item in value]
    if isinstance(value, dict):
        return {str(key): json_value(item, column, decimals) for key, item in value.items()}
    raise NodeError(
        f"column {column!r} is of type {type(value).__name__}, which is not a JSON value",
        suggestion="convert it in the query, e.g. `cast(… as text)` or `encode(…, 'base64')`",
    )


def json_document(text: str) -> Any:
    """The value of a JSON column, whose numbers still have all their digits."""
    return json.loads(text, parse_float=_json_number, parse_int=_json_integer)


def _json_number(digits: str) -> float | JsonNumber:
    number = float(digits)
    return number if _is_equal(number, Decimal(digits)) else JsonNumber(Decimal(digits))


def _json_integer(digits: str) -> int | JsonNumber:
    exact = Decimal(digits)
    return int(exact) if MIN_INT <= exact <= MAX_INT else JsonNumber(exact)


def _number(value: Decimal, column: str, decimals: Decimals | None) -> Json:
    """The number that is equal to a decimal, or what `decimals` says."""
    if value.is_finite() and MIN_INT <= value <= MAX_INT and value == value.to_integral_value():
        return int(value)
    number = float(value)
    if decimals == "round" or _is_equal(number, value):
        return number
    if decimals == "text":
        return format(value, "f")
    raise NodeError(
        f"column {column!r} has a decimal that no JSON number is equal to ({len(value.as_tuple().digits)} digits)",
        suggestion="say `decimals: text` on the node to keep all digits, or `decimals: round` for the nearest number",
    )


def _is_equal(number: float, value: Decimal) -> bool:
    """Whether a number is written as a decimal is. (1.1 is, although no float lies exactly there.)"""
    return not value.is_finite() or Decimal(repr(number)) == value


_CONVERT: dict[type, Callable[[Any], Json]] = {
    datetime.datetime: datetime.datetime.isoformat,
    datetime.date: datetime.date.isoformat,
    datetime.time: datetime.time.isoformat,
    datetime.timedelta: datetime.timedelta.total_seconds,
    uuid.UUID: str,
    ipaddress.IPv4Address: str,
    ipaddress.IPv6Address: str,
    ipaddress.IPv4Network: str,
    ipaddress.IPv6Network: str,
    ipaddress.IPv4Interface: str,
    ipaddress.IPv6Interface: str,
}
