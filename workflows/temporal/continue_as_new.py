"""When a run continues as new: what runs is drained, for a while; then its state is weighed and handed on.

While a run drains, nothing new starts. What does not come to an end within `GRACE` must not hold back the rest of the
graph, so the run goes on then, and tries again when its history is half as long again. Only where the history nears the
length at which the server ends the run, it drains for as long as it takes; and there a state that is too large to be
handed on fails the run, with compensation, while there is still room for it.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.exceptions import ActivityError

from anabranch.errors import SizeLimitExceeded
from anabranch.transport.codec import MAX_DECODED_BYTES, ZstdCodec
from anabranch.workflows.interpreter.commands import Failure

if TYPE_CHECKING:
    from anabranch.workflows.interpreter.machine import Machine
    from anabranch.workflows.temporal.driver import GraphRun

GRACE = timedelta(seconds=10)
"""How long nothing new starts, unless the history is near its end."""
MAX_EVENTS = 25_600
MAX_BYTES = 25 * 1024 * 1024
"""Of the history: half of what the server ends a run at."""
LIGHT = 1024 * 1024
"""Bytes of JSON up to which a state is never too large, compressed or not."""
_HEADROOM = 64 * 1024
_WEIGHING = timedelta(seconds=10)


class Renewal:
    """The attempts of one workflow run to continue as new."""

    def __init__(self, run: GraphRun) -> None:
        self._run = run
        self._next = (0, 0)
        """Events and bytes of the history from which on the next attempt is made."""
        self._weighed: bytes | None = None
        """The newest state that was found to be small enough."""

    def consider(self, machine: Machine) -> None:
        """Begin to drain if it is time."""
        if machine.state.is_draining or machine.state.failure is not None or not self._is_beyond(*self._next):
            return
        if not workflow.info().is_continue_as_new_suggested():
            return
        machine.state.is_draining = True
        if not self._is_beyond(MAX_EVENTS, MAX_BYTES):
            self._run.begin(self._lose_patience(machine, self._next))

    async def hand_on(self, machine: Machine, carried: dict[str, Any]) -> None:
        """Continue as new. Returns where the state must be looked at again, or where it is too large."""
        arguments = [{}, {"carried": carried}]
        (payload,) = workflow.payload_converter().to_payloads(arguments[1:])
        if self._weighed == payload.data or len(payload.data) <= LIGHT:
            workflow.continue_as_new(args=arguments)
        (encoded,) = await ZstdCodec().encode([payload])
        weighing = asyncio.create_task(_may_be_carried(payload, len(encoded.data)))
        await workflow.wait_condition(weighing.done)
        if weighing.result():
            self._weighed = payload.data  # something may have been heard meanwhile
        elif self._is_beyond(MAX_EVENTS, MAX_BYTES):
            failure = Failure("failure", SizeLimitExceeded.code, _refusal(carried["machine"], payload, encoded))
            self._run.obey(machine.fail(failure, self._run.now()))
        else:
            self._postpone(machine)

    async def _lose_patience(self, machine: Machine, attempt: tuple[int, int]) -> None:
        await workflow.sleep(GRACE, summary="drain, to continue as new")
        if attempt == self._next and machine.state.failure is None and machine.state.finished is None:
            self._postpone(machine)

    def _postpone(self, machine: Machine) -> None:
        events, size = self._history()
        self._next = (_later(events, MAX_EVENTS), _later(size, MAX_BYTES))
        machine.state.is_draining = False
        self._run.obey(machine.resume(self._run.now()))

    def _is_beyond(self, events: int, size: int) -> bool:
        now = self._history()
        return now[0] >= events or now[1] >= size

    def _history(self) -> tuple[int, int]:
        info = workflow.info()
        return info.get_current_history_length(), info.get_current_history_size()


def _later(now: int, end: int) -> int:
    """Half as much again, and the end at the latest."""
    return max(now + 1, min(now * 3 // 2, end))


async def _may_be_carried(payload: Payload, encoded: int) -> bool:
    if len(payload.data) > MAX_DECODED_BYTES - _HEADROOM:
        return False
    try:
        allowed: bool = await workflow.execute_local_activity(
            "may_be_carried", encoded, result_type=bool, start_to_close_timeout=_WEIGHING
        )
    except ActivityError:  # a worker that does not know
        return False
    return allowed


def _refusal(state: dict[str, Any], payload: Payload, encoded: Payload) -> str:
    size = f"{len(payload.data)} bytes, {len(encoded.data)} as sent"
    told = SizeLimitExceeded(
        f"the run must continue as new, and its state ({size}) is over what can be handed on; {_largest(state)}",
        suggestion="keep large content elsewhere and write references to it, or give the workers a PAYLOAD_STORE_URL",
    )
    return str(told)


def _largest(state: dict[str, Any]) -> str:
    """What takes the most room: the values of a key, as far as lines of descent hold them, or a `foreach`'s items."""
    sizes: Counter[str] = Counter()
    roots, writes, _ = state["lines"]
    for root in roots:
        sizes.update({f"key {key!r}": _size(value) for key, value in root.items()})
    for path, value, *_ in writes:
        sizes[f"key {path[0]!r}"] += _size(value)
    for body in state["bodies"]:
        parts = (body["items"], body["changes"], body["values"])
        sizes[f"the items and results of node {body['address']!r}"] += sum(map(_size, parts))
    (name, size), *_ = sizes.most_common(1) or [("the graph", 0)]
    return f"the largest part is {name} with {size} bytes"


def _size(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":")))
