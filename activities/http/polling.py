"""Polling: each poll is an attempt of the activity, which the server starts again after a pause.

So an hour of polls is one activity in the run's history, and no worker is busy with it between two of them. How far it
has come is in the heartbeats, which the server keeps from one attempt to the next.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from temporalio import activity

from anabranch.activities.heartbeat import keep, kept
from anabranch.activities.http.answers import Answer, retry_after
from anabranch.activities.http.call import Call
from anabranch.activities.http.sending import Ask
from anabranch.activities.rendering import holds
from anabranch.errors import AnabranchError, NotYet, TimedOut, Unavailable
from anabranch.graph.parts import Poll
from anabranch.transport.node_protocol import NodeTask


@dataclass(frozen=True, slots=True)
class _Place:
    """How far a node has come."""

    polls: int = 0
    """Answers so far."""
    failures: int = 0
    """Attempts since the last one, this one included."""

    @classmethod
    def before(cls) -> Self:
        found = kept()
        polls, failures = (found.get("polls"), found.get("failures")) if isinstance(found, dict) else (0, 0)
        return cls(polls, failures) if isinstance(polls, int) and isinstance(failures, int) else cls()


async def polled(task: NodeTask, poll: Poll, call: Call, ask: Ask) -> Answer:
    """The answer that is waited for.

    Raises NotYet while there is none, TimedOut where there will be none in time, Unavailable for too many failures.
    """
    before = _Place.before()
    place = _Place(before.polls, before.failures + 1)
    if before.failures >= poll.failures:
        raise _given_up(Unavailable(f"{call.method} got no answer, {before.failures} times in a row"))
    keep(asdict(place))  # a worker that dies with the request has failed too
    if place.polls:
        call = call.at(call.url, f"{task.key}#{place.polls}")  # the same key might bring the same answer back
    try:
        answer = await ask(call)
    except Unavailable as error:
        if place.failures >= poll.failures:
            raise _given_up(error) from None
        error.retry_after = _pause(poll, error.retry_after, f"the last answer was none: {error.message}")
        raise
    if await holds(poll.until, task, result=answer.result()):
        return answer
    keep(asdict(_Place(place.polls + 1)))
    asked = retry_after({name: str(value) for name, value in answer.headers.items()})
    told = f"`until` does not hold yet, at answer {place.polls + 1} (status {answer.status})"
    raise NotYet(told, retry_after=_pause(poll, asked, told))


def _pause(poll: Poll, asked: timedelta | None, told: str) -> timedelta:
    """The pause before the next poll. Raises TimedOut where there is no time for one."""
    pause = max(poll.every, asked or timedelta(0))
    info = activity.info() if activity.in_activity() else None
    if info is not None and info.schedule_to_close_timeout:
        left = info.scheduled_time + info.schedule_to_close_timeout - datetime.now(UTC)
        if pause >= left:
            raise _given_up(TimedOut(f"it waited in vain: {told}", suggestion="see `poll.timeout`"))
    return pause


def _given_up(error: AnabranchError) -> AnabranchError:
    error.is_last = True
    return error
