"""The node of a plan that an address in a run means."""

from __future__ import annotations

from anabranch.graph.plan import Plan
from anabranch.graph.plan_node import PlanNode
from anabranch.workflows.interpreter.address import node_id
from anabranch.workflows.interpreter.last import NAME as LAST
from anabranch.workflows.interpreter.people import notice_at
from anabranch.workflows.interpreter.saga import COMPENSATION


def planned_at(plan: Plan, address: str) -> PlanNode | None:
    """The node at an address, for `undo …` what undoes it, for `reminder 1 of …` what reminds of it.

    None where a person, or a service, is named.
    """
    if (about := notice_at(address)) is not None:
        owner = planned_at(plan, about[1])
        return None if owner is None else owner.notices.get(about[0])
    try:
        planned = _node_at(plan, address.removeprefix(COMPENSATION))
    except (KeyError, AssertionError):
        return None
    return planned.compensation if address.startswith(COMPENSATION) else planned


def _node_at(plan: Plan, address: str) -> PlanNode:
    *bodies, name = map(node_id, address.split("/"))
    if bodies and bodies[0] == LAST and plan.afterwards is not None:
        bodies, plan = bodies[1:], plan.afterwards
    outer, owner = plan, ""
    for body in bodies:
        if body == LAST and owner and body not in plan.nodes:  # that of a block
            plan, owner = outer.last(owner), ""
        else:
            outer, owner, plan = plan, body, plan.body(body)
    return plan.nodes[name]
