"""What Temporal's exceptions say of a node's outcome, and what a failed run says to Temporal."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final, Never

from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    TerminatedError,
    TimeoutError,  # noqa: A004 - Temporal's own name
    TimeoutType,
    is_cancelled_exception,
)

from anabranch.context.values import Json
from anabranch.display import one_line
from anabranch.errors import AnabranchError, NotYet, TimedOut
from anabranch.graph.revision import REVISION
from anabranch.transport.failures import UNDECODABLE
from anabranch.transport.node_protocol import PinnedGraph
from anabranch.workflows.interpreter.commands import (
    NO_EVENT,
    NO_TURN,
    NOT_STARTED,
    QUEUE_TIMEOUT,
    TERMINATED,
    Failure,
    FailureOutcome,
    Finish,
)
from anabranch.workflows.interpreter.excerpt import afterwards_that_fit

RUN_ENDING: Final = tuple(each for each in AnabranchError.__subclasses__() if not (each.retryable or each.elsewhere))
"""Errors that end a run. What may be retried fails the workflow task instead, which is tried again."""
_OVER: Final = frozenset({TimedOut.code, NotYet.code})
"""What tells of time that is over: a poll too that the server does not try again, since none is left for its pause."""
_ACTIVITY_TELLS = ("happened", UNDECODABLE)
RESULT_TOO_LARGE: Final = "PayloadsTooLarge"
"""The SDK's type for the failure of an activity that has returned what the server does not take."""
_ROOM: Final = 64 * 1024
"""Bytes of the error's details for what a `finally` wrote."""
_REASON: Final = 200
"""Characters of what a cancel gives as its reason."""
_CHILD_TELLS = ("not_compensated", "effects_left", UNDECODABLE)


class NeverScheduled(Exception):
    """Work was cancelled while it waited for its turn: the server never heard of it."""


class NoEvent(Exception):
    """No event came in time for a node that waits for one."""


