"""What a field of the language may hold, in plain words, and what it holds where a graph does not say it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import JsonValue
from pydantic.fields import FieldInfo

from anabranch.graph.fields import Cel, Definable, JsonObject, Model
from anabranch.graph.model import BaseNode

Named = Callable[[type[Model]], str]
"""What stands for a part of the language: a link to its table."""
EXPRESSION: Final = get_args(Cel)[1].description
_WORDS = {str: "text", bool: "true or false", timedelta: "duration", Any: "any value", BaseNode: "node"}
_JSON = {JsonValue: "JSON value", JsonObject: "JSON object"}
_NUMBERS = {int: "whole number", float: "number"}
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def shape(field: FieldInfo, named: Named) -> str:
    """What the field may hold."""
    if field.description == EXPRESSION:
        return "expression"
    return _shape(field.annotation, tuple(field.metadata), named)


def is_of_parts(annotation: Any) -> bool:
    """Whether it holds nothing but parts of the language, which have fields of their own."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return is_of_parts(inner[0])
    if origin in (Union, UnionType):
        return all(is_of_parts(each) for each in inner if each is not NoneType)
    if origin in (tuple, dict):
        return is_of_parts(inner[0 if origin is tuple else 1])
    return isinstance(annotation, type) and issubclass(annotation, Model)


def default(field: FieldInfo) -> str:
    """What it holds where it is not said: `required`, code, or nothing."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, Model):
        return "" if value == type(value).model_construct() else f"`{value}`"
    return "" if value is None or value in ("", (), {}) else f"`{_written(value)}`"


def _shape(annotation: Any, metadata: Sequence[Any], named: Named) -> str:
    names = [each for each in metadata if isinstance(each, Definable)]
    form = _form(annotation, [each for each in metadata if each not in names], named)
    return form + "".join(f" or a name of `definitions.{each.group}`" for each in names)


def _form(annotation: Any, metadata: Sequence[Any], named: Named) -> str:
    if annotation in _JSON:
        return _JSON[annotation]
    if any(getattr(each, "description", None) == EXPRESSION for each in metadata):
        return "expression"
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _shape(inner[0], (*metadata, *inner[1:]), named)
    if origin is Literal:
        return ("one of " if len(inner) > 1 else "") + ", ".join(f"`{each}`" for each in inner)
    if origin in (Union, UnionType):
        members = [each for each in inner if each is not NoneType]
        theirs = metadata if len(members) == 1 else ()
        return " or ".join(dict.fromkeys(_shape(each, theirs, named) for each in members))
    if origin is tuple:
        return f"list of {_several(_shape(inner[0], (), named))}"
    if origin is dict:
        return f"name → {_shape(inner[1], (), named)}"
    return _plain(annotation, metadata, named)


def _plain(annotation: Any, metadata: Sequence[Any], named: Named) -> str:
    if annotation in _NUMBERS:
        return _NUMBERS[annotation] + "".join(_bounds(metadata))
    if isinstance(annotation, type) and issubclass(annotation, Model) and annotation is not BaseNode:
        return named(annotation)
    return _WORDS[annotation]


def _bounds(metadata: Sequence[Any]) -> Iterator[str]:
    bounds = [each for item in metadata for each in getattr(item, "metadata", [item])]
    for each in bounds:
        if isinstance(each, Ge):
            yield f" from {each.ge:,}"
        elif isinstance(each, Gt):
            yield f" above {each.gt:,}"
        elif isinstance(each, Le):
            yield f" to {each.le:,}"


def _several(words: str) -> str:
    words = re.sub(r"^one of ", "", words)
    return {"text": "texts", "whole number": "whole numbers", "JSON value": "JSON values"}.get(words, words)


def _written(value: Any) -> str:
    if isinstance(value, timedelta):
        return _duration(value.total_seconds())
    return value if isinstance(value, str) else json.dumps(value)


def _duration(seconds: float) -> str:
    for size, unit in _UNITS:
        if seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"
