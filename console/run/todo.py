"""What a run waits for, people or events, as its page offers it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from anabranch.console.exact import text_of
from anabranch.context.values import Json
from anabranch.display import plain
from anabranch.inspection.inspection import Inspection
from anabranch.steering.waiting import Approval, AwaitedEvent, OpenConflict, events_of, waiting_of

_SCHEMA: Final = 1024 * 1024
"""Characters of a schema, which is never cut: a form is made of it. No history holds a larger one."""


def todo(inspection: Inspection) -> list[dict[str, Any]]:
    """Approvals, conflicts and paused nodes, each with its address."""
    waiting = waiting_of(inspection)
    return [
        *map(_approval, waiting.approvals),
        *map(_conflict, waiting.conflicts),
        *_paused(inspection, waiting.paused),
    ]


def awaited(inspection: Inspection) -> list[dict[str, Any]]:
    """The events that the run waits for, each with the address of the node that takes it."""
    return [*map(_event, waiting_of(inspection).events)]


def awaited_event(address: str, asked: Json) -> dict[str, Any]:
    """What a node waits for, of the query `status`."""
    return next(map(_event, events_of({address: asked})))


def _event(each: AwaitedEvent) -> dict[str, Any]:
    return {
        "kind": "event",
        "address": each.address,
        "names": [plain(name) for name in each.names],
        "needs_all": each.needs_all,
        "asked": each.asked,
        "deadline": each.deadline,
        "send": each.send,
    }


def _approval(each: Approval) -> dict[str, Any]:
    schema = None if each.schema is None else text_of(dict(each.schema), _SCHEMA)
    return {"kind": "approval", "schema": schema, "form": each.form, **question(each)}


def question(each: Approval) -> dict[str, Any]:
    """What is asked and of whom, who has answered, how often they were reminded."""
    return {
        "address": each.address,
        "prompt": plain(each.prompt),
        "asked": each.asked,
        "deadline": each.deadline,
        "assignee": [plain(name) for name in each.assignee],
        "groups": [plain(name) for name in each.groups],
        "needed": each.needed,
        "given": [
            {"by": plain(said["by"]), "at": said["at"], "answer": text_of(said["answer"])} for said in each.given
        ],
        "reminders": each.reminders,
        "escalation": each.escalation,
    }


def _conflict(each: OpenConflict) -> dict[str, Any]:
    told = each.described
    return {
        "kind": "conflict",
        "address": each.address,
        "path": each.path,
        "strategy": told["strategy"],
        "base": _value(told, "base"),
        "candidates": [
            {"by": side["by"], "at": side["at"], "value": _value(side, "value")} for side in told["candidates"]
        ],
    }


def _value(told: Mapping[str, Any], name: str) -> str | None:
    """The text of a value; None where there is none, since it was removed or never written."""
    return text_of(told[name]) if name in told else None


def _paused(inspection: Inspection, addresses: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    last = {visit.address: visit for visit in inspection.visits}
    nodes = inspection.nodes()
    for address in addresses:
        node, visit = nodes.get(address), last.get(address)
        failure = (
            node.error if node is not None and node.error is not None else None if visit is None else visit.failure
        )
        error = None if failure is None else {"code": plain(failure.code), "message": plain(failure.message)}
        yield {"kind": "paused", "address": address, "error": error}
