"""Which keys each node can rely on: what its ancestors write, the graph's inputs, which nodes write at the same time.

Sets of nodes are integers with a bit for each node, which is fast for graphs of 2,000 nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import or_

from anabranch.context.nested import meets
from anabranch.context.values import Path, format_path
from anabranch.graph.dataflow.exclusion import Exclusion, exclusion
from anabranch.graph.dataflow.fields import attribute_fields, last_fields, start_fields
from anabranch.graph.dataflow.handlers import Handlers, handlers
from anabranch.graph.dataflow.reads import NO_GRAPHS, node_needs, node_paths, result_fields
from anabranch.graph.dataflow.walk import (
    FINALLY,
    Level,
    edge_path,
    is_compensation,
    levels,
    names_beside,
    ordered,
    with_compensations,
)
from anabranch.graph.expressions.expressions import compile_expression
from anabranch.graph.kinds.keys import NO_KEYS, field_reads, tested
from anabranch.graph.kinds.kinds import loop_of
from anabranch.graph.model import Finally, Graph, GraphNode, Node
from anabranch.graph.parts import Edge
from anabranch.graph.source.yaml_source import Pointer


@dataclass(frozen=True, slots=True)
class UnwrittenRead:
    """What must exist when the field at `path` is evaluated, and no node before writes."""

    need: Path
    path: Pointer
    node: str | None
    """None for what the graph says of its runs: the `result`, search attributes, the time of a `finally`, …"""
    flow: KeyFlow

    @property
    def key(self) -> str:
        """The key of the context."""
        return self.need[0]

    @property
    def text(self) -> str:
        """The key, or its part where nodes write parts of it."""
        return format_path(self.need) if self.key in self.flow.parts else self.key


class Library(dict[str, Graph]):
    """Graphs by name, without circles, and what each must be given, which is found out once."""

    def __init__(self, graphs: Mapping[str, Graph]) -> None:
        super().__init__(graphs)
        self._inputs: dict[str, frozenset[str]] = {}

    def inputs(self, name: str) -> frozenset[str]:
        """The keys that a graph must be given; none of one that is not known."""
        if name not in self._inputs:
            self._inputs[name] = frozenset(graph_inputs(self[name], self)) if name in self else NO_KEYS
        return self._inputs[name]


@dataclass(slots=True)
class KeyFlow:
    """One level of a graph: who runs before whom, and who writes what."""

    level: Level
    library: Library
    parent: KeyFlow | None = None
    owner: int = 0
    """The bits of the nodes of the parent level whose writes are there when this body starts."""
    order: list[str] = field(default_factory=list)
    bit: dict[str, int] = field(default_factory=dict)
    ancestors: dict[str, int] = field(default_factory=dict)
    writers: dict[str, int] = field(default_factory=dict)
    """For each key the bits of the nodes that write it, or a part of it."""
    parts: dict[str, dict[Path, int]] = field(default_factory=dict)
    """For each key of which nodes write parts: the paths with the bits of their nodes, the whole key too."""
    unknown: int = 0
    """The bits of nodes that may write anything."""
    handlers: Handlers = field(init=False)
    _exclusion: Exclusion | None = None

    def __post_init__(self) -> None:
        self.order = ordered(self.level)
        self.handlers = handlers(self.level.body.nodes, self.level.body.edges)
        self.bit = {key: 1 << index for index, key in enumerate(self.order)}
        self.ancestors = dict.fromkeys(self.order, 0)
        arriving: dict[str, list[str]] = {key: [] for key in self.order}
        for edge in self.level.body.edges:
            arriving[edge.target].append(edge.source)
        for key in self.order:
            for source in arriving[key]:
                self.ancestors[key] |= self.ancestors[source] | self.bit[source]
            self._note_writes(key)

    def _note_writes(self, key: str) -> None:
        written, bit = node_paths(key, self.level.body.nodes[key], self.library), self.bit[key]
        if written is None:
            self.unknown |= bit
        for path in sorted(written or ()):  # in one order, whatever the order of a set is in this process
            name = path[0]
            if len(path) > 1 or name in self.parts:
                paths = self.parts.setdefault(name, {(name,): self.writers.get(name, 0)})
                paths[path] = paths.get(path, 0) | bit
            self.writers[name] = self.writers.get(name, 0) | bit

    def before(self, node: str | None) -> int:
        """The bits of a node and of those before it; of all nodes for the end."""
        return (1 << len(self.order)) - 1 if node is None else self.ancestors[node] | self.bit[node]

    def needs(self, node: Node, roots: frozenset[str]) -> frozenset[Path]:
        """The paths that must exist for a node to run, and the keys that the graph which it names must be given."""
        own = node_needs(node, roots)
        if isinstance(node, GraphNode):
            inner = NO_KEYS.union(*map(self.library.inputs, node.named if node.input is None else ()))
        elif (loop := loop_of(node)) is not None and loop.body.graph is not None:
            inner = self.library.inputs(loop.body.graph) - loop.names - roots
        else:
            return own
        return own | frozenset((key,) for key in inner - tested(node.when, roots))

    def roots(self, key: str) -> frozenset[str]:
        """Names beside the context's keys that a node may use."""
        return self.level.roots | self.handlers.names_of(key)

    def edge_roots(self, edge: Edge) -> frozenset[str]:
        """Names beside the context's keys that the condition of an edge may use."""
        return self.level.roots | self.handlers.names_on(edge)

    def may_have(self, need: Path, before: int) -> bool:
        """Whether one of the nodes `before`, or one before the body that this is, may have written at the path."""
        if (self.writers_of(need) | self.unknown) & before:
            return True
        return self.parent is not None and self.parent.may_have(need, self.owner)

    def writers_of(self, need: Path) -> int:
        """The bits of the nodes that write at a path, above it or below it."""
        if (paths := self.parts.get(need[0])) is None:
            return self.writers.get(need[0], 0)
        return reduce(or_, (bits for path, bits in paths.items() if meets(path, need)), 0)

    def written_before(self, before: int) -> set[str]:
        """The keys that nodes `before`, or those before the body that this is, are known to write."""
        keys = {name for name, writers in self.writers.items() if writers & before}
        return keys | self.parent.written_before(self.owner) if self.parent else keys

    @property
    def exclusion(self) -> Exclusion:
        """Which of its nodes can never both run."""
        if self._exclusion is None:
            self._exclusion = exclusion(self.level)
        return self._exclusion

    def named(self, bits: int) -> Iterator[str]:
        """The nodes of a set, in the order of `order`."""
        while bits:
            low = bits & -bits
            yield self.order[low.bit_length() - 1]
            bits ^= low


