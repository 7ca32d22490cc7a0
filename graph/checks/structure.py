"""The shape of a graph's edges: unknown ends, cycles, nodes that can never run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import chain

from anabranch.errors import Problem
from anabranch.graph.dataflow.races import needed
from anabranch.graph.dataflow.walk import Level, edge_path, known_edges, ordered
from anabranch.graph.model import FailNode, Node, StopNode
from anabranch.graph.parts import Edge
from anabranch.graph.source.problems import did_you_mean
from anabranch.graph.source.yaml_source import Source

MAX_CYCLES = 10
_LONGEST_CYCLE = 12
_NEVER = ("false", "False", "FALSE", "!true")


def check_structure(level: Level, source: Source) -> Iterator[Problem]:
    """Problems of one level's edges."""
    broken = False
    for problem in chain(_ends(level, source), _cycles(level, source)):
        broken = broken or not problem.warning
        yield problem
    yield from _edges_behind_ends(level, source)
    if not broken:
        yield from _never_run(level, source)
        yield from _joined_to_nothing(level, source)
    yield from _joins_of_nothing(level, source)


def _ends(level: Level, source: Source) -> Iterator[Problem]:
    seen: set[tuple[str, str, str | None, tuple[str, ...]]] = set()
    for index, edge in enumerate(level.body.edges):
        path = edge_path(level, index)
        for field, end in (("from", edge.source), ("to", edge.target)):
            if end not in level.body.nodes:
                suggestion = did_you_mean(end, level.body.nodes) or "edges join nodes of the same level"
                message = f"the edge names the node {end!r}, which does not exist"
                yield Problem("EDGE_UNKNOWN_NODE", message, source.place((*path, field)), suggestion)
        what = (edge.source, edge.target, edge.when, edge.named)
        if what in seen:
            message = f"the edge {edge.source!r} → {edge.target!r} is drawn twice"
            yield Problem("EDGE_DUPLICATE", message, source.place(path), "remove one of them", warning=True)
        seen.add(what)


def _edges_behind_ends(level: Level, source: Source) -> Iterator[Problem]:
    for index, edge in enumerate(level.body.edges):
        node = level.body.nodes.get(edge.source)
        if isinstance(node, StopNode):
            reason, suggestion = "where the graph, or the body, ends", "remove the edge, or the node"
        elif isinstance(node, FailNode) and "failure" not in edge.ends:
            reason, suggestion = "which always fails", "write `outcome: failure`, or remove the edge"
        else:
            continue
        path = edge_path(level, index)
        message = f"the edge {edge.source!r} → {edge.target!r} is never taken: it leaves a `{node.type}` node, {reason}"
        yield Problem("EDGE_NEVER_TAKEN", message, source.place(path), suggestion)


def _joins_of_nothing(level: Level, source: Source) -> Iterator[Problem]:
    arriving = Counter(edge.target for edge in level.body.edges)
    for path, key, node in level.nodes():
        place, count = source.place((*path, "join")), arriving[key]
        if node.join != "any" and not count:
            message = f"the node {key!r} has `join: {node.join}`, and no edge leads to it"
            yield Problem("FIELD_HAS_NO_EFFECT", message, place, "draw the edges that it joins, or remove `join`")
        elif needed(node, count) > max(count, 1):
            leads = "one edge leads" if count == 1 else f"{count} edges lead"
            message = f"the node {key!r} has `join: {node.join}`, and {leads} to it"
            yield Problem("JOIN_COUNT", message, place, "write at most so many, or draw the edges that it joins")