class InDoubt(Exception):
    """Work failed with `error`, and an earlier try of it may have had its effect."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class NoTurn(Exception):
    """A limit did not let work begin in time; `is_in_doubt` where an attempt before had begun."""

    def __init__(self, why: str, *, is_in_doubt: bool) -> None:
        super().__init__(f"its turn did not come in time: {why}")
        self.is_in_doubt = is_in_doubt


class NotTaken(Exception):
    """No worker took an attempt from its task queue in time; `is_in_doubt` where an earlier attempt was taken."""

    def __init__(self, queue: str, *, is_in_doubt: bool) -> None:
        super().__init__(f"no worker took it from the task queue {queue!r} in time")
        self.is_in_doubt = is_in_doubt


def not_taken(error: ActivityError, queue: str) -> NotTaken | None:
    """NotTaken, where the error says that no worker took the activity.

    The server says so too where the time of all attempts is over. Its cause is how an attempt before failed.
    """
    cause = error.cause
    if isinstance(cause, TimeoutError) and cause.type is TimeoutType.SCHEDULE_TO_START:
        return NotTaken(queue, is_in_doubt=cause.cause is not None)
    return None


class NewerRevision(Exception):
    """Not one of our errors, which would end the run: this fails the workflow task, and another worker tries it."""


async def never_scheduled() -> Never:
    """Raises NeverScheduled, where a result would be awaited."""
    raise NeverScheduled


def check_revision(pinned: PinnedGraph) -> None:
    """Refuse a run whose revision this worker does not know. Raises NewerRevision."""
    if pinned.revision > REVISION:
        raise NewerRevision(
            f"this run of {pinned.name!r} is held to revision {pinned.revision} of the interpreter; "
            f"this worker knows none above {REVISION}: a newer worker goes on with it (during a rollout, start "
            f"the newer ones with ANABRANCH_INTERPRETER_REVISION={REVISION} until no older one is left)"
        )


def failure_of(error: BaseException, address: str) -> Failure:
    """The outcome that an exception of an activity, child workflow or timer stands for."""
    if isinstance(error, InDoubt):
        return replace(failure_of(error.error, address), happened=True)
    if isinstance(error, NotTaken):
        return Failure("timeout", QUEUE_TIMEOUT, f"node {address!r}: {error}", address, happened=error.is_in_doubt)
    if isinstance(error, NoTurn):
        return Failure("timeout", NO_TURN, f"node {address!r}: {error}", address, happened=error.is_in_doubt)
    if isinstance(error, NoEvent):
        return Failure("timeout", NO_EVENT, f"no event came for node {address!r} in time", address)
    return _failure_of(error, address)


def _failure_of(error: BaseException, address: str) -> Failure:
    if isinstance(error, NeverScheduled):
        return Failure("cancelled", NOT_STARTED, f"node {address!r} was cancelled before it started", address)
    cause = error.cause if isinstance(error, ActivityError | ChildWorkflowError) else error
    child = isinstance(error, ChildWorkflowError)
    if is_cancelled_exception(error) or isinstance(cause, CancelledError):
        # A child that leaves effects behind when it is cancelled fails, to tell (see `Driver.run`).
        happened = False if child else None
        return Failure("cancelled", "CANCELLED", f"node {address!r} was cancelled", address, happened=happened)
    if isinstance(cause, ApplicationError):
        told, code = tuple(cause.details), cause.type or "NODE_FAILED"
        outcome: FailureOutcome = "cancelled" if child and _cancelled(cause) else "failure"
        if code in _OVER and not child:
            outcome, code = "timeout", TimedOut.code
        happened, is_final = _told_effects(cause, child=child), _told_final(cause, child=child)
        return Failure(outcome, code, cause.message, address, told, happened, is_final)
    if isinstance(error, asyncio.TimeoutError):
        return Failure("timeout", "NO_ANSWER", f"nobody answered node {address!r} in time", address)
    if isinstance(cause, TimeoutError):
        kind = cause.type.name.lower().replace("_", " ") if cause.type is not None else ""
        return Failure("timeout", "TIMEOUT", f"node {address!r} timed out ({kind})", address)
    if isinstance(cause, TerminatedError):
        return Failure("timeout", TERMINATED, f"node {address!r} was terminated", address)
    if isinstance(cause, AnabranchError):
        return Failure("failure", cause.code, str(cause), address, happened=cause.happened or None)
    return Failure("failure", "NODE_FAILED", str(cause), address)


def cancelled(reason: str) -> str:
    """Says that a run was cancelled, with the reason that came with it: it often names who asked for it."""
    said = one_line(reason, _REASON)
    return f"the run was cancelled: {said}" if said else "the run was cancelled"


def run_error(finish: Finish, failure: Failure) -> ApplicationError:
    """The error that ends a failed run: its type is the error's code, its details name node, cause and saga."""
    details: dict[str, Json] = {
        "node": failure.node,
        "outcome": failure.outcome,
        "code": failure.code,
        "message": failure.message,
        "cause": list(failure.details),
        "compensated": list(finish.compensated),
        "not_compensated": [*finish.not_compensated],
    }
    if finish.effects_left:
        details["effects_left"] = True
    if finish.pivoted:
        details["pivoted"] = True
    if not failure.is_retryable:
        details["final"] = True
    if finish.reasons:
        details["reasons"] = {address: reason.root() for address, reason in finish.reasons.items()}
    if finish.afterwards is not None:
        details |= afterwards_that_fit(finish.afterwards, _ROOM)
    where = f"node {failure.node!r}: " if failure.node and repr(failure.node) not in failure.message else ""
    left = f"; not compensated: {', '.join(map(repr, finish.not_compensated))}" if finish.not_compensated else ""
    broken = "" if finish.afterwards is None or finish.afterwards.failure is None else "; its `finally` failed too"
    return ApplicationError(f"{where}{failure.message}{left}{broken}", details, type=failure.code, non_retryable=True)


def _told_effects(cause: ApplicationError, *, child: bool) -> bool | None:
    """Whether a child tells that not all of its own is undone; an activity that it failed after its effect, or before.

    A child that tells nothing was refused before anything of it had started.
    """
    if cause.type == RESULT_TOO_LARGE and not child:
        return True
    told = cause.details[0] if cause.details else None
    if not child and isinstance(told, dict) and told.get("happened") is False:
        return False
    names = _CHILD_TELLS if child else _ACTIVITY_TELLS
    left = isinstance(told, dict) and any(told.get(name) for name in names)
    return True if left else (False if child else None)


def _told_final(cause: ApplicationError, *, child: bool) -> bool:
    """Whether the error is not worth a retry. Every run that fails ends with one that Temporal does not retry."""
    told = cause.details[0] if cause.details else None
    if not isinstance(told, dict):
        return cause.non_retryable
    return bool(told.get("final", not child and cause.non_retryable))


def _cancelled(cause: ApplicationError) -> bool:
    """Whether a child failed because it was cancelled and not all of it is undone."""
    told = cause.details[0] if cause.details else None
    return cause.type == "CANCELLED" and isinstance(told, dict) and told.get("node") == ""
