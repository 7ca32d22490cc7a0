"""Which fields of a node hold expressions and which hold templates, as a node type declares it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from pydantic import BaseModel

from anabranch.context.values import Json
from anabranch.graph.source.yaml_source import Pointer

Moment: TypeAlias = Literal["start", "turn", "end"]
"""When a field is evaluated: before the node starts, before each turn of its body, or behind each turn."""
_ANY = "*"


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its path under its node, its value, and the names that it may use beside the node's own."""

    path: Pointer
    value: Json
    is_template: bool
    roots: frozenset[str] = frozenset()
    at: Moment = "start"


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """Where a node's model holds an expression, or JSON whose texts are templates."""

    steps: tuple[str, ...]
    is_template: bool
    roots: frozenset[str] = frozenset()
    at: Moment = "start"

    def of(self, node: BaseModel, body_names: frozenset[str] = frozenset()) -> Iterator[Field]:
        """The fields of one node that the path leads to; `body_names` are the names that a loop's turns get."""
        roots = self.roots if self.at == "start" else self.roots | body_names
        for path, value in _found(node, self.steps, ()):
            if self.is_template or isinstance(value, str):
                yield Field(path, value, self.is_template, roots, self.at)


def cel(path: str, *, roots: frozenset[str] = frozenset(), at: Moment = "start") -> FieldSpec:
    """A CEL expression at `path`: names as in YAML, with `*` for every item or key (`rules.*.when`)."""
    return FieldSpec(tuple(path.split(".")), is_template=False, roots=roots, at=at)


def template(path: str) -> FieldSpec:
    """A text, or JSON with texts in it, that may hold `{{ CEL }}`; `path` as in `cel`."""
    return FieldSpec(tuple(path.split(".")), is_template=True)


def texts(value: Json, path: Pointer) -> Iterator[tuple[Pointer, str]]:
    """Every text inside a value, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from texts(inner, (*path, index))


def _found(value: object, steps: tuple[str, ...], path: Pointer) -> Iterator[tuple[Pointer, Json]]:
    if not steps:
        if value is not None and (found := _json(value)) is not None:
            yield path, found
        return
    step, *rest = steps
    for key, inner in _inside(value, step):
        yield from _found(inner, tuple(rest), (*path, key))


def _inside(value: object, step: str) -> Iterator[tuple[str | int, object]]:
    if isinstance(value, BaseModel):
        if (attribute := _attributes(type(value)).get(step)) is not None:
            yield step, getattr(value, attribute)
    elif isinstance(value, Mapping):
        yield from value.items() if step == _ANY else [(step, value[step])] if step in value else ()
    elif isinstance(value, list | tuple) and step == _ANY:
        yield from enumerate(value)


@lru_cache(maxsize=256)
def _attributes(model: type[BaseModel]) -> Mapping[str, str]:
    """The attributes of a model by the names that its fields have in YAML."""
    return {info.alias or name: name for name, info in model.model_fields.items()}


def _json(value: object) -> Json:
    """The value as JSON; None for what a template cannot be, such as a duration."""
    if isinstance(value, str | int | float | dict | list):
        return value
    return list(value) if isinstance(value, tuple) else None
