"""The events that are sent to a run: read, and told to the machine in the order in which they came.

Anybody may send one, so nothing that is wrong with one may fail the run, or its workflow task: it is refused, and a
warning of the run says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload

from anabranch.cipher import refused_plaintext
from anabranch.errors import AnabranchError
from anabranch.transport.undecodable import is_encrypted, is_stored
from anabranch.workflows.interpreter.commands import Command
from anabranch.workflows.interpreter.event import Event, event_of
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.temporal.clock import Clock
from anabranch.workflows.temporal.received import check_record, decoded


class Arrivals:
    """What is sent to one run. Where it `is_strict`, events in plain text are refused."""

    def __init__(
        self,
        machine: Machine,
        clock: Clock,
        dispatch: Callable[[list[Command]], None],
        heard: Callable[[], Coroutine[Any, Any, None]],
        *,
        is_strict: bool,
    ) -> None:
        self._machine = machine
        self._clock = clock
        self._dispatch = dispatch
        self._heard = heard
        self._is_strict = is_strict
        self._turn = asyncio.Lock()

    async def hear(self, payload: Payload) -> None:
        """Tell the machine of an event, once it may be told; or refuse what is none."""
        async with self._turn:
            try:
                event = await self._read(payload)
                await self._heard()
                await self._room()
                if self._machine.state.finished is None:
                    self._dispatch(self._machine.hear(event, self._clock.tick()))
            except AnabranchError as error:
                self._machine.refuse_event(error)
                self._dispatch([])

    async def _read(self, payload: Payload) -> Event:
        if self._is_strict and not is_encrypted(payload):
            raise refused_plaintext("event")
        if is_stored(payload) or is_encrypted(payload):
            await check_record(payload)
        return event_of(decoded(payload))

    async def _room(self) -> None:
        """Until the workflow task has room for the conditions of the nodes that wait."""
        state = self._machine.state
        while state.finished is None and state.budget.is_used_up:
            await workflow.wait_condition(lambda: state.finished is not None or not state.budget.is_used_up)
