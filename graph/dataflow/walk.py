"""Walks over a graph and everything inside it: bodies of composite nodes, compensations, and theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from anabranch.graph.dataflow.handlers import ERROR, ERRORS, handlers
from anabranch.graph.kinds.approval import QUESTION
from anabranch.graph.kinds.kind import Toolbox
from anabranch.graph.kinds.kinds import loop_of, notices_of
from anabranch.graph.model import Body, Finally, Graph, Node
from anabranch.graph.parts import Edge
from anabranch.graph.source.yaml_source import Pointer

FINALLY: Final[Pointer] = ("finally",)
OUTCOME: Final = frozenset({"outcome"})
"""What the expressions of a `finally` see beside the context's keys."""


@dataclass(frozen=True, slots=True)
class Level:
    """The nodes and edges of one level: the graph itself, or a body somewhere in it.

    `roots` are the names beside the context's keys that its expressions may use (`index`, a `foreach`'s item, `error`).
    `owner` is the path of the node around a body; those of the graph itself, and of its `finally`, are empty.
    That of a block's `finally` is the block.
    """

    path: Pointer
    body: Graph | Body | Finally
    roots: frozenset[str] = frozenset()
    owner: Pointer = ()

    @property
    def is_last(self) -> bool:
        """Whether it is a `finally`, of the graph or of a block."""
        return isinstance(self.body, Finally)

    def nodes(self) -> Iterator[tuple[Pointer, str, Node]]:
        """Pointer, id and node of each node of this level, compensations apart."""
        for key, node in self.body.nodes.items():
            yield self.path_of(key), key, node

    def path_of(self, key: str) -> Pointer:
        """The path of one of its nodes."""
        return (*self.path, key, "node") if isinstance(self.body, Toolbox) else (*self.path, "nodes", key)


def levels(graph: Graph) -> Iterator[Level]:
    """The graph's own level and its `finally`, then every body below, those of compensations too, in their order."""
    waiting = [Level((), graph)]
    if graph.finally_ is not None:
        waiting.append(Level(FINALLY, graph.finally_, OUTCOME))
    while waiting:
        level = waiting.pop(0)
        yield level
        handling = handlers(level.body.nodes, level.body.edges)
        for path, key, node in level.nodes():
            waiting.extend(_inner(path, node, level.roots | handling.names_of(key)))


def ordered(level: Level) -> list[str]:
    """The ids in an order in which each node is after its predecessors; those of a cycle are left out."""
    nodes = level.body.nodes
    waiting = dict.fromkeys(nodes, 0)
    targets: dict[str, list[str]] = {key: [] for key in nodes}
    for edge in known_edges(level):
        targets[edge.source].append(edge.target)
        waiting[edge.target] += 1
    ready = [key for key in nodes if not waiting[key]]
    for key in ready:
        for target in targets[key]:
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return ready


def edge_path(level: Level, index: int) -> Pointer:
    """The path of an edge by its number in this level."""
    return (*level.path, "edges", index)


def known_edges(level: Level) -> list[Edge]:
    """The edges of this level both of whose ends exist."""
    nodes = level.body.nodes
    return [edge for edge in level.body.edges if edge.source in nodes and edge.target in nodes]


def _inner(path: Pointer, node: Node, roots: frozenset[str]) -> Iterator[Level]:
    if (loop := loop_of(node)) is not None:
        around = roots if loop.body.graph is None else roots - ERRORS
        yield Level((*path, *loop.path), loop.body, around | loop.names, path)
        if loop.last is not None:
            yield Level((*path, *FINALLY), loop.last, around | OUTCOME, path)
    if node.compensate is not None:
        yield from _inner((*path, "compensate"), node.compensate, roots | ERROR)


def with_compensations(path: Pointer, node: Node) -> Iterator[tuple[Pointer, Node]]:
    """The node, its compensation and that one's, and what reminds of its question."""
    while True:
        yield path, node
        for steps, notice in notices_of(node):
            yield from with_compensations((*path, *steps), notice)
        if node.compensate is None:
            return
        path, node = (*path, "compensate"), node.compensate


def is_compensation(path: Pointer, where: Pointer) -> bool:
    """Whether what is at `where` is a compensation of the node at `path`, and not that node, or what reminds of it."""
    return where[len(path) :][-1:] == ("compensate",)


def names_beside(path: Pointer, where: Pointer) -> frozenset[str]:
    """What is at `where`, below the node at `path`, sees besides: a compensation the error, a reminder the question."""
    if where == path:
        return frozenset()
    return ERROR if is_compensation(path, where) else QUESTION
