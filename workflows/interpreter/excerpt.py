"""What fits into the answer to a query: the newest versions, the conflicts, the data. The rest is counted.

The server accepts no answer larger than a payload, and a query about a large run must not fail for its size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from anabranch.context.merge.union import Conflict
from anabranch.context.values import Json, format_path
from anabranch.limits import PAYLOAD_BYTES
from anabranch.workflows.interpreter.commands import Afterwards, AskPerson, AwaitEvent
from anabranch.workflows.interpreter.questions import OpenQuestion
from anabranch.workflows.interpreter.size import ByteBudget, json_size
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.trail import AuditTrail, Version, describe_conflict

_FRAME: dict[str, Json] = {
    "set": {},
    "removed": [],
    "conflicts": [],
    "left_out": {"versions": 10**9, "set": 10**6, "removed": 10**6, "conflicts": 10**6},
}
"""What a version's entry holds beside its changes, at its largest."""


def newest_versions(trail: AuditTrail, budget: ByteBudget) -> list[Json]:
    """The newest versions that fit, oldest first.

    What does not fit is counted under `left_out`: for each version its `set`, `removed` and `conflicts`, and in the
    first entry the `versions` before it, including those that were dropped from memory.
    """
    entries: list[dict[str, Json]] = []
    for version in reversed(trail.versions):
        if not budget.try_take({**version.head(), **_FRAME}):
            break
        entries.append(_excerpt(version, budget))
    if entries and (before := trail.count - len(entries)):
        cut = entries[-1].get("left_out")
        entries[-1]["left_out"] = {"versions": before, **(cut if isinstance(cut, dict) else {})}
    return list(reversed(entries))


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What is shown of something, and how many of its parts are not."""

    shown: Json
    left_out: int


def questions_that_fit(state: RunState, budget: ByteBudget) -> dict[str, Excerpt]:
    """What is waited for, with the commands that answer: `approvals`, `conflicts` and `events`, by node."""
    approvals: dict[str, Json] = {}
    conflicts: dict[str, Json] = {}
    events: dict[str, Json] = {}
    missing = {"approvals": 0, "conflicts": 0, "events": 0}
    for address, question in state.questions.items():
        if isinstance(ask := question.command, AskPerson):
            missing["approvals"] += not _fits(approvals, address, _approval(state, address, question, ask), budget)
        elif isinstance(ask, AwaitEvent):
            missing["events"] += not _fits(events, address, state.answering.awaited(question, ask), budget)
        else:
            command = partial(state.answering.resolve_conflict, address)
            kept = conflicts_that_fit(ask.conflicts, budget, command)
            missing["conflicts"] += len(ask.conflicts) - len(kept)
            conflicts[address] = kept
    found = {"approvals": approvals, "conflicts": conflicts, "events": events}
    return {name: Excerpt(each, missing[name]) for name, each in found.items() if each or missing[name]}


def _approval(state: RunState, address: str, question: OpenQuestion, ask: AskPerson) -> dict[str, Json]:
    known = state.approvals.open.get(address)
    return state.answering.approval(question, ask, {} if known is None else known.described())


def _fits(found: dict[str, Json], address: str, described: dict[str, Json], budget: ByteBudget) -> bool:
    """Add what is waited for at an address, or its times alone, where that fits."""
    bare: dict[str, Json] = {key: described[key] for key in described.keys() & {"asked", "deadline"}}
    form = next((form for form in (described, bare) if budget.try_take([address, form])), None)
    if form is not None:
        found[address] = form
    return form is not None


def conflicts_that_fit(
    conflicts: Iterable[Conflict], budget: ByteBudget, command: Callable[[Conflict], str] | None = None
) -> list[Json]:
    """The first conflicts that fit, each without its values if only those do not fit.

    `command` gives the one that resolves a conflict.
    """
    described = (
        [
            describe_conflict(each, values=values) | ({} if command is None else {"resolve": command(each)})
            for values in (True, False)
        ]
        for each in conflicts
    )
    fitting = (next((form for form in forms if budget.try_take(form)), None) for forms in described)
    return [form for form in fitting if form is not None]


def data_that_fits(data: Mapping[str, Json], limit: int = PAYLOAD_BYTES) -> tuple[dict[str, Json], dict[str, Json]]:
    """The data without its largest keys, as many as necessary, and the sizes of those in bytes."""
    left_out: dict[str, Json] = {}
    excess = json_size(dict(data)) - limit
    if excess <= 0:
        return dict(data), left_out
    sizes = {key: json_size(value) for key, value in data.items()}
    for key in sorted(sizes, key=lambda key: -sizes[key]):
        if excess <= 0:
            break
        left_out[key] = sizes[key]
        excess -= sizes[key]
    return {key: value for key, value in data.items() if key not in left_out}, left_out


def afterwards_that_fit(after: Afterwards, room: int) -> dict[str, Json]:
    """What a `finally` wrote, as far as it fits, and why it failed."""
    written, left_out = data_that_fits(after.written, room)
    told: dict[str, Json] = {"finally": written} if written else {}
    if left_out:
        told["finally_left_out"] = left_out
    return told if after.failure is None else {**told, "finally_failed": after.failure.root()}


def _excerpt(version: Version, budget: ByteBudget) -> dict[str, Json]:
    changes = version.changes
    written = {
        text: value
        for text, value in ((format_path(path), value) for path, value in changes.set.items())
        if budget.try_take([text, value])
    }
    removed: list[Json] = [text for text in map(format_path, changes.removed) if budget.try_take([text])]
    conflicts = conflicts_that_fit(version.conflicts, budget)
    entry = {**version.head(), "set": written, "removed": removed}
    if version.conflicts:
        entry["conflicts"] = conflicts
    warnings: list[Json] = [text for text in changes.warnings if budget.try_take([text])]
    if warnings:
        entry["warnings"] = warnings
    if changes.usage:
        entry["usage"] = [each.described() for each in changes.usage]
    missing = {
        "set": len(changes.set) - len(written),
        "removed": len(changes.removed) - len(removed),
        "conflicts": len(version.conflicts) - len(conflicts),
    }
    if any(missing.values()):
        entry["left_out"] = {name: count for name, count in missing.items() if count}
    return entry
