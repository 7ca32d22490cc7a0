"""Keys that are written under a condition only, and that something reads always.

Only nodes that run whatever is decided are looked at, and the ways to them that have no condition: a condition on the
way may well be the one under which the key was written, in other words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from anabranch.context.values import Path, parse_path
from anabranch.graph.dataflow.dataflow import KeyFlow
from anabranch.graph.dataflow.races import fires_at, needed
from anabranch.graph.dataflow.reads import result_fields, success_paths
from anabranch.graph.dataflow.walk import edge_path
from anabranch.graph.expressions.expressions import compile_expression
from anabranch.graph.kinds.keys import NO_KEYS, NO_PATHS, field_reads, lacking
from anabranch.graph.kinds.kinds import fallback_of
from anabranch.graph.kinds.rule import sure_writes
from anabranch.graph.model import Graph, GraphNode, Node, RuleNode
from anabranch.graph.parts import Edge
from anabranch.graph.source.yaml_source import Pointer


@dataclass(frozen=True, slots=True)
class MaybeMissing:
    """What must exist when the field at `path` is evaluated, and `writer` writes on some ways only."""

    need: Path
    path: Pointer
    node: str | None
    """None for the graph's `result`."""
    writer: str


def maybe_missing(flow: KeyFlow) -> Iterator[MaybeMissing]:
    """For each node and edge of a level that is always reached, the keys that it needs and that may not be there."""
    presence = _Presence(flow)
    for path, key, node in flow.level.nodes():
        if (there := presence.at(key)) is not None:
            needed = flow.needs(node, flow.roots(key))
            yield from presence.missing(key, needed, there, flow.ancestors[key], path)
    for index, edge in enumerate(flow.level.body.edges):
        if edge.when is not None and (there := presence.after(edge.source)) is not None:
            needed = compile_expression(edge.when, flow.edge_roots(edge)).needs
            before = flow.ancestors[edge.source] | flow.bit[edge.source]
            path = (*edge_path(flow.level, index), "when")
            yield from presence.missing(edge.source, needed, there, before, path)
    if isinstance(flow.level.body, Graph):
        for each in result_fields(flow.level.body):
            yield from presence.missing_at_end(field_reads(each, NO_KEYS).needs, each.path)


class _Presence:
    def __init__(self, flow: KeyFlow) -> None:
        self._flow = flow
        arriving: dict[str, list[Edge]] = {key: [] for key in flow.order}
        for edge in flow.level.body.edges:
            arriving[edge.target].append(edge)
        self._handled = {edge.source for edge in flow.level.body.edges if edge.outcome != "success"}
        self._sure: dict[str, frozenset[Path]] = {}
        """For each node that always runs, what was written by then."""
        for key in flow.order:
            if (there := self._joined(arriving[key], flow.level.body.nodes[key])) is not None:
                self._sure[key] = there

    def at(self, node: str) -> frozenset[Path] | None:
        """The paths that are there when the node runs; None where it may not run at all."""
        return self._sure.get(node)

    def after(self, node: str) -> frozenset[Path] | None:
        """The paths that are there once the node has succeeded."""
        there = self._sure.get(node)
        return None if there is None else there | _sure_writes(node, self._flow)

    def missing(
        self, reader: str, needed: frozenset[Path], there: frozenset[Path], before: int, path: Pointer
    ) -> Iterator[MaybeMissing]:
        """What is needed and some node before writes, but not on every way."""
        flow = self._flow
        if flow.unknown & before:
            return
        for need in sorted(lacking(needed, there)):
            writers, parent = flow.writers_of(need) & before, flow.parent
            if writers and not (parent is not None and parent.may_have(need, flow.owner)):
                yield MaybeMissing(need, path, reader, next(flow.named(writers)))
            elif parent is not None and flow.level.is_last and (earlier := parent.writers_of(need)):
                # The run may fail before, or be undone.
                yield MaybeMissing(need, path, reader, next(parent.named(earlier)))

    def missing_at_end(self, needed: frozenset[Path], path: Pointer) -> Iterator[MaybeMissing]:
        """What is needed and one node alone writes, and that not on every way.

        Where several nodes write a key, they may well be the cases of one decision.
        """
        flow = self._flow
        there = NO_PATHS.union(*(self.after(key) or NO_PATHS for key in self._sure))
        for need in sorted(lacking(needed, there)):
            writers = [] if flow.unknown else list(flow.named(flow.writers_of(need)))
            if len(writers) == 1:
                yield MaybeMissing(need, path, None, writers[0])

    def _joined(self, edges: list[Edge], node: Node) -> frozenset[Path] | None:
        if node.when is not None:
            return None
        ways = [self.after(edge.source) for edge in edges if _is_sure(edge)]
        always = [way for way in ways if way is not None]
        if not edges:
            return NO_PATHS
        if len(always) < (count := needed(node, len(edges))):
            return None
        if count == len(edges):
            return NO_PATHS.union(*always)
        if fires_at(node) is not None:  # so many ways at least do not lack a key that is missing on fewer
            written = Counter(chain.from_iterable(always))
            return frozenset(path for path, ways in written.items() if ways > len(always) - count)
        return always[0].intersection(*always) | self._certain(edges)

    def _certain(self, edges: list[Edge]) -> frozenset[Path]:
        """What is written on ways that are taken whenever the run goes on: their failure would have ended it."""
        ways = [self.after(edge.source) for edge in edges if _is_sure(edge) and edge.source not in self._handled]
        return NO_PATHS.union(*(way for way in ways if way is not None))


def _is_sure(edge: Edge) -> bool:
    """Whether it is taken whenever its source succeeds."""
    return edge.when is None and not edge.otherwise and edge.outcome == "success"


def _sure_writes(key: str, flow: KeyFlow) -> frozenset[Path]:
    """What the node has written where it succeeded, and where the run went on with its fallback."""
    node = flow.level.body.nodes[key]
    if node.on_failure == "continue":
        return NO_PATHS
    written = success_paths(key, node, flow.library) or NO_PATHS
    if isinstance(node, GraphNode) and node.output is None and len(node.named) > 1:
        each = [node.model_copy(update={"graph": name}) for name in node.named]
        written = written.intersection(*(success_paths(key, one, flow.library) or NO_PATHS for one in each))
    if isinstance(node, RuleNode) and node.output is None:
        written = sure_writes(node)
    return written if (instead := fallback_of(node)) is None else written.intersection(map(parse_path, instead))
