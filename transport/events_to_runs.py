"""The signal by which an event comes to a run, from whoever sends it."""

from __future__ import annotations

from typing import Any, Final

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from anabranch.errors import InputError, RunNotFound, Unavailable
from anabranch.limits import SERVER_NAME_BYTES

SIGNAL: Final = "event"
_REFUSED: Final = frozenset({RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.OUT_OF_RANGE})
_TOO_LARGE: Final = "larger than max"
"""What gRPC servers say of a message over 4 MiB, with a status that otherwise means to try later."""


async def send_event(client: Client, run: str, *, name: str, event_id: str, data: Any) -> None:
    """Send an event to the run with this workflow id. Raises RunNotFound, InputError where it is refused, Unavailable.

    It returns when Temporal has stored the event. What the run makes of it, only the run says.
    """
    check_run(run)
    try:
        await client.get_workflow_handle(run).signal(SIGNAL, {"name": name, "id": event_id, "data": data})
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise RunNotFound(
                f"no run {run!r} is under way", suggestion="send it when there is one; a run that is over hears nothing"
            ) from error
        if error.status in _REFUSED or _TOO_LARGE in error.message:
            raise InputError(f"Temporal refuses the event: {error.message}", place=event_id[:64]) from error
        raise Unavailable(f"Temporal does not take the event: {error.message}") from error


def check_run(run: str) -> None:
    """Raises InputError for what cannot be the id of a workflow."""
    if not run or not run.isprintable() or len(run.encode()) > SERVER_NAME_BYTES:
        raise InputError(
            f"{run[:64]!r} is not the workflow id of a run",
            suggestion=f"an id has 1 to {SERVER_NAME_BYTES} bytes, all of which print",
        )
