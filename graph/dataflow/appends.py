"""The lists that rules append to, in whatever body: where parallel branches do so, both keep their entries."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from anabranch.context.values import Json, Path, parse_path
from anabranch.graph.dataflow.reads import node_paths
from anabranch.graph.kinds.keys import tops
from anabranch.graph.kinds.kinds import fallback_of, loop_of
from anabranch.graph.kinds.rule import APPENDED, values_under, written_values
from anabranch.graph.model import Body, Graph, GraphNode, Node, RuleNode


def appended_paths(nodes: Iterable[Node], library: Mapping[str, Graph]) -> Iterator[Path]:
    """The paths at which nodes, and those inside of them whose writes are theirs, append. `library` are graphs by name.

    Graphs do not name each other in a circle.
    """
    for node in nodes:
        if node.compensate is not None:
            yield from appended_paths((node.compensate,), library)
        if node.output is not None:
            continue
        if isinstance(node, RuleNode):
            yield from (parse_path(text) for rule in node.rules or () for text in rule.append or ())
        elif isinstance(node, GraphNode):
            yield from _inside(Body(graph=node.graph), library)
        elif (loop := loop_of(node)) is not None and loop.collects is None:
            yield from _inside(loop.body, library)


def only_appends(node: Node, key: str, library: Mapping[str, Graph]) -> bool:
    """Whether all that a node writes under a key is added to a list; also where it writes nothing there."""
    if any(True for _ in values_under(key, fallback_of(node) or {})):
        return False
    if isinstance(node, GraphNode) and node.output is None:
        inside = _nodes(Body(graph=node.graph), library)
    elif (loop := loop_of(node)) is not None and loop.collects is None and node.output is None:
        inside = _nodes(loop.body, library)
    else:
        values = written_values(node, key)
        return key not in (tops(node_paths("", node)) or (key,)) if values is None else all(map(_is_added, values))
    return inside is not None and all(only_appends(each, key, library) for each in inside)


def _is_added(value: Json) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(map(_is_added, value.values()))
    return value is APPENDED


def _inside(body: Body, library: Mapping[str, Graph]) -> Iterator[Path]:
    yield from appended_paths(_nodes(body, library) or (), library)


def _nodes(body: Body, library: Mapping[str, Graph]) -> Collection[Node] | None:
    """The nodes of a body whose writes are its own; None where they are not known, or its graph's `result` is."""
    if body.graph is None:
        return body.nodes.values()
    graph = library.get(body.graph)
    return None if graph is None or graph.result is not None else graph.nodes.values()
