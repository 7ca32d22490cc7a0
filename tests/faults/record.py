"""What is left of a run: its events in Temporal's history, its rows in the ledger, its context."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from temporalio.api.history.v1 import HistoryEvent

Ends = Literal["completed", "failed", "cancelled", "open"]
Closed = Literal["scheduled", "completed", "failed", "timed_out", "cancelled"]
_CLOSING: Mapping[str, Closed] = {
    "activity_task_completed_event_attributes": "completed",
    "activity_task_failed_event_attributes": "failed",
    "activity_task_timed_out_event_attributes": "timed_out",
    "activity_task_canceled_event_attributes": "cancelled",
}
_ENDING: Mapping[str, Ends] = {
    "workflow_execution_completed_event_attributes": "completed",
    "workflow_execution_failed_event_attributes": "failed",
    "workflow_execution_canceled_event_attributes": "cancelled",
}


@dataclass(frozen=True, slots=True)
class Event:
    """An activity was scheduled, or ended. `unknown`: its end does not show whether it had its effect."""

    kind: Closed
    address: str
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the ledger, in the order of the inserts."""

    step: str
    kind: str


@dataclass(frozen=True, slots=True)
class Record:
    """A run that is over. `behind` are the steps that each step depends on, by their addresses.

    `wrote` is what the context then holds of a run that completed. `last` are the steps of its `finally`.
    """

    run: str
    ends: Ends
    events: tuple[Event, ...]
    rows: tuple[Row, ...]
    given: Mapping[str, Any]
    data: Mapping[str, Any]
    behind: Mapping[str, frozenset[str]]
    wrote: Mapping[str, Any]
    sequential: bool
    last: frozenset[str] = frozenset()
    of_blocks: Mapping[str, str] = field(default_factory=dict)
    """The steps of the `finally` of blocks, each with its block."""


def read_history(history: Iterable[HistoryEvent]) -> tuple[Ends, tuple[Event, ...]]:
    """How the run ended, and what became of its activities, in the order of the history."""
    addresses: dict[int, str] = {}
    events: list[Event] = []
    ends: Ends = "open"
    for event in history:
        which = event.WhichOneof("attributes") or ""
        attributes = getattr(event, which)
        if which == "activity_task_scheduled_event_attributes":
            addresses[event.event_id] = attributes.activity_id
            events.append(Event("scheduled", attributes.activity_id))
        elif which in _CLOSING:
            kind = _CLOSING[which]
            events.append(Event(kind, addresses[attributes.scheduled_event_id], _unknown(kind, attributes)))
        ends = _ENDING.get(which, ends)
    return ends, tuple(events)


def _unknown(kind: Closed, attributes: Any) -> bool:
    if kind == "failed":
        return bool(attributes.failure.application_failure_info.type == "UNAVAILABLE")
    return kind in {"timed_out", "cancelled"}
