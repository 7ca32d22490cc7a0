"""Whom an approval asks, in words for terminals."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from anabranch.steering.waiting import Approval
from anabranch.workflows.interpreter.people import reminders_told


def people(approval: Approval, clock: Callable[[int], str]) -> Iterator[str]:
    """Whom a question is for, who has answered, and when it is asked again: a line each."""
    if approval.assignee:
        yield f"for {', '.join(approval.assignee)}"
    if approval.groups:
        yield f"for the group{'s' * (len(approval.groups) > 1)} {', '.join(approval.groups)}"
    if approval.needed > 1:
        by = f": {', '.join(approval.answered_by)}" if approval.given else ""
        yield f"{len(approval.given)} of {approval.needed} have answered{by}"
    if (remind := approval.reminders) is not None:
        following = f", the next one at {clock(remind['next'])}" if "next" in remind else ""
        yield f"{reminders_told(remind)}{following}"
    if (plan := approval.escalation) is not None:
        escalated = "escalated" in plan
        yield f"escalated at {clock(plan['escalated'])}" if escalated else f"escalates at {clock(plan['at'])}"
