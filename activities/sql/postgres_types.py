"""PostgreSQL's types as JSON has them: text to and from the server, which parses what it is given.

asyncpg sends parameters in binary and wants the exact Python type: `"10"`, `10.0` for an integer and ISO text for a
timestamp are errors to it. JSON has one kind of number and no dates, so those types travel as text here.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from anabranch.activities.sql.values import json_document


def _plain_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _integer_text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else _plain_text(value)


def _instant(text: str) -> str:
    """ISO 8601; dates that Python cannot express (infinity, BC) stay as the server wrote them."""
    try:
        return datetime.datetime.fromisoformat(text).isoformat()
    except ValueError:
        return text


_Codec = tuple[Callable[[object], str], Callable[[str], Any]]
_CODECS: dict[str, _Codec] = {
    **dict.fromkeys(("int2", "int4", "int8"), (_integer_text, int)),
    **dict.fromkeys(("float4", "float8"), (_plain_text, float)),
    **dict.fromkeys(("text", "varchar", "bpchar", "date", "time", "timetz"), (_plain_text, str)),
    **dict.fromkeys(("timestamp", "timestamptz"), (_plain_text, _instant)),
    **dict.fromkeys(("json", "jsonb"), (_plain_text, json_document)),
    "numeric": (_plain_text, Decimal),
}


async def install(connection: Any) -> None:
    """Set the types of one asyncpg connection; one small query per type, once per connection."""
    for name, (encoder, decoder) in _CODECS.items():
        await connection.set_type_codec(name, schema="pg_catalog", format="text", encoder=encoder, decoder=decoder)
