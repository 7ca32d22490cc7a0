"""What runs leave in Temporal, and what Temporal Cloud would bill for them, by their histories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHandle

_LOCAL: Final = "core_local_activity"
_MODEL: Final = "ai"
"""The node type whose activities ask a model."""


@dataclass(frozen=True, slots=True)
class Size:
    """What one run leaves in Temporal."""

    actions: int
    events: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What runs took together. In the worst case a count is None where nothing bounds it."""

    actions: int | None
    events: int
    bytes: int
    activities: int | None
    """Attempts."""
    local_activities: int
    """Segments count as one."""
    timers: int
    children: int
    model_calls: int | None


async def size_of(handle: WorkflowHandle[Any, Any]) -> Size:
    """By the history of a run that has ended."""
    return size(list((await handle.fetch_history()).events))


def size(events: Sequence[HistoryEvent]) -> Size:
    """What one workflow run leaves."""
    return Size(actions(events), len(events), sum(event.ByteSize() for event in events))


def actions(events: Sequence[HistoryEvent]) -> int:
    """The Actions by which Temporal Cloud bills one run that does not fail, by its history.

    One for the start, each attempt of an activity, timer, signal, update, change of search attributes and
    continue-as-new, two for a child, and one for all local activities that one workflow task brought to an end. The
    start of a child, and that of a run which another continued as, are counted there.
    """
    batches = {
        event.marker_recorded_event_attributes.workflow_task_completed_event_id
        for event in events
        if event.marker_recorded_event_attributes.marker_name == _LOCAL
    }
    attempts = sum(event.activity_task_started_event_attributes.attempt for event in events)
    started = events[0].workflow_execution_started_event_attributes
    counted = started.HasField("parent_workflow_execution") or bool(started.continued_execution_run_id)
    return sum(_ACTIONS.get(event.event_type, 0) for event in events) + attempts + len(batches) - counted


def assumed(histories: Iterable[Sequence[HistoryEvent]]) -> Usage:
    """What the runs took, each by its history."""
    events = [event for history in histories for event in history]
    sizes = [size(history) for history in histories]
    attempts = [event.activity_task_started_event_attributes.attempt for event in events]
    models = sum(1 for event in events if _asks_model(event))
    return Usage(
        actions=sum(each.actions for each in sizes),
        events=len(events),
        bytes=sum(each.bytes for each in sizes),
        activities=sum(attempts),
        local_activities=sum(event.marker_recorded_event_attributes.marker_name == _LOCAL for event in events),
        timers=sum(event.event_type == EventType.EVENT_TYPE_TIMER_STARTED for event in events),
        children=sum(event.event_type == _CHILD for event in events),
        model_calls=models,
    )


def worst(histories: Iterable[Sequence[HistoryEvent]]) -> Usage:
    """The same way through the graph, with every attempt that there may be, and each answer heard by itself.

    Attempts but the last leave no events. What is heard at the same time shares the three events of a workflow task.
    """
    kept = [*histories]
    found = assumed(kept)
    scheduled = [event for history in kept for event in history if event.event_type == _SCHEDULED]
    more = [_attempts_left(event) for event in scheduled]
    of_models = [_attempts_left(event) for event in scheduled if _asks_model(event)]
    shared = sum(map(_shared_tasks, kept))
    tasks = [event for history in kept for event in history if event.event_type in _TASK]
    per_task = sum(event.ByteSize() for event in tasks) * len(_TASK) // max(1, len(tasks))
    return Usage(
        actions=_plus(found.actions, more),
        events=found.events + shared * len(_TASK),
        bytes=found.bytes + shared * per_task,
        activities=_plus(found.activities, more),
        local_activities=found.local_activities,
        timers=found.timers,
        children=found.children,
        model_calls=_plus(found.model_calls, of_models),
    )


def _plus(count: int | None, more: Iterable[int | None]) -> int | None:
    for each in more:
        count = None if count is None or each is None else count + each
    return count


def _attempts_left(event: HistoryEvent) -> int | None:
    """How often an activity may be tried beyond its first attempt; None without a limit."""
    most = event.activity_task_scheduled_event_attributes.retry_policy.maximum_attempts
    return most - 1 if most else None


def _asks_model(event: HistoryEvent) -> bool:
    return event.activity_task_scheduled_event_attributes.activity_type.name == _MODEL


def _shared_tasks(history: Sequence[HistoryEvent]) -> int:
    """How many workflow tasks were saved because one of them heard of several things."""
    heard = sum(event.event_type in _HEARD for event in history)
    tasks = sum(event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED for event in history)
    return max(0, heard + 1 - tasks)


_SCHEDULED: Final = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
_CHILD: Final = EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED
_TASK: Final = (
    EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
)
_HEARD: Final = frozenset(
    {
        EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT,
        EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED,
        EventType.EVENT_TYPE_TIMER_FIRED,
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED,
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED,
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED,
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
    }
)
_ACTIONS: Final[Mapping[int, int]] = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED: 1,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: 1,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: 1,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED: 1,
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: 1,
    EventType.EVENT_TYPE_TIMER_STARTED: 1,
    _CHILD: 2,
}
