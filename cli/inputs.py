"""What people give: files of JSON or YAML, `key=value` pairs, settings from the environment."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from json import JSONDecodeError
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from anabranch.errors import ConfigurationError, GraphError, InputError, Place, SizeLimitExceeded

if TYPE_CHECKING:
    from anabranch.context.values import Json
    from anabranch.settings import Settings

MAX_INPUT_BYTES = 16 * 1024 * 1024
STANDARD_INPUT = "-"


def settings(**options: Any) -> Settings:
    """Settings from the environment; an option that is not None wins. Raises ConfigurationError naming the variable."""
    from pydantic import ValidationError

    from anabranch.settings import Settings

    try:
        found = Settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        variable = ".".join(map(str, first["loc"]))
        raise ConfigurationError(first["msg"], place=variable, suggestion=f"set {variable} anew, or unset it") from None
    return found.model_copy(update={name: value for name, value in options.items() if value is not None})


def context_data(source: str | None, assignments: list[str]) -> dict[str, Json]:
    """The context's data: the JSON object of a file (`-` is standard input), then `key=value` pairs over it.

    Raises InputError.
    """
    from anabranch.context.values import check_value

    data = {} if source is None else json_object(source)
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not key or not equals:
            raise InputError(f"{assignment!r} is not `key=value`", place="--set", suggestion="write --set quantity=2")
        data[key] = _value(value)
    check_value(data)
    return data


def json_object(source: str) -> dict[str, Json]:
    """The JSON object of a file. Raises InputError naming file, line and column."""
    text = _text(source)
    name = "standard input" if source == STANDARD_INPUT else source
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except JSONDecodeError as error:
        raise InputError(f"this is not JSON: {error.msg}", place=Place(name, error.lineno, error.colno)) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"this JSON cannot be read: {error}", place=name) from None
    if not isinstance(value, dict):
        raise InputError(f"a JSON object is expected, not {_kind(value)}", place=name)
    return value


def mapping(path: Path) -> Mapping[str, Json]:
    """The mapping of a YAML or JSON file. Raises GraphError or InputError naming file, line and column."""
    from anabranch.graph.source.yaml_source import read_yaml

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


def _value(text: str) -> Json:
    """The text as JSON where it is JSON, else the text itself."""
    try:
        value: Json = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _kind(value: object) -> str:
    return {list: "a list", str: "a string", type(None): "nothing"}.get(type(value), "a single value")
