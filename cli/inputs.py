"""The context's data from the command line: a JSON file, `key=value` pairs."""

from __future__ import annotations

import json

from anabranch.context.values import Json, check_value
from anabranch.errors import InputError
from anabranch.graph.source.files import json_object, refuse_constant


def context_data(source: str | None, assignments: list[str]) -> dict[str, Json]:
    """The context's data: the JSON object of a file (`-` is standard input), then `key=value` pairs over it.

    Raises InputError.
    """
    data = {} if source is None else json_object(source)
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not key or not equals:
            raise InputError(f"{assignment!r} is not `key=value`", place="--set", suggestion="write --set quantity=2")
        data[key] = _value(value)
    check_value(data)
    return data


def _value(text: str) -> Json:
    """The text as JSON if it is JSON, else the text itself."""
    try:
        value: Json = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return text
    return value
