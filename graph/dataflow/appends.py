"""The lists that rules append to, in whatever body: where parallel branches do so, both keep their entries."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping

from anabranch.context.values import Json, Path, parse_path
from anabranch.graph.dataflow.reads import node_paths
from anabranch.graph.kinds.keys import tops
from anabranch.graph.kinds.kinds import fallback_of, loop_of
from anabranch.graph.kinds.rule import APPENDED, values_under, written_values
from anabranch.graph.model import BlockNode, Body, Graph, GraphNode, Node, RuleNode


def appended_paths(nodes: Iterable[Node], library: Mapping[str, Graph]) -> Iterator[Path]:
    """The paths at which nodes, and those inside of them whose writes are theirs, append. `library` are graphs by name.

    Each graph is looked at once, however many nodes name it.
    """
    seen: set[str] = set()
    left = deque(nodes)
    while left:
        node = left.popleft()
        if node.compensate is not None:
            left.append(node.compensate)
        if isinstance(node, BlockNode) and node.finally_ is not None:
            left.extend(node.finally_.nodes.values())
        if isinstance(node, RuleNode) and node.output is None:
            yield from (parse_path(text) for rule in node.rules or () for text in rule.append or ())
        for body in _unseen(_bodies(node), seen):
            left.extend(_nodes(body, library) or ())


def only_appends(node: Node, key: str, library: Mapping[str, Graph]) -> bool:
    """Whether all that a node writes under a key is added to a list; also where it writes nothing there."""
    seen: set[str] = set()
    left = deque([node])
    while left:
        each = left.popleft()
        bodies = _bodies(each)
        if any(True for _ in values_under(key, fallback_of(each) or {})) or not (bodies or _appends(each, key)):
            return False
        if isinstance(each, BlockNode) and each.finally_ is not None:
            left.extend(each.finally_.nodes.values())
        for body in _unseen(bodies, seen):
            if (nodes := _nodes(body, library)) is None:
                return False
            left.extend(nodes)
    return True


def _appends(node: Node, key: str) -> bool:
    """The same of a node without a body whose writes are its own."""
    values = written_values(node, key)
    return key not in (tops(node_paths("", node)) or (key,)) if values is None else all(map(_is_added, values))


def _is_added(value: Json) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(map(_is_added, value.values()))
    return value is APPENDED


def _bodies(node: Node) -> tuple[Body, ...]:
    """The bodies of a node whose writes are its own."""
    if node.output is not None:
        return ()
    if isinstance(node, GraphNode):
        return tuple(Body(graph=name) for name in node.named)
    loop = loop_of(node)
    return (loop.body,) if loop is not None and loop.collects is None and not loop.keeps_writes else ()


def _unseen(bodies: Iterable[Body], seen: set[str]) -> Iterator[Body]:
    """Bodies but those of graphs that were seen before."""
    for body in bodies:
        if body.graph not in seen:
            seen.update((body.graph,) if body.graph is not None else ())
            yield body


def _nodes(body: Body, library: Mapping[str, Graph]) -> Collection[Node] | None:
    """The nodes of a body whose writes are its own; None where they are not known, or its graph's `result` is."""
    if body.graph is None:
        return body.nodes.values()
    graph = library.get(body.graph)
    return None if graph is None or graph.result is not None else graph.nodes.values()
