"""What is counted in histories: Actions as Temporal Cloud bills them, and what the worst case adds."""

from __future__ import annotations

from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from anabranch.inspection.billing import actions, assumed, worst


def event(kind: str, **attributes: Any) -> HistoryEvent:
    found = HistoryEvent(event_type=EventType.Value(f"EVENT_TYPE_{kind}"))
    for name, fields in attributes.items():
        getattr(found, f"{name}_event_attributes").SetInParent()
        for field, value in fields.items():
            setattr(getattr(found, f"{name}_event_attributes"), field, value)
    return found


START = event("WORKFLOW_EXECUTION_STARTED", workflow_execution_started={})
TASK = [event(f"WORKFLOW_TASK_{each}") for each in ("SCHEDULED", "STARTED", "COMPLETED")]


def marker(task: int) -> HistoryEvent:
    name = {"marker_name": "core_local_activity", "workflow_task_completed_event_id": task}
    return event("MARKER_RECORDED", marker_recorded=name)


def activity(name: str, most: int, attempt: int = 1) -> list[HistoryEvent]:
    scheduled = event("ACTIVITY_TASK_SCHEDULED", activity_task_scheduled={})
    scheduled.activity_task_scheduled_event_attributes.activity_type.name = name
    scheduled.activity_task_scheduled_event_attributes.retry_policy.maximum_attempts = most
    started = event("ACTIVITY_TASK_STARTED", activity_task_started={"attempt": attempt})
    return [scheduled, started, event("ACTIVITY_TASK_COMPLETED")]


def test_local_activities_of_one_workflow_task_are_one_action() -> None:
    assert actions([START, *TASK, marker(4), marker(4), marker(9)]) == 1 + 2


def test_attempts_timers_updates_and_changes_of_search_attributes_are_an_action_each() -> None:
    more = [event(each) for each in ("TIMER_STARTED", "WORKFLOW_EXECUTION_UPDATE_ACCEPTED")]
    more.append(event("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES"))
    assert actions([START, *activity("rule", 5, attempt=3), *more]) == 1 + 3 + 3


def test_a_child_is_two_and_its_own_start_none() -> None:
    parent = [START, event("START_CHILD_WORKFLOW_EXECUTION_INITIATED")]
    child = event("WORKFLOW_EXECUTION_STARTED", workflow_execution_started={})
    child.workflow_execution_started_event_attributes.parent_workflow_execution.workflow_id = "p"
    assert (actions(parent), actions([child])) == (3, 0)
    both = assumed([parent, [child]])
    assert (both.actions, both.children, both.events) == (3, 1, 3)


def test_a_run_that_continues_as_new_is_one_more_and_not_two() -> None:
    first = [START, event("WORKFLOW_EXECUTION_CONTINUED_AS_NEW")]
    second = event("WORKFLOW_EXECUTION_STARTED", workflow_execution_started={"continued_execution_run_id": "r"})
    assert assumed([first, [second]]).actions == 2


def test_at_worst_each_activity_has_all_of_its_attempts() -> None:
    history = [START, *TASK, *activity("ai", 4), *TASK, *activity("rule", 2), *TASK]
    found, most = assumed([history]), worst([history])
    assert (found.activities, found.model_calls, found.actions) == (2, 1, 3)
    assert (most.activities, most.model_calls, most.actions, most.events) == (6, 4, 7, found.events)


def test_without_a_limit_of_attempts_there_is_none_at_worst() -> None:
    most = worst([[START, *TASK, *activity("http", 0), *TASK, *activity("ai", 2), *TASK]])
    assert (most.activities, most.actions, most.model_calls) == (None, None, 2)


def test_at_worst_what_was_heard_at_once_is_heard_one_by_one() -> None:
    one, other = activity("rule", 1), activity("rule", 1)
    together = [START, *TASK, one[0], other[0], one[1], other[1], one[2], other[2], *TASK]
    assert worst([together]).events == assumed([together]).events + 3
