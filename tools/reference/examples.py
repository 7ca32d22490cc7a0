"""The examples of the reference: graph files that are run as they are, and what their fields show of the language."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from anabranch.context.values import Json
from anabranch.graph.dataflow.fields import attribute_fields, last_fields, node_fields, start_fields
from anabranch.graph.dataflow.walk import levels, with_compensations
from anabranch.graph.fields import Model
from anabranch.graph.kinds.kinds import kind_named
from anabranch.graph.load import load_graph
from anabranch.graph.model import BaseNode, Finally, Graph
from anabranch.graph.source.yaml_source import read_yaml

FOLDER = Path(__file__).parents[2] / "docs" / "reference" / "examples"
_LANGUAGES = {".yaml": "yaml", ".json": "json"}


@dataclass(frozen=True, slots=True)
class Example:
    """A graph, the files that it or its session needs, and the session: a command and what it prints."""

    name: str
    files: tuple[Path, ...]
    session: Path

    def shown(self) -> Iterator[str]:
        """Its Markdown."""
        for path in self.files:
            if path.suffix in _LANGUAGES:
                yield f'```{_LANGUAGES[path.suffix]} title="{path.name}"'
                yield from (path.read_text(encoding="utf-8").rstrip("\n"), "```", "")
        yield from ("```console", self.session.read_text(encoding="utf-8").rstrip("\n"), "```", "")


@cache
def examples() -> tuple[Example, ...]:
    """All of them, by name."""
    return tuple(
        Example(
            path.stem,
            tuple(sorted(_files(path.stem), key=lambda each: (each.suffix == ".json", len(each.name), each.name))),
            path,
        )
        for path in sorted(FOLDER.glob("*.console"), key=lambda each: each.stem)
    )


def _files(name: str) -> Iterator[Path]:
    return (path for path in FOLDER.iterdir() if re.fullmatch(rf"{re.escape(name)}(\.\w+)*", path.stem))


def of_page(page: str, others: frozenset[str]) -> tuple[Example, ...]:
    """The examples of one page: of its name, or of that name and more words; `others` are all pages."""
    return tuple(each for each in examples() if _page(each.name, others) == page)


def _page(name: str, names: frozenset[str]) -> str:
    return max((page for page in names if name == page or name.startswith(f"{page}-")), key=len)


Field = tuple[type[Model], str]
"""A field of the language: the model that declares it, and its attribute there."""


@cache
def occurring() -> frozenset[Field]:
    """The fields that the examples say, as they are written: a graph that is loaded has no `definitions` any more."""
    written = (read_yaml(path.read_text(encoding="utf-8"), path.name).value for path in FOLDER.glob("*.yaml"))
    return frozenset(field for graph in written for field in _said(Graph, graph))


@cache
def templates() -> frozenset[Field]:
    """The fields whose texts are templates, as far as examples have them."""
    found: set[Field] = set()
    for level in (level for graph in _graphs() for level in levels(graph)):
        if isinstance(level.body, Finally):
            found.update(_declared(level.body, field.path) for field in last_fields(level.body))
        if isinstance(level.body, Graph):
            own = (*start_fields(level.body), *attribute_fields(level.body))
            found.update(_declared(level.body, field.path) for field in own)
        for node in (node for path, _, outer in level.nodes() for _, node in with_compensations(path, outer)):
            found.update(_declared(node, field.path) for field in node_fields(node) if field.is_template)
    return frozenset(found)


@cache
def _graphs() -> tuple[Graph, ...]:
    return tuple(load_graph(path).graph for path in sorted(FOLDER.glob("*.yaml")))


def _said(annotation: Any, value: Json) -> Iterator[Field]:
    """The fields of the language in a part of a graph as it is written, which is of this type."""
    if isinstance(value, dict) and (model := _model(annotation, value)) is not None:
        for name, info in model.model_fields.items():
            if (key := info.alias or name) in value:
                yield _owner(model, name), name
                yield from _said(info.annotation, value[key])
        return
    for each in _alternatives(annotation):
        inner = get_args(each)
        if isinstance(value, dict) and get_origin(each) is dict:
            yield from (field for part in value.values() for field in _said(inner[1], part))
        elif isinstance(value, list) and get_origin(each) is tuple:
            yield from (field for part in value for field in _said(inner[0], part))


def _model(annotation: Any, value: Mapping[str, Json]) -> type[Model] | None:
    for each in _alternatives(annotation):
        if each is BaseNode:
            return kind_named(str(value["type"])).model
        if isinstance(each, type) and issubclass(each, Model):
            return each
    return None


def _alternatives(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Annotated, Union, UnionType):
        for each in get_args(annotation):
            yield from _alternatives(each)
    else:
        yield annotation


def _declared(node: Model, path: tuple[str | int, ...]) -> Field:
    """The last field of a model on the way to a value in a node, or in a `finally`."""
    value: Any = node
    found: Field | None = None
    for step in path:
        if isinstance(value, Model):
            name = next(name for name, info in type(value).model_fields.items() if step in (name, info.alias))
            found, value = (_owner(type(value), name), name), getattr(value, name)
        else:
            value = value[step]
    assert found is not None
    return found


def _owner(model: type[Model], name: str) -> type[Model]:
    return BaseNode if issubclass(model, BaseNode) and name in BaseNode.model_fields else model
