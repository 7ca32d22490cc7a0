"""The branches that race for a `join: first`."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from anabranch.graph.model import Edge


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
