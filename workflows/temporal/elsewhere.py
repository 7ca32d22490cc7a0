"""What one worker lacks another may have: work that a worker cannot do is offered to all of them, for a bounded time.

A worker that lacks a graph, a node type, a handler or a variable says so, and for how many seconds it is worth looking
for another. That is in the history, and the seconds are counted in pauses, not by a clock: a replay ends alike.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias, TypeVar

from temporalio.exceptions import ActivityError, ApplicationError

from anabranch.limits import ELSEWHERE_SECONDS
from anabranch.transport.failures import ELSEWHERE
from anabranch.workflows.temporal.failures import InDoubt, NeverScheduled, NotTaken

T = TypeVar("T")
_Error: TypeAlias = ActivityError | ApplicationError | NotTaken

_FIRST_PAUSE = 0.25
_LONG_PAUSES = 12
"""How many pauses of the longest kind the time has room for; none is longer than it has to be."""
_LONGEST_PAUSE = 300.0
"""Seconds. Each attempt adds to the history, and a key that is back should be found soon."""
_NO_SUCH_ACTIVITY = "is not registered on this worker"
"""What the SDK says where a worker has no activity of a name."""


class Lack(NamedTuple):
    """What one worker lacked."""

    message: str
    """It names the worker."""
    seconds: float
    """For how long it is worth looking for another."""
    is_in_doubt: bool
    """Whether an attempt before, on another worker, may have had its effect."""


async def on_any_worker(
    attempt: Callable[[float], Awaitable[T]],
    *,
    pause: Callable[[float], Awaitable[None]],
    tell: Callable[[str | None], None],
    within: float = math.inf,
) -> T:
    """What `attempt` comes to on a worker that lacks nothing; at most `within` seconds go into looking for one.

    `attempt` is given the seconds that have gone, 0 the first time. `tell` hears what a worker lacks, and None once
    nobody looks for another any more. Raises what the last attempt raised; InDoubt where one before it may have had its
    effect.
    """
    search = _Search(within)
    try:
        while True:
            try:
                return await attempt(search.seconds)
            except (ActivityError, ApplicationError, NotTaken) as error:  # that of a local activity comes as it is
                lack = search.goes_on(error)
            tell(lack.message)
            await search.paused(pause, lack)
    except NeverScheduled:
        if search.is_in_doubt:
            raise asyncio.CancelledError from None
        raise
    finally:
        if search.seconds:
            tell(None)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@dataclass(slots=True)
class _Search:
    """How far the search for a worker has come."""

    within: float
    seconds: float = field(default=0.0, init=False)
    is_in_doubt: bool = field(default=False, init=False)

    def goes_on(self, error: _Error) -> Lack:
        """What the worker lacked. Raises the error, or one that says more, where no other worker is tried."""
        lack = lack_of(error)
        if lack is None or self.seconds >= min(lack.seconds, self.within):
            last = error if lack is None else _in_vain(error, lack, self.seconds)
            raise InDoubt(last) if self.is_in_doubt else last
        self.is_in_doubt = self.is_in_doubt or lack.is_in_doubt
        return lack

    async def paused(self, pause: Callable[[float], Awaitable[None]], lack: Lack) -> None:
        """Wait before the next attempt. Raises NeverScheduled where the work was cancelled before it ends."""
        if _is_cancelled():  # while the worker was about to say what it lacks
            raise NeverScheduled
        longest = min(_LONGEST_PAUSE, max(1.0, lack.seconds / _LONG_PAUSES))
        left = min(lack.seconds, self.within) - self.seconds
        seconds = min(self.seconds + _FIRST_PAUSE, longest, left)
        self.seconds += seconds
        try:
            await pause(seconds)
        except asyncio.CancelledError:
            raise NeverScheduled from None


def lack_of(error: _Error) -> Lack | None:
    """What the worker of a failed activity lacked; None where another one would fail too."""
    cause = error.cause if isinstance(error, ActivityError) else error
    if not isinstance(cause, ApplicationError):
        return None
    if cause.type == "NotFoundError" and _NO_SUCH_ACTIVITY in cause.message:
        who = f"worker {error.identity!r}: " if isinstance(error, ActivityError) else ""
        return Lack(who + cause.message, ELSEWHERE_SECONDS, is_in_doubt=False)
    told = cause.details[0] if cause.details and isinstance(cause.details[0], dict) else {}
    seconds = told.get(ELSEWHERE)
    if not isinstance(seconds, int | float) or seconds <= 0 or told.get("happened"):
        return None
    return Lack(cause.message, seconds, is_in_doubt=told.get("attempt", 1) > 1)


def _in_vain(error: _Error, lack: Lack, seconds: float) -> _Error:
    cause = error.cause if isinstance(error, ActivityError) else error
    if not seconds or not isinstance(cause, ApplicationError):
        return error
    separator = "\n  " if "\n" in lack.message else "; "
    message = f"{lack.message}{separator}no worker was found within {seconds:g} s that has it"
    return ApplicationError(message, *cause.details, type=cause.type, non_retryable=True)
