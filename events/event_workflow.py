"""`EventWorkflow`: runs a graph for one event and publishes the outcome. Temporal guarantees both.

An event is acknowledged when this workflow has started. From then on it is Temporal that remembers that the result is
still to be published, however often the process that consumes and publishes dies.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    FailureError,
    WorkflowAlreadyStartedError,
)

with workflow.unsafe.imports_passed_through():
    from anabranch.display import code_span
    from anabranch.graph.policies import Conflict, Reuse
    from anabranch.transport.starting import REUSE

PUBLISH = "publish_event"
_TERMINATING = WorkflowIDReusePolicy.TERMINATE_IF_RUNNING
"""Of child workflows the server knows this one alone, without a policy for conflicts."""
_ATTEMPT = timedelta(seconds=10)
_RETRIES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30))


@dataclass(frozen=True, slots=True)
class EventContext:
    """A context as JSON has it; times are Unix milliseconds."""

    session_id: str
    data: dict[str, Any]  # not Json: a union with int would have Temporal cut 2.5 to 2
    created_at: int
    updated_at: int
    version: int
    modified_by: str | None = None
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class EventRun:
    """What is to be done for an event. `results` is the topic of the results, `failures` the one of dead letters."""

    graph: str
    event_id: str
    task_queue: str
    context: EventContext
    format: str
    position: str
    results: str | None
    failures: str
    trace: dict[str, str] = field(default_factory=dict)
    own_id: str | None = None
    """The workflow id that the graph gives the run; None where it is made of the event's id."""
    reuse: Reuse = "reject_duplicate"
    conflict: Conflict = "fail"

    @property
    def run(self) -> str:
        """The run's workflow id."""
        return self.own_id or run_id(self.graph, self.event_id)


@dataclass(frozen=True, slots=True)
class Publication:
    """What the activity `publish_event` publishes; with a `code`, a dead letter.

    `context` is what is published: the one in `run` is without its data, for two may exceed what an activity accepts.
    """

    topic: str
    run: EventRun
    context: EventContext
    code: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class EventOutcome:
    """The outcome of an event: the run's workflow id, and where its result or its failure was published."""

    run: str
    status: str
    topic: str | None


def run_id(graph: str, event_id: str) -> str:
    """The workflow id of the run that an event starts. No graph's name holds a colon."""
    return f"{graph}:{event_id}"


def event_workflow_id(graph: str, event_id: str) -> str:
    """The workflow id of the `EventWorkflow` around that run. No graph's name holds a slash."""
    return f"event/{graph}:{event_id}"


@workflow.defn(name="EventWorkflow")
class EventWorkflow:
    """Runs the graph as a child workflow, then publishes its context, or a dead letter with the reason."""

    @workflow.run
    async def run(self, event: EventRun) -> EventOutcome:
        """Ends when the broker has the result."""
        try:
            result = await self._result(event)
        except WorkflowAlreadyStartedError:
            return EventOutcome(event.run, "existing", None)
        if isinstance(result, Publication):
            return await self._dead_letter(event, result)
        if event.results is None:
            return EventOutcome(event.run, "completed", None)
        try:
            await _publish(Publication(event.results, _without_data(event), _after(event, result)))
        except ActivityError as error:
            return await self._dead_letter(event, _letter(event, error))
        return EventOutcome(event.run, "completed", event.results)

    async def _result(self, event: EventRun) -> dict[str, Any] | Publication:
        """What the run came to. Raises WorkflowAlreadyStartedError where the one that has its id will do."""
        try:
            result: dict[str, Any] = await workflow.execute_child_workflow(
                event.graph,
                event.context.data,
                id=event.run,
                task_queue=event.task_queue,
                id_reuse_policy=_TERMINATING if event.conflict == "terminate_existing" else REUSE[event.reuse],
                parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
                static_summary=f"event {code_span(event.event_id)}",
            )
        except FailureError as error:
            if isinstance(error, WorkflowAlreadyStartedError) and event.conflict == "use_existing":
                raise
            return _letter(event, error)
        return result

    async def _dead_letter(self, event: EventRun, letter: Publication) -> EventOutcome:
        await _publish(letter)
        return EventOutcome(event.run, letter.code or "failed", letter.topic)


async def _publish(publication: Publication) -> None:
    await workflow.execute_activity(
        PUBLISH,
        publication,
        start_to_close_timeout=_ATTEMPT,
        retry_policy=_RETRIES,
        summary=f"to {publication.topic}",
    )


def _after(event: EventRun, result: dict[str, Any]) -> EventContext:
    """The event's context with what the run changed. The run's own versions begin at 1."""
    before = event.context
    return EventContext(
        session_id=before.session_id,
        data=result["data"],
        created_at=before.created_at,
        updated_at=int(workflow.now().timestamp() * 1000),
        version=before.version + int(result["version"]) - 1,
        modified_by=event.graph,
        tags=before.tags,
    )


def _letter(event: EventRun, error: FailureError) -> Publication:
    code, reason = _why(error)
    return Publication(event.failures, _without_data(event), event.context, code, reason)


def _without_data(event: EventRun) -> EventRun:
    return replace(event, context=replace(event.context, data={}))


def _why(error: FailureError) -> tuple[str, str]:
    """Code and message of what ended a run or a publication."""
    if isinstance(error, WorkflowAlreadyStartedError):
        return "ALREADY_STARTED", f"a run {error.workflow_id!r} exists that this event did not start"
    cause = error.cause if isinstance(error, ChildWorkflowError | ActivityError) else error
    if isinstance(cause, ApplicationError):
        return cause.type or "WORKFLOW_FAILED", cause.message
    return type(cause).__name__.removesuffix("Error").upper(), str(cause)
