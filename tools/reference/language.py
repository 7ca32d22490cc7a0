"""The parts of the graph language by the page that has their table: fields of nodes, of files, of each node type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from anabranch.graph.fields import Model
from anabranch.graph.kinds.kinds import kind_named
from anabranch.graph.model import NODE_TYPES, BaseNode, Graph

FILE = "file"
EVERY_NODE = "every-node"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the reference, without its ending: its first model, and the parts that it brings up."""

    name: str
    model: type[Model]
    parts: tuple[type[Model], ...]

    @property
    def fields(self) -> Mapping[str, str]:
        """The fields of the first model by their names in YAML, each with its attribute; of a type only its own."""
        return own_fields(self.model)


def own_fields(model: type[Model]) -> Mapping[str, str]:
    """The fields of a model by their names in YAML, each with its attribute; those of every node apart."""
    apart = BaseNode.model_fields.keys() if model is not BaseNode and issubclass(model, BaseNode) else ()
    return {info.alias or name: name for name, info in model.model_fields.items() if name not in apart}


def pages() -> Iterator[Page]:
    """All pages of tables. A part is on the first page that speaks of it."""
    seen: set[type[Model]] = {BaseNode, Graph}
    firsts: list[tuple[str, type[Model]]] = [(EVERY_NODE, BaseNode), (FILE, Graph)]
    firsts += [(name, kind_named(name).model) for name in NODE_TYPES]
    for name, model in firsts:
        yield Page(name, model, tuple(_parts(model, seen)))


def _parts(model: type[Model], seen: set[type[Model]]) -> Iterator[type[Model]]:
    for name in own_fields(model).values():
        for part in _models(model.model_fields[name].annotation):
            if part not in seen:
                seen.add(part)
                yield part
                yield from _parts(part, seen)


def _models(annotation: Any) -> Iterator[type[Model]]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
