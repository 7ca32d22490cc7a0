"""The drawing of a run's graph, which its page colours; and the cards on it, for the table beside it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from anabranch.graph.drawing.states import SIGNS
from anabranch.graph.drawing.summary import summary
from anabranch.graph.drawing.svg import States, embedded
from anabranch.graph.kinds.kinds import loop_of
from anabranch.graph.model import Body, Finally, Graph, GraphNode, Node
from anabranch.graph.plan import Plan, body_graph
from anabranch.workflows.interpreter.last import NAME as LAST

_IN_PLACE: Final = "block"
"""The type whose body is run once, as a part of the graph around."""
_WITH_BADGE: Final = "ready"
"""A state whose badge the drawing has: the page shows others in its place."""


def canvas(plan: Plan) -> dict[str, Any]:
    """The drawing, the signs that badges show, and the cards. Of bodies those of blocks are open.

    Graphs that are run inline have cards that are not on the drawing.
    """
    cards = _all_cards(plan)
    opened = [card["address"] for card in cards if card["type"] == _IN_PLACE]
    return {"drawing": drawing(plan, opened), "opened": opened, "signs": dict(SIGNS), "cards": cards}


def drawing(plan: Plan, opened: Collection[str]) -> str:
    """The drawing with a badge on each card. Of bodies those at the addresses `opened` are drawn."""
    states = States({card["address"]: _WITH_BADGE for card in _all_cards(plan)})
    return embedded(plan.graph, states, opened=opened)


def _all_cards(plan: Plan) -> list[dict[str, Any]]:
    return [*_cards(plan, plan.graph, plan.graph.finally_, "")]


def _cards(plan: Plan, body: Graph | Body | Finally, last: Finally | None, prefix: str) -> Iterator[dict[str, Any]]:
    yield from _each(plan, body.nodes, prefix)
    if last is not None:
        yield from _each(plan, last.nodes, f"{prefix}{LAST}/")


def _each(plan: Plan, nodes: Mapping[str, Node], prefix: str) -> Iterator[dict[str, Any]]:
    for key, node in nodes.items():
        address = f"{prefix}{key}"
        loop = loop_of(node)
        yield _card(address, node) | ({"has_body": True} if loop is not None and loop.body.nodes else {})
        if node.compensate is not None:
            yield _card(f"{address}/compensate", node.compensate) | {"undoes": address}
        if loop is not None:
            yield from _cards(plan, body_graph(loop.body, plan.library), loop.last, f"{address}/")
        elif isinstance(node, GraphNode) and node.mode == "inline" and node.graph in plan.library:
            inline = plan.library[node.graph]
            yield from _cards(plan, inline, inline.finally_, f"{address}/")


def _card(address: str, node: Node) -> dict[str, Any]:
    told = {"address": address, "type": node.type, "summary": summary(node)}
    return told | ({"description": node.description} if node.description else {})