def key_flows(graph: Graph, library: Mapping[str, Graph] = NO_GRAPHS) -> Iterator[KeyFlow]:
    """The levels of a graph without cycles, each after the one around it. `library` are graphs by name."""
    found: dict[Pointer, KeyFlow] = {}
    known = library if isinstance(library, Library) else Library(library)
    for level in levels(graph):
        flow = KeyFlow(level, known, *_owner(level, found))
        found[level.path] = flow
        yield flow


def _owner(level: Level, found: dict[Pointer, KeyFlow]) -> tuple[KeyFlow | None, int]:
    """The level around another one, and the bits of what has run there before."""
    if level.path == FINALLY:
        return found[()], found[()].before(None)
    if not (path := level.owner):
        return None, 0
    if level.is_last:
        return found[path], found[path].before(None)
    undone = path[-1] == "compensate"
    while path[-1] == "compensate":
        path = path[:-1]
    parent, key = found[path[:-2]], str(path[-1])
    return parent, parent.ancestors[key] | (parent.bit[key] if undone else 0)


def unwritten_reads(flow: KeyFlow) -> Iterator[UnwrittenRead]:
    """Keys that nodes, compensations, edges and the result of a level need and that nothing before them writes."""
    for path, key, outer in flow.level.nodes():
        for where, node in with_compensations(path, outer):
            undone = is_compensation(path, where)
            roots = flow.roots(key) | names_beside(path, where)
            before = flow.ancestors[key] | (flow.bit[key] if undone else 0)
            yield from _unwritten(flow.needs(node, roots), before, where, key, flow)
    for index, edge in enumerate(flow.level.body.edges):
        if edge.when is not None:
            before = flow.ancestors[edge.source] | flow.bit[edge.source]
            needs, path = compile_expression(edge.when, flow.edge_roots(edge)).needs, edge_path(flow.level, index)
            yield from _unwritten(needs, before, (*path, "when"), edge.source, flow)
    if isinstance(flow.level.body, Graph):
        for each in start_fields(flow.level.body):
            yield from _unwritten(field_reads(each, NO_KEYS).needs, 0, each.path, None, flow)
        for each in (*attribute_fields(flow.level.body), *result_fields(flow.level.body)):
            yield from _unwritten(field_reads(each, NO_KEYS).needs, flow.before(None), each.path, None, flow)
    if isinstance(flow.level.body, Finally):
        for each in last_fields(flow.level.body):
            needs, where = field_reads(each, flow.level.roots).needs, (*flow.level.path, *each.path)
            yield from _unwritten(needs, 0, where, None, flow)


def _unwritten(
    needs: frozenset[Path], before: int, path: Pointer, node: str | None, flow: KeyFlow
) -> Iterator[UnwrittenRead]:
    """Of each key the first part that nothing writes before."""
    found: dict[str, Path] = {}
    for need in sorted(needs):
        if need[0] not in found and not flow.may_have(need, before):
            found[need[0]] = need
    for need in found.values():
        yield UnwrittenRead(need, path, node, flow)


def graph_inputs(graph: Graph, library: Mapping[str, Graph] = NO_GRAPHS) -> dict[str, Pointer]:
    """The keys that a run must be started with, each with the path of what says so: `inputs`, or what reads it first.

    What the graphs in `library` must be given by a node without `input` is among them.
    """
    if graph.inputs is not None:
        return {name: ("inputs", name) for name, schema in graph.inputs.items() if "default" not in schema}
    found: dict[str, Pointer] = {}
    for flow in key_flows(graph, library):
        for read in unwritten_reads(flow):
            found.setdefault(read.key, read.path)
    return found
