"""Context values as JSON text, and back: a browser shows the text and never parses a number.

JavaScript's numbers are floats, which have no exact integers beyond 2^53. So values travel as the text of their JSON.
"""

from __future__ import annotations

import json
from typing import Final

from anabranch.context.values import Json
from anabranch.display import plain_json
from anabranch.errors import InputError
from anabranch.graph.source.files import refuse_constant

LONGEST: Final = 50_000
"""Characters of one value that an answer holds."""
_LINE: Final = 120


def text_of(value: Json, longest: int = LONGEST) -> str:
    """The value as JSON of many lines, in which everything is seen. What is longer ends in an ellipsis."""
    return _cut(json.dumps(value, indent=2, ensure_ascii=False), longest)


def line_of(value: Json, longest: int = _LINE) -> str:
    """The value as JSON in one line, cut where it is longer."""
    return _cut(json.dumps(value, ensure_ascii=False), longest)


def value_of(text: object, *, place: str) -> Json:
    """The value of JSON text, with every digit. Raises InputError."""
    if not isinstance(text, str):
        raise InputError("a value is the text of its JSON", place=place)
    try:
        value: Json = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"this is not JSON: {error}", place=place) from None
    return value


def _cut(text: str, longest: int) -> str:
    return plain_json(text if len(text) <= longest else f"{text[: longest - 1]}…")