def _cycles(level: Level, source: Source) -> Iterator[Problem]:
    """Cycles that share no node, each shown as `a → b → a` at the edge that closes it."""
    edges = known_edges(level)
    closing = {(edge.source, edge.target): index for index, edge in enumerate(level.body.edges)}
    for _ in range(MAX_CYCLES):
        sorter: TopologicalSorter[str] = TopologicalSorter()
        for edge in edges:
            sorter.add(edge.target, edge.source)
        try:
            sorter.prepare()
        except CycleError as error:
            cycle = _from_first(error.args[1], level)
            place = source.place(edge_path(level, closing[cycle[-2], cycle[-1]]))
            suggestion = "a graph has no way back; repeat work with a `while` node"
            yield Problem("CYCLE", f"the edges run in a circle: {_shown(cycle)}", place, suggestion)
            edges = [edge for edge in edges if edge.source not in cycle and edge.target not in cycle]
        else:
            return


def _from_first(cycle: list[str], level: Level) -> list[str]:
    """The same cycle, beginning and ending with the node that is defined first."""
    order = {key: index for index, key in enumerate(level.body.nodes)}
    ring = cycle[:-1]
    start = ring.index(min(ring, key=lambda key: order[key]))
    return [*ring[start:], *ring[:start], ring[start]]


def _shown(cycle: list[str]) -> str:
    if len(cycle) > _LONGEST_CYCLE:
        cycle = [
            *cycle[: _LONGEST_CYCLE // 2],
            f"… {len(cycle) - _LONGEST_CYCLE} more …",
            *cycle[-_LONGEST_CYCLE // 2 :],
        ]
    return " → ".join(cycle)


def _never_run(level: Level, source: Source) -> Iterator[Problem]:
    """Nodes that no run reaches. Nodes that are dead only because another one is are not reported."""
    arriving: dict[str, list[Edge]] = {key: [] for key in level.body.nodes}
    for edge in known_edges(level):
        arriving[edge.target].append(edge)
    dead: set[str] = set()
    for key in ordered(level):
        node = level.body.nodes[key]
        reason = _own_reason(node, arriving[key])
        if reason is not None or _follows(node, arriving[key], dead):
            dead.add(key)
        if reason is not None:
            place = source.place(level.path_of(key), key=True)
            yield Problem("NODE_UNREACHABLE", f"the node {key!r} never runs: {reason}", place, warning=True)


def _own_reason(node: Node, edges: list[Edge]) -> str | None:
    if _is_never(node.when):
        return "its `when` is always false"
    closed = [edge for edge in edges if _is_never(edge.when)]
    count = needed(node, len(edges))
    if closed and len(edges) - len(closed) < count:
        return f"the edge from {closed[0].source!r} is never taken"
    return _never_together(node, edges) if count == len(edges) > 1 else None


def _never_together(node: Node, edges: list[Edge]) -> str | None:
    ends: dict[str, frozenset[str]] = {}
    for edge in edges:
        ends[edge.source] = edge.ends & ends.get(edge.source, edge.ends)
        if not ends[edge.source]:
            return f"`join: {node.join}` waits for two outcomes of {edge.source!r}, which has one"
    chosen = {edge.source for edge in edges if "success" in edge.named and not edge.otherwise}
    for edge in edges:
        if edge.otherwise and edge.source in chosen:
            return f"`join: {node.join}` waits for `otherwise` and another edge from {edge.source!r}"
    return None


def _follows(node: Node, edges: list[Edge], dead: set[str]) -> bool:
    from_dead = [edge.source in dead or _is_never(edge.when) for edge in edges]
    return bool(edges) and len(edges) - sum(from_dead) < needed(node, len(edges))


def _is_never(condition: str | None) -> bool:
    return condition is not None and condition.strip() in _NEVER


def _joined_to_nothing(level: Level, source: Source) -> Iterator[Problem]:
    joined = {end for edge in level.body.edges for end in (edge.source, edge.target)}
    for key in level.body.nodes if joined else ():
        if key not in joined:
            message = f"no edge leads to or from the node {key!r}: it starts with the run and nothing waits for it"
            place = source.place(level.path_of(key), key=True)
            yield Problem("NODE_ISOLATED", message, place, "draw its edges, or remove it", warning=True)
