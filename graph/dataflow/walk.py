"""Walks over a graph and everything inside it: bodies of composite nodes, compensations, and theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from anabranch.graph.model import Body, ForeachNode, Graph, Node, WhileNode
from anabranch.graph.source.yaml_source import Pointer


@dataclass(frozen=True, slots=True)
class Scope:
    """The nodes and edges of one level: the graph itself, or a body somewhere in it.

    `roots` are the names beside the context's keys that its expressions may use (`index`, a `foreach`'s item, `error`).
    """

    path: Pointer
    body: Graph | Body
    roots: frozenset[str] = frozenset()

    def nodes(self) -> Iterator[tuple[Pointer, str, Node]]:
        """Pointer, id and node of each node of this level, compensations apart."""
        for key, node in self.body.nodes.items():
            yield (*self.path, "nodes", key), key, node


def scopes(graph: Graph) -> Iterator[Scope]:
    """The graph's own level, then every body below it, compensations' bodies included, in definition order."""
    waiting = [Scope((), graph)]
    while waiting:
        scope = waiting.pop(0)
        yield scope
        waiting.extend(inner for path, _, node in scope.nodes() for inner in _inner(path, node, scope.roots))


def _inner(path: Pointer, node: Node, roots: frozenset[str]) -> Iterator[Scope]:
    if isinstance(node, ForeachNode | WhileNode):
        extra = {node.as_, "index"} if isinstance(node, ForeachNode) else {"index"}
        yield Scope((*path, "body"), node.body, roots | extra)
    if node.compensate is not None:
        yield from _inner((*path, "compensate"), node.compensate, roots | {"error"})


def with_compensations(path: Pointer, node: Node) -> Iterator[tuple[Pointer, Node]]:
    """The node, its compensation, and that one's."""
    while True:
        yield path, node
        if node.compensate is None:
            return
        path, node = (*path, "compensate"), node.compensate
