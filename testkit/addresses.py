"""Addresses of nodes in a run, and the nodes of the plan that they lead to.

`pack[3]/weigh` is the node `weigh` in the body of `pack`, for the item 3; `pack/weigh` is it for every item.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from anabranch.graph.kinds.kinds import has_body
from anabranch.graph.plan import Plan, PlanNode
from anabranch.workflows.interpreter.saga import COMPENSATION as UNDO
from anabranch.workflows.interpreter.scope import END

__all__ = ["END", "UNDO", "known", "node_at", "static", "walk"]

_INDEX = re.compile(r"\[\d+\]")


def static(address: str) -> str:
    """The address without the indexes of items and turns: the node's place in the definition."""
    return _INDEX.sub("", address)


def walk(plan: Plan, prefix: str = "") -> Iterator[tuple[str, Plan]]:
    """The plan and the plans of all bodies in it, each with what the addresses of its nodes start with."""
    yield prefix, plan
    for name, planned in plan.nodes.items():
        if has_body(planned.node):
            yield from walk(plan.body(name), f"{prefix}{name}/")


def known(plan: Plan) -> list[str]:
    """The addresses of all nodes, in definition order, bodies after the graph around them."""
    return [prefix + name for prefix, inner in walk(plan) for name in inner.nodes]


def node_at(plan: Plan, address: str) -> PlanNode | None:
    """The node that an address leads to; after `undo ` its compensation."""
    undo = address.startswith(UNDO)
    *around, last = address.removeprefix(UNDO).split("/")
    for name in map(static, around):
        owner = plan.nodes.get(name)
        if owner is None or not has_body(owner.node):
            return None
        plan = plan.body(name)
    planned = plan.nodes.get(last)
    return planned.compensation if undo and planned is not None else planned
