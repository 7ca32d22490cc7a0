"""A graph as an indented list for a narrow, live column: branches indented, the node where they rejoin in line again.

The indentation is the graph's dominator tree: below a node is what can only be reached through it. A single
follower and a join stay in the column of the node where the branches parted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter


@dataclass(frozen=True, slots=True)
class Row:
    """One node and the lines drawn before it."""

    rails: str
    node: str


def rows(nodes: Collection[str], edges: Iterable[tuple[str, str]]) -> list[Row]:
    """The nodes of an acyclic graph, each once, every one after its predecessors' first."""
    predecessors: dict[str, list[str]] = {node: [] for node in nodes}
    for source, target in edges:
        predecessors[target].append(source)
    joins = {node for node, sources in predecessors.items() if len(set(sources)) > 1}
    children = _dominated(predecessors)
    drawn: list[Row] = []
    waiting = [("", "", root) for root in reversed(children[None])]
    while waiting:
        before, rails, node = waiting.pop()
        drawn.append(Row(before, node))
        waiting.extend(reversed(_below(children.get(node, []), joins, rails)))
    return drawn


def _below(children: list[str], joins: set[str], rails: str) -> list[tuple[str, str, str]]:
    branches = [child for child in children if child not in joins]
    if len(children) == 1:
        return [(rails, rails, children[0])]
    last = len(branches) - 1
    return [
        *(
            (rails + ("╰─ " if index == last else "├─ "), rails + ("   " if index == last else "│  "), child)
            for index, child in enumerate(branches)
        ),
        *((rails, rails, child) for child in children if child in joins),
    ]


def _dominated(predecessors: Mapping[str, list[str]]) -> dict[str | None, list[str]]:
    """Each node below its immediate dominator, in topological order; None is above the roots."""
    above: dict[str, tuple[str, ...]] = {}
    children: dict[str | None, list[str]] = {None: []}
    for node in TopologicalSorter(predecessors).static_order():
        paths = [(*above[each], each) for each in predecessors[node]]
        above[node] = _shared(paths)
        children.setdefault(above[node][-1] if above[node] else None, []).append(node)
    return children


def _shared(paths: list[tuple[str, ...]]) -> tuple[str, ...]:
    if not paths:
        return ()
    length = 0
    for steps in zip(*paths, strict=False):
        if len(set(steps)) > 1:
            break
        length += 1
    return paths[0][:length]
