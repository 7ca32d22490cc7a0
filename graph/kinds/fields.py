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
_ITEMS = (list, tuple)
_JSON = (str, int, float, dict, list)


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
        first = self.steps[0]
        attribute = _attributes(type(node)).get(first)
        if attribute is None or (given := getattr(node, attribute)) is None:  # as most fields of most nodes are
            return
        roots = self.roots if self.at == "start" else self.roots | body_names
        found: list[tuple[Pointer, object]] = [((first,), given)]
        for step in self.steps[1:]:
            found = [((*path, key), inner) for path, value in found for key, inner in _inside(value, step)]
        for path, value in found:
            if (json := _json(value)) is not None and (self.is_template or isinstance(json, str)):
                yield Field(path, json, self.is_template, roots, self.at)


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


def _inside(value: object, step: str) -> list[tuple[str | int, object]]:
    """What stands below a value at one step, each part with its name or number."""
    if isinstance(value, _ITEMS):
        return list(enumerate(value)) if step == _ANY else []
    if isinstance(value, dict):
        return list(value.items()) if step == _ANY else [(step, value[step])] if step in value else []
    if isinstance(value, BaseModel) and (attribute := _attributes(type(value)).get(step)) is not None:
        return [(step, getattr(value, attribute))]
    return []


@lru_cache(maxsize=256)
def _attributes(model: type[BaseModel]) -> Mapping[str, str]:
    """The attributes of a model by the names that its fields have in YAML."""
    return {info.alias or name: name for name, info in model.model_fields.items()}


def _json(value: object) -> Json:
    """The value as JSON; None for what a template cannot be, such as a duration."""
    if isinstance(value, _JSON):
        return value
    return list(value) if isinstance(value, tuple) else None
