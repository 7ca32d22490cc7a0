"""What a run waits for somebody to do, from its inspection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from anabranch.context.values import Json
from anabranch.inspection.inspection import Inspection


@dataclass(frozen=True, slots=True)
class Approval:
    """A question of an `approval`. Times are Unix milliseconds."""

    address: str
    prompt: str
    schema: Mapping[str, Json] | None
    asked: int
    deadline: int | None
    assignee: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    needed: int = 1
    """How many people have to answer."""
    given: tuple[Mapping[str, Any], ...] = ()
    """What those of several have answered who did: `by`, `at` and `answer`."""
    reminders: Mapping[str, Any] | None = None
    """How many were `sent` of how many `times`, and when the `next` one is due."""
    escalation: Mapping[str, Any] | None = None
    """Whom it is for `at` a time, or since it was `escalated`."""
    form: Mapping[str, Any] | None = None

    @property
    def answered_by(self) -> tuple[str, ...]:
        """Who has answered so far."""
        return tuple(each["by"] for each in self.given)


@dataclass(frozen=True, slots=True)
class OpenConflict:
    """A path on which the branches before a join disagree."""

    address: str
    path: str
    writers: tuple[str, ...]
    """Of the candidates, in their order; a choice names one of them, or its index."""
    described: Mapping[str, Any]
    """With the values, as the query `status` has it."""


@dataclass(frozen=True, slots=True)
class AwaitedEvent:
    """An event that a `receive` waits for. Times are Unix milliseconds."""

    address: str
    names: tuple[str, ...]
    needs_all: bool
    """Whether it waits for each of them; else for any one."""
    asked: int
    deadline: int | None
    send: str
    """The command that sends it, to be edited."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Everything that a run waits for somebody to do."""

    approvals: tuple[Approval, ...]
    conflicts: tuple[OpenConflict, ...]
    paused: tuple[str, ...]
    """Addresses of nodes, and of compensations, that wait for an operator."""
    children: tuple[str, ...]
    """Ids of the child workflows under way: each asks at itself."""
    events: tuple[AwaitedEvent, ...] = ()


def waiting_of(inspection: Inspection) -> Waiting:
    """What a run waits for; nothing where it is over, or has not begun."""
    if inspection.closing is not None or not inspection.frames:
        return Waiting((), (), (), ())
    last = inspection.last
    children = tuple(each.workflow_id for each in inspection.children.values() if each.outcome is None)
    return Waiting(
        tuple(approvals_of(last.approvals)),
        tuple(_conflicts(last.conflicts)),
        tuple(last.paused),
        children,
        tuple(events_of(last.events)),
    )


def approvals_of(asked: Mapping[str, Any]) -> Iterator[Approval]:
    """The questions of approvals, as the query `status` has them."""
    for address, each in asked.items():
        answers = each.get("answers", {})
        yield Approval(
            address,
            each.get("prompt", ""),
            each.get("schema"),
            each.get("asked", 0),
            each.get("deadline"),
            tuple(each.get("assignee", ())),
            tuple(each.get("groups", ())),
            answers.get("needed", 1),
            tuple(answers.get("given", ())),
            each.get("reminders"),
            each.get("escalation"),
            each.get("form"),
        )


def _conflicts(asked: Mapping[str, Any]) -> Iterator[OpenConflict]:
    for address, conflicts in asked.items():
        for each in conflicts:
            yield OpenConflict(address, each["path"], tuple(side["by"] for side in each["candidates"]), each)


def events_of(asked: Mapping[str, Any]) -> Iterator[AwaitedEvent]:
    """The events that nodes wait for, as the query `status` has them."""
    for address, each in asked.items():
        names, needs_all = tuple(each["names"]), each.get("mode") == "all"
        yield AwaitedEvent(address, names, needs_all, each["asked"], each.get("deadline"), each["send"])
