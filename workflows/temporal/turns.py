"""A node that a limit does not let begin waits for its turn, by an activity whose pauses the server holds.

The attempt that was refused did nothing: it is none of the retry policy's, whose rest is for the activity after it. A
run may continue as new meanwhile: the node's place in line is in Redis, under the name of its attempt.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, TypeVar

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    TimeoutError,  # noqa: A004 - Temporal's own name
    is_cancelled_exception,
)

from anabranch.context.values import Json
from anabranch.errors import NotYet, TurnNotYet, Unavailable
from anabranch.graph.policies import Defaults
from anabranch.transport.failures import TURN
from anabranch.transport.turn import ACTIVITY
from anabranch.workflows.interpreter.commands import RunNode
from anabranch.workflows.temporal.clock import Clock
from anabranch.workflows.temporal.failures import NeverScheduled, NotTaken, NoTurn
from anabranch.workflows.temporal.flow_control import FlowControl
from anabranch.workflows.temporal.node_options import Before, turn_options
from anabranch.workflows.temporal.outbox import Outbox, Ticket

T = TypeVar("T")
_NO_TURN_YET = frozenset({NotYet.code, Unavailable.code})


@dataclass(slots=True)
class _Waiting:
    """How far a node has come that had to wait."""

    attempts: int = 0
    """Those that began."""
    seconds: float = 0.0
    """That it has waited."""
    since: int | None = None
    """Since when it waits, in Unix milliseconds."""

    @property
    def is_in_doubt(self) -> bool:
        return self.attempts > 0


class _Refused(NamedTuple):
    """An attempt that a limit did not let begin."""

    turn: dict[str, Json]
    """What it waits for."""
    why: str
    begun: int
    """How many attempts before it began."""


class Turns:
    """The waits of one workflow run. `carried` is what the one before it handed on."""

    def __init__(
        self,
        defaults: Defaults,
        clock: Clock,
        outbox: Outbox,
        flow: FlowControl,
        value_of: Callable[[RawValue, type], Awaitable[Any]],
        *,
        tell: Callable[[str, str | None], None],
        carried: Mapping[str, Any] | None = None,
        execute: Callable[..., Awaitable[RawValue]] = workflow.execute_activity,
    ) -> None:
        self._defaults = defaults
        self._clock = clock
        self._outbox = outbox
        self._flow = flow
        self._value_of = value_of
        self._tell = tell
        self._execute = execute
        self._waiting = {address: _Waiting(**each) for address, each in (carried or {}).items()}

    def dump(self) -> dict[str, Any]:
        """What the next workflow run has to know of the nodes that wait."""
        now, waiting = self._clock.at, self._waiting.items()
        waits = {address: each for address, each in waiting if each.since is not None}
        return {
            address: asdict(replace(each, seconds=each.seconds + max(0, now - each.since) / 1000, since=None))
            for address, each in waits.items()
            if each.since is not None
        }

    async def in_turn(
        self, command: RunNode, ticket: Ticket, spent: float, attempt: Callable[[Before], Awaitable[T]]
    ) -> T:
        """What `attempt` comes to once the node's turn has come; it is given what has gone before it.

        `spent` are seconds that went into looking for a worker. Raises what the attempt does; NoTurn where the turn did
        not come in time, NeverScheduled where the node was cancelled before.
        """
        waiting = self._waiting.setdefault(command.address, _Waiting())
        try:
            while True:
                try:
                    return await attempt(Before(waiting.attempts, waiting.seconds + spent))
                except (ActivityError, ApplicationError) as error:  # that of a local activity comes as it is
                    if (refused := _refusal(error)) is None:
                        raise
                waiting.attempts = max(waiting.attempts, refused.begun)
                await self._wait(command, ticket, waiting, refused, spent)
        except NotTaken as error:
            error.is_in_doubt = error.is_in_doubt or waiting.is_in_doubt
            raise
        except NeverScheduled:
            if waiting.is_in_doubt:
                raise asyncio.CancelledError from None
            raise

    def over(self, address: str) -> None:
        """The node at an address waits no more."""
        self._waiting.pop(address, None)

    async def _wait(self, command: RunNode, ticket: Ticket, waiting: _Waiting, refused: _Refused, spent: float) -> None:
        """Until its turn has come. Raises NoTurn, NeverScheduled, and what a worker lacks."""
        node, before = command.planned.node, Before(waiting.attempts, waiting.seconds + spent)
        deadline = command.deadline and max(0.0, command.deadline - before.seconds)
        options = turn_options(node, self._defaults, undo=command.undo, deadline=deadline, before=before)
        waiting.since = self._clock.at
        self._tell(command.address, refused.why)
        try:
            async with self._flow.admit(ticket, len(json.dumps(refused.turn))):
                result = await self._execute(
                    ACTIVITY,
                    refused.turn,
                    result_type=RawValue,
                    activity_id=f"turn of {command.address}",
                    summary=f"{command.address} waits for its turn",
                    **options,
                )
            self._outbox.answered(ticket)
            seconds = await self._value_of(result, float)
        except (ActivityError, asyncio.CancelledError) as error:
            self._outbox.answered(ticket)
            raise _unmet(error, refused.why, is_in_doubt=waiting.is_in_doubt) from None
        finally:
            waiting.since = None
            self._tell(command.address, None)
        waiting.seconds += seconds


def _refusal(error: ActivityError | ApplicationError) -> _Refused | None:
    """What the node waits for; None where it failed."""
    cause = error.cause if isinstance(error, ActivityError) else error
    if not isinstance(cause, ApplicationError) or cause.type != TurnNotYet.code:
        return None
    told = cause.details[0] if cause.details and isinstance(cause.details[0], dict) else {}
    turn, attempt = told.get(TURN), told.get("attempt", 1)
    if not isinstance(turn, dict) or not isinstance(attempt, int):
        return None
    return _Refused(turn, cause.message, attempt - 1)


def _unmet(error: ActivityError | asyncio.CancelledError, why: str, *, is_in_doubt: bool) -> Exception:
    """What it comes to that its turn did not come; a failure of the worker that asked is left as it is."""
    if is_cancelled_exception(error):
        return NeverScheduled()
    cause = error.cause if isinstance(error, ActivityError) else None
    if isinstance(cause, TimeoutError) or (isinstance(cause, ApplicationError) and cause.type in _NO_TURN_YET):
        return NoTurn(why, is_in_doubt=is_in_doubt)
    return error if isinstance(error, Exception) else NeverScheduled()
