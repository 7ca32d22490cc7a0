"""Files that are given beside graphs: JSON and YAML, bounded in size, each error with its place."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from json import JSONDecodeError
from pathlib import Path
from typing import NoReturn

from anabranch.context.values import Json
from anabranch.errors import GraphError, InputError, SizeLimitExceeded, SourceLocation
from anabranch.graph.source.yaml_source import read_yaml

MAX_INPUT_BYTES = 16 * 1024 * 1024
STANDARD_INPUT = "-"


def json_object(source: str) -> dict[str, Json]:
    """The JSON object of a file. Raises InputError naming file, line and column."""
    text = _text(source)
    name = "standard input" if source == STANDARD_INPUT else source
    try:
        value = json.loads(text, parse_constant=refuse_constant)
    except JSONDecodeError as error:
        raise InputError(
            f"this is not JSON: {error.msg}", place=SourceLocation(name, error.lineno, error.colno)
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"this JSON cannot be read: {error}", place=name) from None
    if not isinstance(value, dict):
        raise InputError(f"a JSON object is expected, not {_kind(value)}", place=name)
    return value


def mapping(path: Path) -> Mapping[str, Json]:
    """The mapping of a YAML or JSON file. Raises GraphError or InputError naming file, line and column."""
    try:
        value = read_yaml(_text(str(path)), str(path)).value
    except GraphError as error:
        first = error.problems[0]
        raise InputError(first.message, place=first.place or str(path), suggestion=first.suggestion) from None
    if not isinstance(value, dict):
        raise InputError(f"a mapping is expected, not {_kind(value)}", place=str(path))
    return value


def _text(source: str) -> str:
    try:
        if source == STANDARD_INPUT:
            raw = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
        else:
            with Path(source).open("rb") as file:
                raw = file.read(MAX_INPUT_BYTES + 1)
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}", place=source) from None
    if len(raw) > MAX_INPUT_BYTES:
        raise SizeLimitExceeded(f"the file is over {MAX_INPUT_BYTES} bytes", place=source)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"the file is not UTF-8: byte {error.start} is wrong", place=source) from None


def refuse_constant(name: str) -> NoReturn:
    """For `json.loads`: NaN and the infinities are not JSON. Raises ValueError."""
    raise ValueError(f"{name} is not a JSON value")


def _kind(value: object) -> str:
    return {list: "a list", str: "a string", type(None): "nothing"}.get(type(value), "a single value")
