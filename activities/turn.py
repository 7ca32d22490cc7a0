"""Waits for the turn of a node that a limit did not let begin: an attempt asks once, and the server holds the pauses.

So an hour in a line is one activity in the history of a run, and no worker is busy with it between two attempts.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from temporalio import activity

from anabranch.activities.failures import as_application_errors, refuse_outside_of_runs
from anabranch.activities.guards.turns import Turns
from anabranch.errors import NotYet, Unavailable
from anabranch.transport.turn import ACTIVITY, Turn

_SHORTEST: Final = timedelta(milliseconds=20)
_LAST: Final = timedelta(milliseconds=500)
"""Before the time for it is over one asks again."""
_UNANSWERED: Final = timedelta(seconds=5)


class AwaitTurn:
    """The activity, by the limits of one worker."""

    def __init__(self, turns: Turns, elsewhere_seconds: float) -> None:
        self._turns = turns
        self._elsewhere_seconds = elsewhere_seconds

    @activity.defn(name=ACTIVITY)
    async def await_turn(self, wire: dict[str, Any]) -> float:
        """The seconds that have passed once its turn has come.

        Raises NotYet before, Unavailable where Redis does not answer; the server tries again after each.
        """
        info = activity.info()
        refuse_outside_of_runs(info)
        with as_application_errors(elsewhere_seconds=self._elsewhere_seconds):
            try:
                wait = await self._turns.ask(Turn.from_wire(wire))
            except Unavailable as error:
                error.retry_after = _in_time(info, _UNANSWERED)
                raise
            if wait is not None:
                raise NotYet(str(wait), retry_after=_in_time(info, timedelta(milliseconds=wait.pause)))
        return max(0.0, (datetime.now(UTC) - info.scheduled_time).total_seconds())  # of two clocks


def _in_time(info: activity.Info, pause: timedelta) -> timedelta:
    """The pause, or a shorter one where the time for all of them ends before: the server would give up at once."""
    if not info.schedule_to_close_timeout:
        return pause
    left = info.scheduled_time + info.schedule_to_close_timeout - datetime.now(UTC)
    return min(pause, max(_SHORTEST, left - _LAST))
