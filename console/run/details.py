"""What one card of the drawing did by one moment: what it read and wrote, its attempts, its error, what undoes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

from anabranch.console.exact import text_of
from anabranch.console.run.header import child_of, pending_of, told_of
from anabranch.console.run.moments import Moment
from anabranch.console.run.picture import drawn
from anabranch.console.run.todo import awaited_event, question
from anabranch.console.run.versions import settled
from anabranch.context.values import Json, Missing, format_path
from anabranch.display import plain
from anabranch.errors import InputError
from anabranch.inspection.events import Activity
from anabranch.inspection.lineage import Lineage
from anabranch.inspection.planned import planned_at
from anabranch.inspection.runs import Pending
from anabranch.inspection.visits import Visit
from anabranch.steering.waiting import approvals_of
from anabranch.workflows.interpreter.saga import COMPENSATION
from anabranch.workflows.interpreter.trail import Version

_MOST: Final = 200
"""Visits, versions, paths and children that an answer names."""


def details(
    moment: Moment, lineage: Lineage, card: str, visit: int | None, pending: Sequence[Pending]
) -> dict[str, Any]:
    """A card with one of its visits, the newest unless another is named. Raises InputError for a visit it has not."""
    inspection, frame = moment.inspection, moment.inspection.frames[moment.index]
    over = {place for each in inspection.frames[: moment.index + 1] for place in each.over}
    places = [place for place in range(frame.begun) if drawn(inspection.visits[place].address) == card]
    children = [each for address, each in inspection.children.items() if drawn(address) == card]
    told: dict[str, Any] = {
        "card": card,
        "visits": [_visit(inspection.visits[place], place, is_over=place in over) for place in places[-_MOST:]],
        "all_visits": len(places),
        "children": [child_of(each) for each in children[-_MOST:]],
    }
    if not places:
        return told
    chosen = places[-1] if visit is None else visit
    if chosen not in places:
        raise InputError(f"{card!r} has no visit {visit} by then", place="visit")
    about = _About(moment, lineage, inspection.visits[chosen])
    shown = _visit(about.visit, chosen, is_over=chosen in over)
    return told | {"visit": shown, **about.told(), "pending": about.pending(pending)}


class _About:
    """One visit, as of a moment."""

    def __init__(self, moment: Moment, lineage: Lineage, visit: Visit) -> None:
        self._inspection = moment.inspection
        self._frame = moment.inspection.frames[moment.index]
        self._moment = moment
        self._lineage = lineage
        self.visit = visit

    def told(self) -> dict[str, Any]:
        """What the history tells."""
        address, last = self.visit.address, self._moment.last
        events = self._inspection.event_ids.get(address, ())
        activities = self._inspection.activities.get(address, ())
        return {
            "read": list(islice(self._reads(), _MOST)),
            "wrote": [_version(each, self._lineage) for each in self._versions()[-_MOST:]],
            "activities": [_activity(each, self._moment.known) for each in activities if each.scheduled_event <= last],
            "events": [number for number in events if number <= last],
            "question": self._question(),
            "awaits": self._awaits(),
            "decision": None if (told := self._frame.decisions.get(address)) is None else told.described(),
            "saga": next((str(step.state) for step in self._frame.saga if step.address == address), None),
        }

    def _question(self) -> dict[str, Any] | None:
        """What people were asked there, as it was last; `is_open` while it waits for an answer."""
        address, frames = self.visit.address, self._inspection.frames[: self._moment.index + 1]
        for frame in reversed(frames):
            if frame.at < self.visit.started:
                return None
            if address in frame.approvals:
                [asked] = approvals_of({address: frame.approvals[address]})
                return question(asked) | {"is_open": frame is self._frame}
        return None

    def _awaits(self) -> dict[str, Any] | None:
        """The events that it waits for."""
        asked = self._frame.events.get(self.visit.address)
        return None if asked is None else awaited_event(self.visit.address, asked)

    def pending(self, pending: Sequence[Pending]) -> dict[str, Any] | None:
        """What the server knows of its activity, if that is under way now."""
        found = (each for each in pending if each.address == self.visit.address and self._moment.is_newest)
        return next(map(pending_of, found), None)

    def _versions(self) -> list[Version]:
        return [each for each in self._lineage.by(self.visit.address) if each.number <= self._frame.versions]

    def _reads(self) -> Iterator[dict[str, Any]]:
        plan = self._inspection.plan
        planned = None if plan is None else planned_at(plan, self.visit.address)
        if planned is None or self.visit.address.startswith(COMPENSATION):
            return
        before = self._lineage.of(self.visit.read)
        for key in planned.reads if planned.reads is not None else before.data:
            if key in self.visit.roots:
                yield {"path": key, "value": text_of(self.visit.roots[key]), "versions": []}
            elif key in before.data:
                versions = sorted(set(before.writers_of((key,)).values()))
                yield {"path": key, "value": text_of(before.data[key]), "versions": versions}


def _visit(visit: Visit, place: int, *, is_over: bool) -> dict[str, Any]:
    told = {"visit": place, "address": visit.address, "type": visit.type, "started": visit.started}
    if not is_over:
        return told
    failure = visit.failure
    error = None if failure is None else told_of(failure) | {"outcome": failure.outcome}
    return told | {"ended": visit.ended, "error": error, "received": list(map(plain, visit.events))}


def _version(version: Version, lineage: Lineage) -> dict[str, Any]:
    """What a version changed, with what was there before."""
    before = lineage.before(version.number)
    paths = [*version.changes.set, *version.changes.removed]
    changes = [
        {
            "path": format_path(path),
            "before": _text(before.value(path)),
            "after": _text(version.changes.set[path]) if path in version.changes.set else None,
        }
        for path in paths[:_MOST]
    ]
    return {
        "number": version.number,
        "kind": version.kind,
        "answered_by": None if version.answered_by is None else plain(version.answered_by),
        "at": version.at,
        "changes": changes,
        "more": len(paths) - len(changes),
        "conflicts": [settled(each) for each in version.conflicts[:_MOST]],
        "warnings": list(map(plain, version.changes.warnings[:_MOST])),
    }


def _text(value: Json | Missing) -> str | None:
    """The text of a value; None where there is none."""
    return None if isinstance(value, Missing) else text_of(value)


def _activity(activity: Activity, until: int) -> dict[str, Any]:
    """An activity as of an event. Its attempts are told of when it is over."""
    told: dict[str, Any] = {
        "queue": activity.queue,
        "event": activity.scheduled_event,
        "scheduled": activity.scheduled,
    }
    if activity.ended_event is None or activity.ended_event > until:
        return told
    failure = activity.failure
    return told | {
        "attempt": activity.attempt,
        "started": activity.started,
        "ended": activity.ended,
        "worker": activity.worker,
        "outcome": activity.outcome,
        "failure": None if failure is None else told_of(failure),
    }
