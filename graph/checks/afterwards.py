"""`finally` of a graph: what may not stand in it, and graphs that have one and are not run as a run of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import NamedTuple

from anabranch.errors import Problem
from anabranch.graph.dataflow.walk import FINALLY, Level, levels, with_compensations
from anabranch.graph.kinds.kinds import loop_of
from anabranch.graph.model import Finally, Graph, GraphNode, Node
from anabranch.graph.source.problems import described
from anabranch.graph.source.yaml_source import Pointer, Source, value_at

_NAME = str(FINALLY[0])


class _Inline(NamedTuple):
    """A graph that a node interprets in the run that it is in itself."""

    name: str
    path: Pointer
    """Where the node names it."""


def check_finally(graph: Graph, graphs: Mapping[str, Graph], source: Source) -> Iterator[Problem]:
    """Problems of a graph's `finally`, and of its uses of graphs that have one. `graphs` are those that it names."""
    for level in levels(graph):
        for path, _, outer in level.nodes():
            for where, node in with_compensations(path, outer):
                yield from _interpreted(where, node, graphs, source)
    yield from _bounds((), graph.finally_, source)
    for level in levels(graph):
        for path, _, outer in level.nodes():
            for where, node in with_compensations(path, outer):
                if (loop := loop_of(node)) is not None and loop.last is not None:
                    yield from _bounds(where, loop.last, source)
    for level in levels(graph):
        if _NAME in level.path and _is_in_last(level.path):
            yield from _undoing(level, graphs, source)


def _bounds(owner: Pointer, last: Finally | None, source: Source) -> Iterator[Problem]:
    """Problems of the `finally` of the graph, or of the block at `owner`, as a whole."""
    if last is None:
        return
    if _is_taken(owner, source):
        place = source.place((*owner, "nodes", _NAME), key=True)
        message = f"the node {_NAME!r} has a reserved name: the addresses of the nodes in `finally` begin with it"
        yield Problem("NAME_RESERVED", message, place, "give it another name")
    if isinstance(last.timeout, timedelta) and last.timeout <= timedelta(0):
        place = source.place((*owner, *FINALLY, "timeout"))
        yield Problem("DURATION_NOT_POSITIVE", "`finally` has a `timeout` of zero", place)


def _is_taken(owner: Pointer, source: Source) -> bool:
    """Whether a node beside a `finally` has its name."""
    nodes = value_at(source.value, (*owner, "nodes"))
    return isinstance(nodes, dict) and _NAME in nodes


def _is_in_last(path: Pointer) -> bool:
    """Whether a level is in a `finally`: one part of its path is the field, not the id of a node."""
    return any(part == _NAME and (index == 0 or path[index - 1] != "nodes") for index, part in enumerate(path))


def _interpreted(path: Pointer, node: Node, graphs: Mapping[str, Graph], source: Source) -> Iterator[Problem]:
    if (used := _inline(path, node)) is None or used.name not in graphs or graphs[used.name].finally_ is None:
        return
    message = f"the graph {used.name!r} has a `finally`, which runs at the end of a run of its own alone"
    advice = "run it with `mode: child_workflow`"
    if not isinstance(node, GraphNode):
        advice = "let the body have a `type: graph` node with `mode: child_workflow`"
    yield Problem("FINALLY_INLINE", message, source.place(used.path), advice)


def _undoing(level: Level, graphs: Mapping[str, Graph], source: Source) -> Iterator[Problem]:
    """Fields of the saga on the nodes of a level, and on those of the graphs that they interpret."""
    for path, _, node in level.nodes():
        for name in _of_saga(node):
            message = f"{described(path)} has a `{name}`, and in `finally` nothing is undone"
            yield Problem("FINALLY_UNDO", message, source.place((*path, name), key=True), f"remove `{name}`")
        used = _inline(path, node)
        if used is not None and (inner := _first_undoing(used.name, graphs, {used.name})) is not None:
            message = (
                f"{described(path)} runs {inner!r}, which has a `compensate` or `pivot`: in `finally` nothing is undone"
            )
            advice = "run that graph with `mode: child_workflow`, where it undoes itself"
            yield Problem("FINALLY_UNDO", message, source.place(used.path), advice)


def _first_undoing(name: str, graphs: Mapping[str, Graph], seen: set[str]) -> str | None:
    """The first node that has to do with undoing, of a graph and those that it interprets, as `graph/node`."""
    if (graph := graphs.get(name)) is None:
        return None
    for level in levels(graph):
        for path, key, node in level.nodes():
            if _of_saga(node):
                return f"{name}/{key}"
            used = _inline(path, node)
            if used is not None and used.name not in seen:
                seen.add(used.name)
                if (found := _first_undoing(used.name, graphs, seen)) is not None:
                    return found
    return None


def _of_saga(node: Node) -> list[str]:
    return ["compensate"] * (node.compensate is not None) + ["pivot"] * node.pivot


def _inline(path: Pointer, node: Node) -> _Inline | None:
    if isinstance(node, GraphNode):
        return _Inline(node.graph, (*path, "graph")) if node.mode == "inline" else None
    if (loop := loop_of(node)) is not None and loop.body.graph is not None:
        return _Inline(loop.body.graph, (*path, "body", "graph"))
    return None
