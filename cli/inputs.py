"""The context's data from the command line: a JSON file, `key=value` pairs."""

from __future__ import annotations

import json
from pathlib import Path

from anabranch.context.changes import overlay
from anabranch.context.nested import by_path, check_ways
from anabranch.context.values import Json, check_value
from anabranch.errors import AnabranchError, InputError
from anabranch.graph.source.files import json_object, mapping, refuse_constant


def context_data(source: str | None, assignments: list[str], context: Path | None = None) -> dict[str, Json]:
    """The context's data: the JSON object of a file (`-` is standard input), then `key=value` pairs over it.

    Keys of pairs are paths (`order.total=5`). `context` is a JSON or YAML file, instead of the JSON one.
    Raises InputError, WriteRefused.
    """
    if source is not None and context is not None:
        raise InputError("the data come from two files", place="--context", suggestion="give --input or --context")
    data = dict(mapping(context)) if context is not None else {} if source is None else json_object(source)
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not key or not equals:
            raise InputError(f"{assignment!r} is not `key=value`", place="--set", suggestion="write --set quantity=2")
        _assign(data, key, _value(value))
    check_value(data)
    return data


def _assign(data: dict[str, Json], text: str, value: Json) -> None:
    """Set the value at a path."""
    try:
        (path,) = by_path({text: value})
        check_ways(data, (path,))
    except AnabranchError as error:
        error.place = "--set"
        raise
    data[path[0]] = overlay(data, ((path, value),))[path[0]]


def _value(text: str) -> Json:
    """The text as JSON if it is JSON, else the text itself."""
    try:
        value: Json = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return text
    return value
