"""A `History` is the events of one workflow run: from the server, or from a file that the `temporal` command wrote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Final, Self

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionStartedEventAttributes
from temporalio.client import WorkflowHistory

from anabranch.errors import HistoryInvalid, InputError

_STARTED: Final = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED
_TASK_STARTED: Final = EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED
_TASK_FAILED: Final = EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
_ADVICE: Final = "write the file with `temporal workflow show --workflow-id … -o json`, and keep all of it"
_TASKS: Final = frozenset({_TASK_STARTED, EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED})
_OF_UPDATES: Final = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_REJECTED,
    }
)
CLOSED: Final = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: "completed",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: "failed",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: "cancelled",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: "terminated",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: "timed_out",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: "continued",
}
"""The events that end a workflow run, and what they say of it in one word."""


@dataclass(frozen=True, eq=False)
class History:
    """The events of one workflow run, from its start on; they may end anywhere. Their ids count from 1."""

    workflow_id: str
    events: tuple[HistoryEvent, ...]
    whole: str | None = None
    """Where this is the beginning of a longer history, the id of its workflow run: only later events may have it."""

    @classmethod
    def of(cls, workflow_id: str, events: Iterable[HistoryEvent]) -> Self:
        """Events as a server gives them. Raises HistoryInvalid where some are missing."""
        found = tuple(events)
        _check(found)
        return cls(found[0].workflow_execution_started_event_attributes.workflow_id or workflow_id, found)

    @classmethod
    def read(cls, path: Path) -> Self:
        """A file that holds what `temporal workflow show -o json` writes. Raises InputError, HistoryInvalid."""
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"the file cannot be read: {error.strerror}", place=str(path)) from None
        except UnicodeDecodeError:
            raise HistoryInvalid("the file is not JSON text", place=str(path), suggestion=_ADVICE) from None
        return cls.from_json(text, place=str(path))

    @classmethod
    def from_json(cls, text: str, *, place: str | None = None) -> Self:
        """The JSON of a history. Raises HistoryInvalid."""
        try:
            events = WorkflowHistory.from_json("", text).events
        except Exception as error:  # of what the SDK does not expect it says by all kinds of exceptions
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise HistoryInvalid(
                f"this is not the JSON of a history: {reason:.200}", place=place, suggestion=_ADVICE
            ) from None
        try:
            return cls.of("(unknown)", events)
        except HistoryInvalid as error:
            error.place = place
            raise

    @property
    def started(self) -> WorkflowExecutionStartedEventAttributes:
        """How the workflow run was started."""
        return self.events[0].workflow_execution_started_event_attributes

    @cached_property
    def run_id(self) -> str:
        """The id of the workflow run. One that was reset begins with the events of another, and the id of that."""
        if self.whole is not None:
            return self.whole
        for event in reversed(self.events):
            if event.event_type == _TASK_FAILED and (own := event.workflow_task_failed_event_attributes.new_run_id):
                return own
        return self.started.original_execution_run_id

    @property
    def previous_run_id(self) -> str | None:
        """The workflow run that continued as this one."""
        return self.started.continued_execution_run_id or None

    @property
    def next_run_id(self) -> str | None:
        """The workflow run that this one continued as."""
        return self.last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id or None

    @property
    def last(self) -> HistoryEvent:
        """The newest event."""
        return self.events[-1]

    @property
    def closed(self) -> str | None:
        """How the workflow run ended, in one word; None while it runs."""
        return CLOSED.get(self.last.event_type)

    @cached_property
    def has_begun(self) -> bool:
        """Whether a worker has ever taken the run."""
        return bool(self.heard)

    @cached_property
    def heard(self) -> tuple[HistoryEvent, ...]:
        """The events that the run has heard of: as far as its last workflow task, and what that asked for.

        What came since is for the next task. A worker that replayed it too would answer ahead of that.
        """
        last = len(self.events)
        while last and self.events[last - 1].event_type not in _TASKS:
            last -= 1
        if not last or self.events[last - 1].event_type == _TASK_STARTED:
            return self.events[:last]
        end = last
        while end < len(self.events) and _is_asked_for(self.events[end], last):
            end += 1
        return self.events[:end]

    def until(self, event_id: int) -> History:
        """The history as it was when this event was the newest. Raises InputError for an event that is not in it."""
        if not 1 <= event_id <= len(self.events):
            raise InputError(f"the history has the events 1 to {len(self.events)}, not {event_id}")
        return History(self.workflow_id, self.events[:event_id], self.run_id)

    def until_time(self, moment: datetime) -> History:
        """The history as it was at a time. Raises InputError for one before its start."""
        at = round(moment.timestamp() * 1000)
        count = sum(time_of(event) <= at for event in self.events)  # times never go back
        if not count:
            raise InputError("the run had not started by then")
        return self.until(count)


def time_of(event: HistoryEvent) -> int:
    """When an event happened, in Unix milliseconds."""
    return event.event_time.ToMilliseconds()


def _is_asked_for(event: HistoryEvent, task: int) -> bool:
    """Whether a workflow task, by the event of its completion, brought an event about."""
    if event.event_type in _OF_UPDATES:
        return True
    attributes = getattr(event, event.WhichOneof("attributes") or "")
    return getattr(attributes, "workflow_task_completed_event_id", None) == task


def markers(events: Sequence[HistoryEvent]) -> Iterator[HistoryEvent]:
    """The events that record the results of local activities."""
    return (event for event in events if event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED)


def _check(events: Sequence[HistoryEvent]) -> None:
    if not events:
        raise HistoryInvalid("the history has no events", suggestion=_ADVICE)
    if events[0].event_type != _STARTED:
        raise HistoryInvalid(
            f"the history does not begin with the start of a workflow, but with event {events[0].event_id}",
            suggestion=_ADVICE,
        )
    for number, event in enumerate(events, 1):
        if event.event_id != number:
            raise HistoryInvalid(
                f"the history is not whole: event {number} is missing, event {event.event_id} follows"
                if event.event_id > number
                else f"the history is not in order: event {event.event_id} comes in place {number}",
                suggestion=_ADVICE,
            )
        if number < len(events) and event.event_type in CLOSED:
            raise HistoryInvalid(f"the history goes on after its end at event {number}", suggestion=_ADVICE)
