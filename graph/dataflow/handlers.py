"""Which nodes and edges know the error that led to them: the handler branches of a level.

A branch begins at an edge for another outcome than success, and ends where it joins a way without an error.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from anabranch.graph.parts import Edge

ERROR: Final = frozenset({"error"})
ERRORS: Final = frozenset({"error", "errors"})


@dataclass(frozen=True, slots=True)
class Handlers:
    """The nodes of one level that handle errors."""

    branches: frozenset[str] = frozenset()
    """To each of them every way leads over an edge that is not for success alone."""
    reached: frozenset[str] = frozenset()
    """To each of them one such edge leads itself."""

    def __contains__(self, node: str) -> bool:
        """Whether a node knows the error that led to it."""
        return node in self.reached or node in self.branches

    def names_of(self, node: str) -> frozenset[str]:
        """The names that a node may use for it."""
        return ERRORS if node in self else frozenset()

    def names_on(self, edge: Edge) -> frozenset[str]:
        """The names that the condition of an edge may use for it."""
        return ERRORS if edge.outcome != "success" or edge.source in self else ERROR


_NONE = Handlers()


def handlers(nodes: Iterable[str], edges: Collection[Edge]) -> Handlers:
    """The handler branches of a level; its edges may run in circles, or lead to nowhere."""
    reached = frozenset(edge.target for edge in edges if edge.outcome != "success")
    if not reached:
        return _NONE
    arriving: dict[str, list[Edge]] = {name: [] for name in nodes}
    leaving: dict[str, list[str]] = {}
    for edge in edges:
        arriving.setdefault(edge.target, []).append(edge)
        leaving.setdefault(edge.source, []).append(edge.target)
    found: set[str] = set()
    queue = list(reached)
    for name in queue:  # grows while it is walked
        if name not in found and all(edge.outcome != "success" or edge.source in found for edge in arriving[name]):
            found.add(name)
            queue.extend(leaving.get(name, ()))
    return Handlers(frozenset(found), reached)
