"""The timers of the nodes that wait for an operator: the Web UI shows them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from temporalio import workflow

from anabranch.graph.fields import MAX_SECONDS
from anabranch.workflows.temporal.outbox import Outbox, Ticket, Underway


class Pauses:
    """A timer for each node that waits for an operator, for the same reasons as those of the inbox."""

    def __init__(self, outbox: Outbox, cancel: Callable[[Underway], None]) -> None:
        self._outbox, self._cancel = outbox, cancel
        self._timers: dict[str, Underway] = {}

    def mark(self, paused: Collection[str]) -> None:
        """These nodes wait now, and no others."""
        for address in [address for address in self._timers if address not in paused]:
            self._cancel(self._timers.pop(address))
        for address in paused:
            if address not in self._timers:
                ticket = Ticket()
                self._timers[address] = Underway(asyncio.create_task(self._pause(address, ticket)), ticket)

    async def _pause(self, address: str, ticket: Ticket) -> None:
        self._outbox.send(ticket)
        await workflow.sleep(MAX_SECONDS, summary=f"{address} is paused")
