"""Nodes that were read before, by what they say: a graph that is read again and again gets the same ones."""

from __future__ import annotations

import json
from typing import Final

from anabranch.context.values import Json
from anabranch.graph.model import BaseNode, Graph

_MOST: Final = 8192


class KnownNodes:
    """The nodes of one author's graphs, without those inside of others."""

    def __init__(self) -> None:
        self._known: dict[str, BaseNode] = {}

    def put_into(self, graph: Json) -> object:
        """The value of a graph, in which known nodes stand as they were read."""
        nodes = graph.get("nodes") if isinstance(graph, dict) else None
        if not isinstance(graph, dict) or not isinstance(nodes, dict):
            return graph
        return {**graph, "nodes": {name: self._known.get(_text(node), node) for name, node in nodes.items()}}

    def learn(self, given: object, read: Graph) -> None:
        """Keep the nodes of a graph that was read of what `put_into` has given."""
        nodes = given.get("nodes") if isinstance(given, dict) else None
        if len(self._known) >= _MOST:
            self._known.clear()
        for name, node in nodes.items() if isinstance(nodes, dict) else ():
            if not isinstance(node, BaseNode):
                self._known[_text(node)] = read.nodes[name]


def _text(node: Json) -> str:
    return json.dumps(node, ensure_ascii=False)
