"""What the language says of a path: which models, fields and values may stand there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from anabranch.errors import ConfigurationError
from anabranch.graph import node_types
from anabranch.graph.docstrings import field_docstrings
from anabranch.graph.fields import Definable, Model
from anabranch.graph.model import BaseNode, Graph
from anabranch.graph.source.problems import step_into
from anabranch.graph.source.yaml_source import Pointer


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a model, by the name that it has in YAML."""

    owner: type[Model]
    attribute: str

    @property
    def info(self) -> FieldInfo:
        """What the model declares."""
        return self.owner.model_fields[self.attribute]

    @property
    def name(self) -> str:
        """Its name in YAML."""
        return self.info.alias or self.attribute

    @property
    def text(self) -> str:
        """What it means."""
        return field_docstrings(self.owner).get(self.attribute, "")

    def is_of(self, owner: type[Model], attribute: str) -> bool:
        """Whether it is this field, of this model or of one that has it from there."""
        return self.attribute == attribute and issubclass(self.owner, owner)


@dataclass(frozen=True, slots=True)
class Shape:
    """What may stand at a path."""

    annotations: tuple[Any, ...]
    """The types of values, one for each alternative."""
    field: Field | None
    """The field in which the path ends, or in whose value it leads on."""
    depth: int
    """How many steps below that field."""
    nodes: tuple[Pointer, ...]
    """The nodes on the path, the outermost first; the last may be the path itself."""

    def models(self) -> Iterator[type[Model]]:
        """Those of the alternatives that have fields."""
        yield from (each for each in self.annotations if isinstance(each, type) and issubclass(each, Model))

    def fields(self) -> Iterator[Field]:
        """The fields of a mapping there."""
        for model in self.models():
            yield from (Field(model, attribute) for attribute in model.model_fields)

    def values(self) -> list[str]:
        """The values from which one is chosen there, as they are written."""
        found: dict[str, None] = {}
        for each in self.annotations:
            if get_origin(each) is Literal:
                found |= dict.fromkeys(map(str, get_args(each)))
            elif each is bool:
                found |= {"true": None, "false": None}
        return list(found)

    def definitions(self) -> str | None:
        """The group of the graph's `definitions` of which a name may stand there."""
        if self.field is None:
            return None
        return next((each.group for each in _markers(self.field.info)), None)


def shape_at(path: Pointer, types: Mapping[Pointer, str]) -> Shape:
    """What may stand at a path, where the mappings on it have these `type`s."""
    current: list[Any] = [Graph]
    field: Field | None = None
    depth, nodes = 0, list[Pointer]()
    for length in range(len(path) + 1):
        if BaseNode in current:
            nodes.append(path[:length])
            current = [model_of(types.get(path[:length])) if each is BaseNode else each for each in current]
        if length == len(path):
            break
        found, current, depth = _below(current, path[length]), [], depth + 1
        for owner, inner in found:
            current += inner
            if owner is not None and (named := field_named(owner, path[length])) is not None:
                field, depth = named, 0
    return Shape(tuple(current), field, depth, tuple(nodes))


def model_of(name: str | None) -> type[BaseNode]:
    """The model of a node type; that of every node where there is none of the name, or none that is usable."""
    try:
        found = None if name is None else node_types.model_of(name)
    except ConfigurationError:
        found = None
    return found if found is not None and issubclass(found, BaseNode) else BaseNode


def field_named(owner: type[Model], name: str | int) -> Field | None:
    """The field of a model that has this name in YAML."""
    fields = (Field(owner, attribute) for attribute in owner.model_fields)
    return next((each for each in fields if each.name == name), None)


def _below(annotations: list[Any], step: str | int) -> list[tuple[type[Model] | None, list[Any]]]:
    return [step_into(each, step) for each in annotations]


def _markers(info: FieldInfo) -> Iterator[Definable]:
    yield from (each for each in info.metadata if isinstance(each, Definable))
    waiting = [info.annotation]
    while waiting:
        arguments = get_args(waiting.pop())
        yield from (each for each in arguments if isinstance(each, Definable))
        waiting += arguments
