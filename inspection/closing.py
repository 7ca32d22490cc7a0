"""How a workflow run ended, as its last event tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from temporalio.api.failure.v1 import Failure as FailureProto
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError, TimeoutError  # noqa: A004 - Temporal's

from anabranch.context.values import Json
from anabranch.inspection.history import History, time_of
from anabranch.workflows.temporal.failures import cancelled


@dataclass(frozen=True, slots=True)
class Closing:
    """The end of a workflow run. `at` is in Unix milliseconds."""

    kind: str
    """`completed`, `failed`, `cancelled`, `terminated`, `timed_out` or `continued`."""
    event_id: int
    at: int
    result: Json = None
    """What a completed run returned."""
    error: Mapping[str, Json] | None = None
    """Why it failed, as `describe_cause` says it."""


async def closing_of(history: History, converter: DataConverter) -> Closing | None:
    """How a workflow run ended; None while it runs."""
    if (kind := history.closed) is None:
        return None
    event, result, error = history.last, None, None
    if kind == "completed":
        payloads = event.workflow_execution_completed_event_attributes.result.payloads
        result = (await converter.decode(payloads))[0] if payloads else None
    elif kind == "failed":
        failure = FailureProto()
        failure.CopyFrom(event.workflow_execution_failed_event_attributes.failure)
        error = describe_cause(await converter.decode_failure(failure))
    elif kind == "terminated":
        reason = event.workflow_execution_terminated_event_attributes.reason
        message = "the run was terminated" + (f": {reason}" if reason else "")
        error = {"code": "TERMINATED", "message": message}
    elif kind == "cancelled":
        error = {"code": "CANCELLED", "message": cancelled(_reason(history))}
    elif kind == "timed_out":
        error = describe_cause(TimeoutError("", type=None, last_heartbeat_details=()))
    return Closing(kind, event.event_id, time_of(event), result, error)


def _reason(history: History) -> str:
    """What the cancel gave as its reason, which often names who asked for it."""
    asked = [each for each in history.events if each.HasField("workflow_execution_cancel_requested_event_attributes")]
    return asked[0].workflow_execution_cancel_requested_event_attributes.cause if asked else ""


def describe_cause(cause: BaseException | None) -> dict[str, Any]:
    """Why a run failed: code, message and, if the run named them, node, cause and what was compensated."""
    if isinstance(cause, ApplicationError):
        details = cause.details[0] if cause.details and isinstance(cause.details[0], Mapping) else {}
        return {"code": cause.type or "NODE_FAILED", "message": cause.message, **details}
    named: dict[type[BaseException], tuple[str, str]] = {
        CancelledError: ("CANCELLED", cancelled("")),
        TerminatedError: ("TERMINATED", "the run was terminated"),
        TimeoutError: ("TIMEOUT", "the run timed out"),
    }
    other = ("WORKFLOW_FAILED", str(cause))
    code, message = other if cause is None else named.get(type(cause), other)
    return {"code": code, "message": message}
