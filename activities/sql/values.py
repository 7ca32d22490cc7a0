"""Between JSON and SQL values.

Into SQL: objects and lists travel as JSON text, which text, `json` and `jsonb` columns all take.
Out of SQL: a decimal becomes the nearest JSON number (an integer where it is whole; cast to text to keep every digit),
dates and times ISO 8601 text, a UUID text, an interval seconds, arrays and JSON columns what they are, bytes refused.
MySQL's driver gives a `time` as an interval, a `boolean` as 0 or 1, and JSON as text.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from anabranch.context.values import Json
from anabranch.errors import NodeError

_INT64 = range(-(2**63), 2**63)


def bind_value(value: Json) -> str | int | float | bool | None:
    """A JSON value as one that every driver accepts."""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return value


def json_row(columns: Sequence[str], row: Sequence[Any]) -> dict[str, Json]:
    """One row as an object; NodeError names the column whose value is not JSON."""
    return {column: json_value(value, column) for column, value in zip(columns, row, strict=True)}


def json_value(value: Any, column: str) -> Json:
    """A column's value as JSON."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if convert := _CONVERT.get(type(value)):
        return convert(value)
    if isinstance(value, list | tuple):
        return [json_value(item, column) for item in value]
    if isinstance(value, dict):
        return {str(key): json_value(item, column) for key, item in value.items()}
    raise NodeError(
        f"column {column!r} is of type {type(value).__name__}, which is not a JSON value",
        suggestion="convert it in the query, e.g. `cast(… as text)` or `encode(…, 'base64')`",
    )


def decimal_number(value: Decimal) -> int | float:
    """An integer where the decimal is a whole one of 64 bits, else the nearest float."""
    if value.is_finite() and value == value.to_integral_value() and int(value) in _INT64:
        return int(value)
    return float(value)


_CONVERT: dict[type, Callable[[Any], Json]] = {
    Decimal: decimal_number,
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
