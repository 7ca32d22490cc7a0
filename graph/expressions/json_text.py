"""JSON values as text, for inside a text: templates and `format` write them alike."""

from __future__ import annotations

import json

from anabranch.context.values import Json

_EXACT = 2**53


def text_of(value: Json) -> str:
    """A value as text, for inside a text; nothing for null."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
