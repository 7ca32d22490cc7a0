"""The context's data from the command line: a JSON file, `key=value` pairs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
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
    assign(data, assignments, place="--set")
    check_value(data)
    return data


def assign(data: dict[str, Json], assignments: Iterable[str], *, place: str | None) -> None:
    """Set the values of `key=value` pairs, whose keys are paths. Raises InputError."""
    for key, value in map(partial(assignment, place=place), assignments):
        try:
            (path,) = by_path({key: value})
            check_ways(data, (path,))
        except AnabranchError as error:
            error.place = place
            raise
        data[path[0]] = overlay(data, ((path, value),))[path[0]]


def assignment(text: str, *, place: str | None) -> tuple[str, Json]:
    """The key and the value of a `key=value` pair. Raises InputError."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        example = " ".join(filter(None, (place, "quantity=2")))
        raise InputError(f"{text!r} is not `key=value`", place=place, suggestion=f"write {example}")
    return key, _value(value)


def _value(text: str) -> Json:
    """The text as JSON if it is JSON, else the text itself."""
    try:
        value: Json = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return text
    return value
