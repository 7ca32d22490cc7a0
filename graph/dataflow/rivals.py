"""Nodes that may run at the same time and write one key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from anabranch.context.values import Json, parse_path
from anabranch.graph.dataflow.appends import only_appends
from anabranch.graph.dataflow.dataflow import KeyFlow
from anabranch.graph.dataflow.reads import node_writes
from anabranch.graph.kinds.kind import Toolbox
from anabranch.graph.kinds.kinds import fallback_of, loop_of
from anabranch.graph.kinds.rule import APPENDED, values_under, written_values
from anabranch.graph.model import Graph, GraphNode, Node


@dataclass(frozen=True, slots=True)
class Rivals:
    """Two nodes of a level that may run at the same time and write one key; the same node twice where its items do."""

    key: str
    first: str
    second: str


def rivals(flow: KeyFlow, library: Mapping[str, Graph]) -> Iterator[Rivals]:
    """For each key that is written at once, the first two nodes that do so; graphs by name are in `library`.

    Not where both only add to a list: both keep their entries. What tools write meets nowhere.
    """
    if isinstance(flow.level.body, Toolbox):
        return
    writers = dict(flow.writers)
    for key, node in flow.level.body.nodes.items():
        for graph in _named(node, library):
            for name in sorted(_graph_writes(graph, library)):
                writers[name] = writers.get(name, 0) | flow.bit[key]
    for name, bits in writers.items():
        adding = frozenset(key for key in flow.named(bits) if only_appends(flow.level.body.nodes[key], name, library))
        if (pair := _pair(flow, bits, name, adding)) is not None:
            yield Rivals(name, *pair)


def _graph_writes(graph: Graph, library: Mapping[str, Graph]) -> set[str]:
    """The keys that a graph is known to write, with those of the graphs that it leads to."""
    reached = {graph.name: graph}
    waiting = [graph]
    for each in waiting:  # grows while it is walked
        for node in each.nodes.values() if each.result is None else ():
            for named in _named(node, library):
                if named.name not in reached:
                    reached[named.name] = named
                    waiting.append(named)
    return {name for each in waiting for name in _own_writes(each)}


def _own_writes(graph: Graph) -> Iterator[str]:
    if graph.result is not None:
        yield from (parse_path(text)[0] for text in graph.result)
        return
    for key, node in graph.nodes.items():
        yield from node_writes(key, node) or ()


def _named(node: Node, library: Mapping[str, Graph]) -> list[Graph]:
    """The graphs whose writes are those of the node."""
    if not isinstance(node, GraphNode) or node.output is not None:
        return []
    return [library[name] for name in node.named if name in library]


def may_rival(flow: KeyFlow, key: str) -> bool:
    """Whether two nodes of a level, those that may write anything included, may write the key at once."""
    return _pair(flow, flow.writers.get(key, 0) | flow.unknown, key, None) is not None


def _pair(flow: KeyFlow, writers: int, key: str, adding: frozenset[str] | None) -> tuple[str, str] | None:
    """The first two nodes whose writes meet; None for `adding` where additions to a list meet too."""
    added = adding or frozenset()
    for second in flow.named(writers):
        node = flow.level.body.nodes[second]
        loop = loop_of(node)
        listed = None if loop is None or loop.lists_failed is None else parse_path(loop.lists_failed)[0]
        if loop is not None and loop.at_once and loop.collects is None and key != listed and second not in added:
            return second, second
        earlier = writers & ~flow.ancestors[second] & (flow.bit[second] - 1)
        for first in flow.named(earlier):
            if flow.exclusion.excludes(first, second) or (first in added and second in added):
                continue
            if _meet(flow.level.body.nodes[first], node, key, additions=adding is None):
                return first, second
    return None


def _meet(first: Node, second: Node, key: str, *, additions: bool) -> bool:
    """Whether what two nodes write under a key may meet: `{x: 1}` and `{y: 2}` merge."""
    values = [_values(node, key) for node in (first, second)]
    if values[0] is None or values[1] is None:
        return True
    return any(_overlap(one, other, additions=additions) for one in values[0] for other in values[1])


def _values(node: Node, key: str) -> list[Json] | None:
    """The values that a node may write under a key, those of its fallback among them; None where they are not known."""
    values, instead = written_values(node, key), fallback_of(node)
    return values if values is None or instead is None else [*values, *values_under(key, instead)]


def _overlap(one: Json, other: Json, *, additions: bool) -> bool:
    """Whether two values meet. `additions` says whether what is added to a list meets what is added to it."""
    if isinstance(one, dict) and isinstance(other, dict) and one and other:
        return any(_overlap(one[key], other[key], additions=additions) for key in one.keys() & other.keys())
    return additions or one is not APPENDED or other is not APPENDED
