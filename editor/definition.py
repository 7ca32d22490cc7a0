"""Where something is defined: a node, a graph, a handler, a definition, a file, and what writes a key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from anabranch.editor.document import Document
from anabranch.editor.evaluated import key_path, written
from anabranch.editor.hover import Token, token_at
from anabranch.editor.outline import Span
from anabranch.editor.project import Project
from anabranch.graph.model import BaseNode, Body, GraphNode, GrpcNode, PythonNode, RuleNode
from anabranch.graph.parts import Edge
from anabranch.graph.source.yaml_source import Pointer

_START: Final = Span(0, 0, 0, 0)
_FILES: Final = ((RuleNode, "grl"), (RuleNode, "decision_table"), (GrpcNode, "descriptor"))


@dataclass(frozen=True, slots=True)
class Location:
    """A place, in another file or in the document itself (None)."""

    file: Path | None
    span: Span


def definitions(document: Document, project: Project, line: int, column: int) -> list[Location]:
    """Where what stands at a place is defined; of a key of the context, every node that writes it."""
    token = token_at(document, line, column)
    if token is None:
        return []
    if token.is_key:
        return _writers(document, tuple(token.text.split(".")))
    if (name := written(token.here)) is not None:
        return _writers(document, key_path(name))
    return _named(document, project, token)


def _writers(document: Document, path: tuple[str, ...]) -> list[Location]:
    outline = document.outline
    key = outline.keys.get(path) or outline.keys.get(path[:1])
    if key is None:
        return []
    places: list[Pointer] = [*key.writers]
    if key.is_input:
        places.append(("inputs", key.path[0]))
    return [Location(None, span) for each in places if (span := _key_span(document, each)) is not None]


def _named(document: Document, project: Project, token: Token) -> list[Location]:
    field, here = token.here.shape.field, token.here
    if field is None:
        return []
    if field.is_of(Edge, "source") or field.is_of(Edge, "target"):
        return _own(document, (*here.cursor.path[:-3], "nodes", token.text))
    if field.is_of(GraphNode, "graph") or field.is_of(GraphNode, "one_of") or field.is_of(Body, "graph"):
        file = project.graphs(document.path).get(token.text)
        return [] if file is None else [Location(file, _START)]
    if field.is_of(PythonNode, "handler"):
        handler = project.handler(token.text)
        if handler is None or handler.file is None:
            return []
        return [Location(handler.file, Span(handler.line, 0, handler.line, 0))]
    if any(field.is_of(*each) for each in _FILES):
        return _file(document, token.text)
    if (group := here.shape.definitions()) is not None and not field.is_of(BaseNode, "type"):
        return _own(document, ("definitions", group, token.text))
    return []


def _own(document: Document, path: Pointer) -> list[Location]:
    span = _key_span(document, path)
    return [] if span is None else [Location(None, span)]


def _file(document: Document, name: str) -> list[Location]:
    """A file beside the document, never outside of its folder."""
    if document.path is None:
        return []
    folder = document.path.parent.resolve()
    file = (folder / name).resolve()
    return [Location(file, _START)] if file.is_relative_to(folder) and file.is_file() else []


def _key_span(document: Document, path: Pointer) -> Span | None:
    """Where the key of a value stands."""
    span = document.outline.span(path)
    if span is None:
        return None
    return Span(span.line, span.column, span.line, span.column + len(str(path[-1])))
