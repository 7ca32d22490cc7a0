"""What the workflow has sent to the server, and how much of it is known to be in the history.

A command is in the history once the workflow task that sent it is over. Workflow code must not ask whether it is: on
replay, workflow tasks in which nothing was sent are one with the next, and the result of a local activity comes in the
task that recorded it, where the first time it may have come in the task after that (a query ends a task at any moment).
What has one order in the first run and in every replay are the events themselves. So the answer of the server to a
command is the evidence: that command is in the history, and so is everything that was sent before it. Where no answer
is to be expected soon, a timer of a millisecond gives one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from temporalio import workflow

_SOON = timedelta(milliseconds=1)


class _Total(NamedTuple):
    """What was sent since the run began."""

    commands: int = 0
    inputs: int = 0
    """Bytes, of activities and children."""
    results: int = 0
    """Bytes, of local activities: the server gets them with the next command."""


@dataclass(slots=True, eq=False)
class Ticket:
    """A command of the workflow, sent or about to be."""

    total: _Total | None = field(default=None, init=False)
    """What was sent up to and with it; None until it is sent."""


@dataclass(slots=True, eq=False)
class Underway:
    """Something that can be cancelled, once the server knows it."""

    task: asyncio.Task[None]
    ticket: Ticket
    is_cancelled: bool = field(default=False, init=False)


class Outbox:
    """The commands of one workflow run. Those of local activities are not among them, only their results."""

    def __init__(self) -> None:
        self._sent = _Total()
        self._recorded = _Total()
        self._flushing: asyncio.Task[None] | None = None

    @property
    def inputs(self) -> int:
        """Bytes of inputs that may still be in the current workflow task."""
        return self._sent.inputs - self._recorded.inputs

    @property
    def results(self) -> int:
        """Bytes of local results that may still be in the current workflow task."""
        return self._sent.results - self._recorded.results

    def send(self, ticket: Ticket, size: int = 0) -> None:
        """The command is sent now, with an input of `size` bytes."""
        commands, inputs, results = self._sent
        ticket.total = self._sent = _Total(commands + 1, inputs + size, results)

    def note_result(self, size: int) -> None:
        """A local activity has had a result of `size` bytes."""
        commands, inputs, results = self._sent
        self._sent = _Total(commands, inputs, results + size)

    def answered(self, ticket: Ticket) -> None:
        """The server has answered the command."""
        if ticket.total is not None:
            self._recorded = max(self._recorded, ticket.total)

    async def recorded(self, ticket: Ticket) -> None:
        """Wait until the command is known to be in the history, if it was sent."""
        while ticket.total is not None and ticket.total > self._recorded:
            await self.flush()

    async def flush(self) -> None:
        """Wait for the next evidence: all that was sent before it began is in the history then."""
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        await asyncio.shield(self._flushing)

    async def _flush(self) -> None:
        ticket = Ticket()
        self.send(ticket)
        await workflow.sleep(_SOON)
        self.answered(ticket)
