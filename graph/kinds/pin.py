"""What a run is held to of its nodes' types, written into its graph.

A type judges what its nodes do: a `db` node's statements are parsed, the type of another distribution is code. Another
release may judge otherwise, and a run in flight must not notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anabranch.graph.kinds.kinds import has_body, has_effect, kind_of, loop_of, notices_of, with_inner
from anabranch.graph.model import Graph, Node


def pinned(graph: Graph) -> Graph:
    """The graph with the judgement of its types written out: `effect` of every node, and what else its type says."""
    # When it is started, and by which id, is the starter's.
    update: dict[str, Any] = {"nodes": _nodes(graph.nodes), "schedule": None, "id": None}
    if (last := graph.finally_) is not None:
        update["finally_"] = last.model_copy(update={"nodes": _nodes(last.nodes)})
    return graph.model_copy(update=update)


def _nodes(nodes: Mapping[str, Node]) -> dict[str, Node]:
    return {key: _node(node) for key, node in nodes.items()}


def _node(node: Node) -> Node:
    judged: dict[str, Any] = dict(kind_of(node).pinned(node))
    if not has_body(node):  # there the field holds for all nodes inside, and is the author's alone
        judged["effect"] = has_effect(node)
    if (loop := loop_of(node)) is not None:
        judged |= with_inner(node, loop, _nodes(loop.body.nodes))
        if loop.last is not None:
            judged["finally_"] = loop.last.model_copy(update={"nodes": _nodes(loop.last.nodes)})
    if node.compensate is not None:
        judged["compensate"] = _node(node.compensate)
    for (field, inner), notice in notices_of(node):
        judged[field] = getattr(node, field).model_copy(update={inner: _node(notice)})
    return node.model_copy(update=judged)
