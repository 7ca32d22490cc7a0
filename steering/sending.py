"""Updates are sent until the run has answered: a server or a worker that is away for a while loses none.

Each has an id, by which the server knows one that was sent before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from temporalio.client import (
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from anabranch.backoff import Backoff
from anabranch.errors import (
    AnabranchError,
    ConflictError,
    InputError,
    ReservedName,
    SchemaViolation,
    SizeLimitExceeded,
    TimedOut,
    Unavailable,
    VersionMismatch,
    WireFormatError,
    WriteRefused,
)
from anabranch.workflows.interpreter.event import Event
from anabranch.workflows.temporal.messages import EVENT
from anabranch.workflows.temporal.requests import Request

_PAUSES: Final = Backoff(first=0.5, longest=5)
_PASSING: Final = frozenset({RPCStatusCode.UNAVAILABLE, RPCStatusCode.RESOURCE_EXHAUSTED, RPCStatusCode.ABORTED})
_REFUSALS: Final = (
    ConflictError,
    InputError,
    ReservedName,
    SchemaViolation,
    SizeLimitExceeded,
    VersionMismatch,
    WireFormatError,
    WriteRefused,
)

Handle: TypeAlias = WorkflowHandle[Any, Any]
Ask: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]


async def send(handle: Handle, update: str, request: Request, *, update_id: str, within: float) -> dict[str, Any]:
    """The answer of the run.

    Raises TimedOut where none has come `within` so many seconds, what the run refuses it with, and InputError.
    """
    return await _persistent(
        lambda: handle.execute_update(update, dict(request), id=update_id), handle, update_id, within
    )


async def answered(handle: Handle, *, update_id: str, within: float) -> dict[str, Any] | None:
    """What the run answers to an update that was sent before; None where it has none of this id.

    Raises what `send` raises.
    """
    try:
        return await _persistent(lambda: handle.get_update_handle(update_id).result(), handle, update_id, within)
    except _Unknown:
        return None


async def signal(handle: Handle, name: str, *, by: str) -> None:
    """Send a signal, which the server keeps until a worker takes it. Raises InputError, Unavailable."""
    try:
        await handle.signal(name, {"by": by})
    except RPCError as error:
        raise unheard(error, handle.id) from error


async def deliver(handle: Handle, event: Event) -> None:
    """Send an event, which a run keeps in its mailbox until a node receives it. Raises InputError, Unavailable."""
    try:
        await handle.signal(EVENT, event.sent())
    except RPCError as error:
        raise unheard(error, handle.id) from error


async def cancel(handle: Handle, *, by: str) -> None:
    """Ask a run to end, and to undo what it did. Raises InputError, Unavailable."""
    try:
        await handle.cancel(reason=f"by {by}")
    except RPCError as error:
        raise unheard(error, handle.id) from error


class _Unknown(InputError):
    """The server has no such run in flight, or no such update."""


async def _persistent(ask: Ask, handle: Handle, update_id: str, within: float) -> dict[str, Any]:
    try:
        async with asyncio.timeout(within):
            return await _repeated(ask, handle)
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError from error
        raise TimedOut(
            f"the run has not answered within {within:g} s: it may still take the update, when a worker comes",
            place=handle.id,
            suggestion=f"start a worker; sent again with `--update-id {update_id}`, it is taken once",
        ) from error


async def _repeated(ask: Ask, handle: Handle) -> dict[str, Any]:
    pauses = iter(_PAUSES)
    while True:
        try:
            answer = await ask()
        except WorkflowUpdateFailedError as error:
            raise _refusal(error.cause) from error
        except RPCError as error:
            if error.status not in _PASSING:
                raise unheard(error, handle.id) from error
        else:
            return answer
        await asyncio.sleep(next(pauses))


def unheard(error: RPCError, workflow_id: str) -> AnabranchError:
    """What it means that a server does not hand on what is sent to a run."""
    if error.status is not RPCStatusCode.NOT_FOUND:
        return Unavailable(f"the Temporal server refuses: {error.message}", place=workflow_id)
    return _Unknown("the run is over", place=workflow_id, suggestion="look at it with `anabranch show`")


def _refusal(cause: BaseException | None) -> AnabranchError:
    """The error that a run refuses an update with."""
    if not isinstance(cause, ApplicationError):
        return Unavailable(f"the run did not carry it out: {cause}")
    kind = next((each for each in _REFUSALS if each.code == cause.type), InputError)
    return kind(cause.message)
