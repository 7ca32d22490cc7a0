"""What a run before has left behind: effects that it did not undo, and that no run will."""

from __future__ import annotations

from collections.abc import Mapping

from anabranch.graph.kinds.kinds import has_body
from anabranch.graph.plan import Plan
from anabranch.inspection.visits import Visit
from anabranch.rerun.past import Past, root_of
from anabranch.workflows.interpreter.address import around
from anabranch.workflows.interpreter.saga import COMPENSATION
from anabranch.workflows.interpreter.taken_over import Answer, first_attempt


def may_have_effect(plan: Plan, name: str) -> bool:
    """Whether a node, or one in its body, may change something outside of the context."""
    planned = plan.nodes[name]
    if not has_body(planned.node):
        return planned.has_effect
    body = plan.body(name)
    return any(may_have_effect(body, each) for each in body.nodes)


def has_happened(past: Past, *, kept: set[str], answers: Mapping[str, Answer]) -> tuple[str, ...]:
    """The nodes of a run before that may have had an effect which is not kept, and was not undone."""
    undone = {
        visit.address.removeprefix(COMPENSATION)
        for visit in past.visits
        if visit.address.startswith(COMPENSATION) and visit.ended is not None and visit.failure is None
    }
    found: dict[str, None] = {}
    for visit in past.visits:
        address = visit.address
        is_kept = root_of(address) in kept or first_attempt(address) in answers
        if not is_kept and _may_have(visit) and undone.isdisjoint((address, *around(address))):
            found[address] = None
    return tuple(found)


def _may_have(visit: Visit) -> bool:
    if visit.address.startswith(COMPENSATION) or not visit.has_effect:
        return False
    if visit.ended is None:
        return True
    return visit.failure is None or visit.failure.unknown
