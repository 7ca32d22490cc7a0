"""What is in a graph, as a tree: its fields, its nodes, and those inside of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from anabranch.context.values import Json
from anabranch.editor.document import Document
from anabranch.editor.outline import Span
from anabranch.graph.source.yaml_source import Pointer


@dataclass(frozen=True, slots=True)
class Symbol:
    """A field of the graph or a node, with where it is and where its name is."""

    name: str
    detail: str
    is_node: bool
    span: Span
    name_span: Span
    children: tuple[Symbol, ...] = ()


def symbols(document: Document) -> list[Symbol]:
    """The fields of the graph in their order; those of nodes have them."""
    found: list[Symbol] = []
    for key, value in document.outline.value.items():
        children = tuple(_nodes(document, value if key == "nodes" else _nodes_of(value), _path_of(key)))
        span = document.outline.span((key,)) or _around(children)
        if span is not None:
            found.append(_symbol((key,), span, "", children, is_node=False))
    return found


def _path_of(key: str) -> Pointer:
    return ("nodes",) if key == "nodes" else (key, "nodes")


def _nodes_of(value: Json) -> Json:
    return value.get("nodes") if isinstance(value, dict) else None


def _around(children: tuple[Symbol, ...]) -> Span | None:
    if not children:
        return None
    first, last = children[0].span, children[-1].span
    return Span(first.line, first.column, last.end_line, last.end_column)


def _nodes(document: Document, nodes: Json, path: Pointer) -> Iterator[Symbol]:
    for name, node in nodes.items() if isinstance(nodes, dict) else ():
        if isinstance(node, dict) and (span := document.outline.span((*path, name))) is not None:
            detail = str(node.get("type") or "")
            yield _symbol((*path, name), span, detail, tuple(_inside(document, node, (*path, name))), is_node=True)


def _inside(document: Document, node: dict[str, Json], path: Pointer) -> Iterator[Symbol]:
    yield from _nodes(document, node.get("nodes"), (*path, "nodes"))
    for inner in ("body", "finally"):
        yield from _nodes(document, _nodes_of(node.get(inner)), (*path, inner, "nodes"))
    for name, tool in tools.items() if isinstance(tools := node.get("tools"), dict) else ():
        yield from _tool(document, str(name), tool, (*path, "tools", name))
    undo = node.get("compensate")
    if isinstance(undo, dict) and (span := document.outline.span((*path, "compensate"))) is not None:
        yield _symbol((*path, "compensate"), span, str(undo.get("type") or ""), (), is_node=True)
    for field in ("remind", "escalate"):
        told = notice.get("node") if isinstance(notice := node.get(field), dict) else None
        if told is not None and (span := document.outline.span((*path, field))) is not None:
            detail = str(told.get("type") or "") if isinstance(told, dict) else ""
            yield _symbol((*path, field), span, detail, (), is_node=True)


def _tool(document: Document, name: str, tool: Json, path: Pointer) -> Iterator[Symbol]:
    node = tool.get("node") if isinstance(tool, dict) else None
    if isinstance(node, dict) and (span := document.outline.span(path)) is not None:
        yield _symbol(path, span, str(node.get("type") or ""), (), is_node=True)


def _symbol(path: Pointer, span: Span, detail: str, children: tuple[Symbol, ...], *, is_node: bool) -> Symbol:
    name = str(path[-1])
    return Symbol(
        name, detail, is_node, span, Span(span.line, span.column, span.line, span.column + len(name)), children
    )
