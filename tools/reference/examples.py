"""The examples of the reference: graph files that are run as they are, and what their fields show of the language."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from anabranch.graph.dataflow.fields import node_fields
from anabranch.graph.dataflow.walk import levels, with_compensations
from anabranch.graph.fields import Model
from anabranch.graph.load import load_graph
from anabranch.graph.model import BaseNode, Graph

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
    """The fields that the examples say."""
    return frozenset(field for graph in _graphs() for field in _said(graph))


@cache
def templates() -> frozenset[Field]:
    """The fields whose texts are templates, as far as examples have them."""
    return frozenset(
        _declared(node, field.path)
        for graph in _graphs()
        for level in levels(graph)
        for path, _, outer in level.nodes()
        for _, node in with_compensations(path, outer)
        for field in node_fields(node)
        if field.is_template
    )


@cache
def _graphs() -> tuple[Graph, ...]:
    return tuple(load_graph(path).graph for path in sorted(FOLDER.glob("*.yaml")))


def _said(value: object) -> Iterator[Field]:
    if isinstance(value, Model):
        for name in value.model_fields_set:
            yield _owner(type(value), name), name
            yield from _said(getattr(value, name))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _said(inner)
    elif isinstance(value, tuple):
        for inner in value:
            yield from _said(inner)


def _declared(node: BaseNode, path: tuple[str | int, ...]) -> Field:
    """The last field of a model on the way to a value in a node."""
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
