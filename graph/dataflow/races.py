"""The branches that race for a `join: first`, or for the places of a `join: 2`."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from anabranch.graph.model import Node
from anabranch.graph.parts import Edge


def fires_at(node: Node) -> int | None:
    """With how many taken edges a node starts, whatever becomes of the others; None where it waits for all."""
    if isinstance(node.join, int):
        return node.join
    return 1 if node.join == "first" else None


def needed(node: Node, edges: int) -> int:
    """How many of a node's incoming edges must be taken for it to run."""
    return edges if node.join == "all" else fires_at(node) or 1


def racing(join: str, nodes: Iterable[str], edges: Collection[Edge]) -> tuple[str, ...]:
    """The nodes that lead to a join and, where they succeed, to nothing else; in definition order.

    Failure edges do not count: who handles the failure of a racing node is no second use of its result.
    """
    onward: dict[str, int] = {}
    before: dict[str, list[str]] = {}
    for edge in edges:
        if "success" in edge.ends:
            onward[edge.source] = onward.get(edge.source, 0) + 1
            before.setdefault(edge.target, []).append(edge.source)
    found = [join]
    for target in found:  # grows while it is walked
        for source in before.get(target, ()):
            onward[source] -= 1
            if not onward[source]:
                found.append(source)
    racers = frozenset(found[1:])
    return tuple(name for name in nodes if name in racers)
