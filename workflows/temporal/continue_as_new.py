"""When a run continues as new: what runs is drained, for a while; then its state is weighed and handed on.

While a run drains, nothing new starts. What does not come to an end within some seconds must not hold back the rest of
the graph, so the run goes on then, and tries again when its history is half as long again. Only where the history nears
the length at which the server ends the run, it drains for as long as it takes; and there a state that is too large to
be handed on fails the run, with compensation, while there is still room for it.

How long the history is, and whether the server suggests to continue as new, the workflow does not see at the same
place on replay (see `outbox`). So a local activity is asked to say back what was seen, now and then: that is recorded.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, NamedTuple

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError

from anabranch.errors import SizeLimitExceeded
from anabranch.limits import PAYLOAD_HEADROOM_BYTES, RunLimits
from anabranch.transport.codec import ZstdCodec
from anabranch.transport.node_protocol import HistoryState
from anabranch.workflows.interpreter.commands import Command, Failure
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.temporal.clock import Clock
from anabranch.workflows.temporal.run_metrics import workflow_run_ends

FIRST_LOOK = 8
"""Answers to commands before the history is looked at first: many runs are over by then."""
_LOCAL = timedelta(seconds=10)
_UPGRADE = workflow.ContinueAsNewVersioningBehavior.AUTO_UPGRADE
"""Where workers have versions, a run that is pinned to one goes on with the current one. Its own revision stays."""


class _Size(NamedTuple):
    """Of a history."""

    events: int
    size: int
    """Bytes."""

    def is_beyond(self, other: _Size) -> bool:
        return self.events >= other.events or self.size >= other.size

    def later(self, end: _Size) -> _Size:
        """Half as much again, and the end at the latest."""
        return _Size(_later(self.events, end.events), _later(self.size, end.size))


class ContinueAsNew:
    """The attempts of one workflow run to continue as new."""

    def __init__(
        self,
        machine: Machine,
        clock: Clock,
        dispatch: Callable[[list[Command]], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        limits: RunLimits,
        *,
        heard: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._machine = machine
        self._state = machine.state
        self._clock = clock
        self._dispatch = dispatch
        self._spawn = spawn
        self._heard = heard
        self._limits = limits
        self._end = _Size(limits.history_events, limits.history_bytes)
        """A history that is so long is near the length at which the server ends the run."""
        self._answers = 0
        self._next_look = FIRST_LOOK
        self._next_attempt = _Size(0, 0)
        """How far the history must have come for it."""
        self._looks = 0
        self._weighed: bytes | None = None
        """The newest state that was found to be small enough."""

    @property
    def is_looking(self) -> bool:
        """Whether a local activity is under way that asks for the history.

        A run that ends would cancel it; and to one that continues as new its answer would still come, behind the end.
        """
        return self._looks > 0

    def count_answer(self) -> None:
        """A command was answered: the history has grown, and is looked at when it has by half or so."""
        self._answers += 1
        if self._answers >= self._next_look and self._may_drain and not self.is_looking:
            self._next_look = self._answers + max(FIRST_LOOK, self._answers // 2)
            self._spawn(self._look())

    async def run(self, carried: dict[str, Any]) -> None:
        """Continue as new. Returns where the state must be looked at again, or where it is too large."""
        # Nobody who starts a workflow knows the id of the run before it, so nobody can forge this.
        attached = {"carried": carried, "previous": workflow.info().run_id}
        (payload,) = workflow.payload_converter().to_payloads([attached])
        if self._weighed == payload.data or len(payload.data) <= self._limits.light_bytes:
            workflow_run_ends(self._state.plan.graph.name)
            workflow.continue_as_new(args=[{}, RawValue(payload)], initial_versioning_behavior=_UPGRADE)
        # Beside the workflow's own task: a cancellation of the run must not look like the answer of an activity.
        weighing = asyncio.create_task(self._weigh(payload, carried["machine"]))
        await workflow.wait_condition(weighing.done)
        weighing.result()

    async def _weigh(self, payload: Payload, state: dict[str, Any]) -> None:
        (encoded,) = await ZstdCodec().encode([payload])
        if await self._may_be_carried(payload, len(encoded.data)):
            self._weighed = payload.data  # something may have been heard meanwhile
            return
        reached, _ = await self._history()
        if reached.is_beyond(self._end):
            failure = Failure("failure", SizeLimitExceeded.code, _refusal(state, payload, encoded))
            self._dispatch(self._machine.fail(failure, self._clock.tick()))
        else:
            self._postpone(reached)

    async def _may_be_carried(self, payload: Payload, encoded: int) -> bool:
        if len(payload.data) > self._limits.decoded_bytes - PAYLOAD_HEADROOM_BYTES:
            return False
        try:
            allowed: bool = await workflow.execute_local_activity(
                "may_be_carried", encoded, result_type=bool, start_to_close_timeout=_LOCAL
            )
        except ActivityError:  # a worker that does not know
            return False
        return allowed

    @property
    def _may_drain(self) -> bool:
        state = self._state
        is_over = state.failure is not None or state.finished is not None or state.ending is not None
        return not state.is_draining and not is_over

    async def _look(self) -> None:
        reached, is_suggested = await self._history()
        await self._heard()
        if not (is_suggested and reached.is_beyond(self._next_attempt) and self._may_drain):
            return
        self._state.is_draining = True
        if not reached.is_beyond(self._end):
            self._spawn(self._lose_patience(self._next_attempt))

    async def _lose_patience(self, attempt: _Size) -> None:
        await workflow.sleep(self._limits.drain_seconds, summary="drain, to continue as new")
        reached, _ = await self._history()
        if attempt == self._next_attempt and self._state.failure is None and self._state.finished is None:
            self._postpone(reached)

    def _postpone(self, reached: _Size) -> None:
        self._next_attempt = reached.later(self._end)
        self._state.is_draining = False
        self._dispatch(self._machine.resume(self._clock.tick()))

    async def _history(self) -> tuple[_Size, bool]:
        """How far the history has come, and whether the server suggests to continue as new."""
        info = workflow.info()
        seen = HistoryState(
            info.get_current_history_length(), info.get_current_history_size(), info.is_continue_as_new_suggested()
        )
        self._looks += 1
        recorded: HistoryState = await workflow.execute_local_activity(
            "record_history", seen, result_type=HistoryState, start_to_close_timeout=_LOCAL
        )
        self._looks -= 1
        return _Size(recorded.events, recorded.size), recorded.is_suggested


def _later(now: int, end: int) -> int:
    return max(now + 1, min(now * 3 // 2, end))


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
