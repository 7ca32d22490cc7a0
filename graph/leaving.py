"""Whether a run that is undone may leave something behind."""

from __future__ import annotations

from collections.abc import Mapping

from anabranch.graph.kinds.kinds import has_effect, loop_of
from anabranch.graph.model import Graph, GraphNode, Node
from anabranch.graph.plan import body_graph


def may_leave_effects(graph: Graph, library: Mapping[str, Graph]) -> bool:
    """Whether a run of the graph that is undone may leave something behind: an effect without compensation, a pivot."""
    return any(_may_leave(node, library, None) for node in graph.nodes.values())


def _may_leave(node: Node, library: Mapping[str, Graph], effect: bool | None) -> bool:
    if node.pivot:
        return True
    if node.compensate is not None:
        return False
    effect = node.effect if effect is None else effect
    if (loop := loop_of(node)) is not None:
        inside = [*body_graph(loop.body, library).nodes.values()]
    elif isinstance(node, GraphNode) and effect is None:
        inside = [each for name in node.named for each in library[name].nodes.values()]
    else:
        return has_effect(node) if effect is None else effect
    return any(_may_leave(each, library, effect) for each in inside)
