"""Values without quotes that are not what they look like: `01234` is the number 1234, `1.10` is 1.1, `yes` a text.

Only free values count: in a field that is a number by its type (`backoff: 1.50`) the text is not meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from pydantic import BaseModel

from anabranch.context.values import Json
from anabranch.errors import Problem
from anabranch.graph.model import Graph
from anabranch.graph.source.yaml_source import Pointer, Source

_GROUPED = re.compile(r"[-+]?[0-9]+(?:_[0-9]+)+(?:\.[0-9]+)?", re.ASCII)
_NUMERIC = re.compile(r".*(?:[eE][-+]|\.[0-9]*[eE]).*")
"""`1e-7` and `1.5e3` are plainly numbers; `1e5` may be a code."""
_SWITCHES = {"yes": "true", "on": "true", "no": "false", "off": "false"}
"""Booleans of YAML 1.1, and of many editors; texts in YAML 1.2, which is read here."""
_LONGEST = 40


def check_scalars(graph: Graph, source: Source) -> Iterator[Problem]:
    """A warning for each free value of a graph that is read as something other than it looks like."""
    for path, value in _scalars(source.value, ()):
        if (problem := _changed(source, path, value)) is not None and not _is_typed(graph, path):
            yield problem


def _scalars(value: Json, path: Pointer) -> Iterator[tuple[Pointer, Json]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _scalars(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _scalars(inner, (*path, index))
    else:
        yield path, value


def _is_typed(graph: Graph, path: Pointer) -> bool:
    """Whether the value is a field of the language itself, whose type says what its text means."""
    holder: object = graph
    for step in path[:-1]:
        holder = _inside(holder, step)
    return isinstance(holder, BaseModel)


def _inside(holder: object, step: str | int) -> object:
    if isinstance(holder, BaseModel):
        named = (name for name, field in type(holder).model_fields.items() if step in (name, field.alias))
        return getattr(holder, next(named, ""), None)
    if isinstance(holder, Mapping):
        return holder.get(step)
    if isinstance(holder, Sequence) and not isinstance(holder, str) and isinstance(step, int):
        return holder[step] if step < len(holder) else None
    return None


def _changed(source: Source, path: Pointer, value: Json) -> Problem | None:
    if isinstance(value, str) and not _may_be_other(value):
        return None
    text = source.plain_text(path)
    if text is None or len(text) > _LONGEST or _NUMERIC.fullmatch(text):
        return None
    if isinstance(value, str) and _GROUPED.fullmatch(text):
        message = f"{text} is a text, not a number"
        suggestion = f'write {text.replace("_", "")}, or "{text}" if it is a text'
    elif isinstance(value, str) and (switch := _SWITCHES.get(text.lower())):
        message = f"{text} is a text, not a boolean"
        suggestion = f'write {switch}, or "{text}" if it is a text'
    elif isinstance(value, int | float) and not isinstance(value, bool) and _shown(value) != _bare(text):
        message = f"{text} is read as the number {_shown(value)}"
        suggestion = f'write "{text}" if it is a text, {_shown(value)} if it is a number'
    else:
        return None
    return Problem("SCALAR_CHANGED", message, source.place(path), suggestion, warning=True)


def _may_be_other(text: str) -> bool:
    """Whether a text looks like a number or a boolean."""
    return text[:1] in "+-0123456789" or text.lower() in _SWITCHES


def _bare(text: str) -> str:
    """`.5` and `5.` are plainly numbers."""
    sign, digits = (text[0], text[1:]) if text[0] == "-" else ("", text)
    return f"{sign}{'0' if digits.startswith('.') else ''}{digits}{'0' if digits.endswith('.') else ''}"


def _shown(value: float) -> str:
    return repr(value)
