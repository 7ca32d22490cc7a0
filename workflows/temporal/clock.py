"""The time that the machine is told with each event."""

from __future__ import annotations

from temporalio import workflow


class Clock:
    """Of two events, the later one has the later time, in Unix milliseconds.

    Temporal's own time is the same for all events of one workflow task, and which events share a task may be another
    matter on replay (see `outbox`). Who wrote last must not depend on that.
    """

    def __init__(self, at: int = 0) -> None:
        self.at = at
        """The time of the newest event."""

    def tick(self, at: int | None = None) -> int:
        """The time of a new event: the current one, or the recorded one `at`."""
        self.at = max(self.at + 1, int(workflow.time() * 1000) if at is None else at)
        return self.at

    @property
    def now(self) -> int:
        """The time of something that is no event. Nothing may depend on it."""
        return max(self.at, int(workflow.time() * 1000))

    @property
    def ahead(self) -> float:
        """Seconds by which the newest event's time is later than Temporal's."""
        return max(0.0, self.at / 1000 - workflow.time())
