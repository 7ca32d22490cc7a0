"""What only events tell of a run's nodes: attempts, workers, failures on the way, child workflows, and event ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from temporalio.api.failure.v1 import Failure as FailureProto
from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from anabranch.inspection.history import History, time_of

_ENDS = {
    "activity_task_completed_event_attributes": "completed",
    "activity_task_failed_event_attributes": "failed",
    "activity_task_timed_out_event_attributes": "timed_out",
    "activity_task_canceled_event_attributes": "cancelled",
}
_CHILD_ENDS = {
    "child_workflow_execution_completed_event_attributes": "completed",
    "child_workflow_execution_failed_event_attributes": "failed",
    "child_workflow_execution_canceled_event_attributes": "cancelled",
    "child_workflow_execution_timed_out_event_attributes": "timed_out",
    "child_workflow_execution_terminated_event_attributes": "terminated",
}


@dataclass(frozen=True, slots=True)
class Told:
    """An error as an event holds it."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Activity:
    """One activity of a node, with all of its attempts. Times are Unix milliseconds.

    A history tells of its start and its attempts only once it is over.
    """

    address: str
    queue: str
    scheduled_event: int
    scheduled: int
    attempt: int = 0
    """The number of attempts; 0 while the history does not tell."""
    started: int | None = None
    """When the last attempt started."""
    worker: str = ""
    ended: int | None = None
    ended_event: int | None = None
    outcome: str | None = None
    """In one word; None while it runs."""
    failure: Told | None = None
    """Why it failed, or why the attempt before the last one did."""


@dataclass(frozen=True, slots=True)
class Child:
    """The child workflow of a node."""

    address: str
    workflow_id: str
    run_id: str | None = None
    outcome: str | None = None


@dataclass(slots=True)
class NodeEvents:
    """What a history's events tell, by the address of the node."""

    activities: list[Activity] = field(default_factory=list)
    children: dict[str, Child] = field(default_factory=dict)
    event_ids: dict[str, list[int]] = field(default_factory=dict)


async def node_events(history: History, converter: DataConverter) -> NodeEvents:
    """Go through the events of a history."""
    reader = _Reader(history, converter)
    for event in history.events:
        await reader.read(event)
    return reader.found


class _Reader:
    def __init__(self, history: History, converter: DataConverter) -> None:
        self._converter = converter
        self._prefix = f"{history.workflow_id}/"
        self.found = NodeEvents()
        self._places: dict[int, int] = {}
        """Places of activities in the list, by the event that scheduled them."""
        self._timers: dict[int, str] = {}
        self._initiated: dict[int, str] = {}

    async def read(self, event: HistoryEvent) -> None:
        """Note one event."""
        kind = event.WhichOneof("attributes") or ""
        if kind.startswith("activity_task_"):
            await self._activity(event, kind)
        elif "child_workflow_execution" in kind:
            self._child(event, kind)
        elif kind.startswith("timer_"):
            await self._timer(event, kind)

    async def _activity(self, event: HistoryEvent, kind: str) -> None:
        attributes = getattr(event, kind)
        if kind == "activity_task_scheduled_event_attributes":
            self._places[event.event_id] = len(self.found.activities)
            address, queue = attributes.activity_id, attributes.task_queue.name
            self.found.activities.append(Activity(address, queue, event.event_id, time_of(event)))
            self._note(address, event)
            return
        if (place := self._places.get(attributes.scheduled_event_id)) is None:
            return
        activity = self.found.activities[place]
        self._note(activity.address, event)
        if kind == "activity_task_started_event_attributes":
            failure = await self._told(attributes.last_failure) if attributes.HasField("last_failure") else None
            activity = replace(
                activity,
                attempt=attributes.attempt,
                started=time_of(event),
                worker=attributes.identity,
                failure=failure,
            )
        elif (outcome := _ENDS.get(kind)) is not None:
            failure = activity.failure
            if outcome in {"failed", "timed_out"}:
                failure = await self._told(attributes.failure)
            ended, number = time_of(event), event.event_id
            activity = replace(activity, ended=ended, ended_event=number, outcome=outcome, failure=failure)
        self.found.activities[place] = activity

    def _child(self, event: HistoryEvent, kind: str) -> None:
        attributes = getattr(event, kind)
        if kind == "start_child_workflow_execution_initiated_event_attributes":
            workflow_id: str = attributes.workflow_id
            address = workflow_id.removeprefix(self._prefix)
            self._initiated[event.event_id] = address
            self.found.children[address] = Child(address, workflow_id)
            self._note(address, event)
            return
        if (started := self._initiated.get(attributes.initiated_event_id)) is None:
            return
        child = self.found.children[started]
        self._note(started, event)
        if (outcome := _CHILD_ENDS.get(kind)) is not None:
            child = replace(child, outcome=outcome)
        run_id = attributes.workflow_execution.run_id
        self.found.children[started] = replace(child, run_id=run_id or child.run_id)

    async def _timer(self, event: HistoryEvent, kind: str) -> None:
        """A timer's summary names the node that it belongs to."""
        if kind == "timer_started_event_attributes":
            if not event.user_metadata.HasField("summary"):
                return
            (summary,) = await self._converter.decode([event.user_metadata.summary])
            if isinstance(summary, str):
                address = summary.removeprefix("timeout of ").partition(" ")[0].removesuffix(":")
                self._timers[event.event_id] = address
                self._note(address, event)
        elif address := self._timers.get(getattr(event, kind).started_event_id, ""):
            self._note(address, event)

    def _note(self, address: str, event: HistoryEvent) -> None:
        self.found.event_ids.setdefault(address, []).append(event.event_id)

    async def _told(self, failure: FailureProto) -> Told:
        copied = FailureProto()
        copied.CopyFrom(failure)
        return told(await self._converter.decode_failure(copied))


def told(error: BaseException) -> Told:
    """An error of the SDK as data."""
    if isinstance(error, ApplicationError):
        return Told(error.type or "FAILED", error.message)
    return Told(type(error).__name__.removesuffix("Error").upper(), str(error))


def by_address(activities: Sequence[Activity]) -> Mapping[str, tuple[Activity, ...]]:
    """The activities of each node, the oldest first."""
    found: dict[str, list[Activity]] = {}
    for each in activities:
        found.setdefault(each.address, []).append(each)
    return {address: tuple(each) for address, each in found.items()}
