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
        tuple(_approvals(last.approvals)),
        tuple(_conflicts(last.conflicts)),
        tuple(last.paused),
        children,
        tuple(_events(last.events)),
    )


def _approvals(asked: Mapping[str, Any]) -> Iterator[Approval]:
    for address, each in asked.items():
        yield Approval(address, each.get("prompt", ""), each.get("schema"), each["asked"], each.get("deadline"))


def _conflicts(asked: Mapping[str, Any]) -> Iterator[OpenConflict]:
    for address, conflicts in asked.items():
        for each in conflicts:
            yield OpenConflict(address, each["path"], tuple(side["by"] for side in each["candidates"]), each)


def _events(asked: Mapping[str, Any]) -> Iterator[AwaitedEvent]:
    for address, each in asked.items():
        names, needs_all = tuple(each["names"]), each.get("mode") == "all"
        yield AwaitedEvent(address, names, needs_all, each["asked"], each.get("deadline"), each["send"])
