"""Changed payloads to a real worker process, by a real server: starts, signals, updates, queries, results of activities
and what a run hands on when it continues as new.

None may leave a run that goes on no more: its end comes, or it answers still and can be cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError
from temporalio.worker import Worker

from tests.attack.attack import Attack, Tally
from tests.attack.live import Target, target
from tests.attack.mutation import mutated, shown
from tests.attack.wires import CHANGES, CONVERTER, REQUESTS

GRAPHS = {
    "simple": "name: simple\nnodes:\n  a: {type: rule, rules: [{then: {x: 1}}]}\n",
    "asks": """
name: asks
context: {conflict_resolution: fail_on_conflict}
nodes:
  low: {type: rule, rules: [{then: {price: 1}}]}
  high: {type: rule, rules: [{then: {price: 2}}]}
  settle: {type: approval, prompt: settle}
  agree: {type: approval, prompt: agree, schema: {type: object, required: [agreed]}}
  broken: {type: rule, on_failure: pause, rules: [{then: {z: "{{ context.nope }}"}}]}
  hold: {type: wait, for: 2h}
edges:
  - {from: low, to: settle}
  - {from: high, to: settle}
""",
}
_AT_ONCE = 8
_ELSEWHERE = {
    f"elsewhere{lane}": f"name: elsewhere{lane}\nnodes:\n  a: {{type: python, handler: h, task_queue: raw-{lane}}}\n"
    for lane in range(_AT_ONCE)
}
"""A graph for each lane, whose only activity goes to a task queue that the lane serves."""
_UPDATES = ("resolve_conflict", "complete_task", "write_context", "retry_node", "skip_node", "fail_node", "nope", "__x")
_SIGNALS = ("pause", "resume", "unknown", "__temporal_x")
_QUERIES = ("status", "context", "history", "diagram", "nope", "__stack_trace", "__temporal_workflow_metadata")
_POISON = Payload(metadata={"encoding": b"binary/zstd"}, data=b"garbage")
_PER_RUN = 12
"""Messages to one waiting run; then comes the next, so that a run that is spoiled spoils few verdicts."""


@dataclass(slots=True)
class Waiting:
    """Runs that wait for messages."""

    on: Target
    heard: dict[str, int] = field(default_factory=dict)

    async def one(self) -> str:
        """A run that still answers."""
        for workflow_id, count in self.heard.items():
            if count < _PER_RUN:
                self.heard[workflow_id] += 1
                return workflow_id
        workflow_id = await self.on.start("asks", [])
        await self.on.not_answering(workflow_id)
        self.heard[workflow_id] = 1
        return workflow_id


async def run(tally: Tally, numbers: range) -> None:
    """Send the messages with these numbers."""
    async with target({**GRAPHS, **_ELSEWHERE}) as on:
        genuine = [CONVERTER.to_payloads([value])[0] for value in (*REQUESTS, {"x": 1}, CHANGES, None)]
        lanes = [Lane(on, tally, genuine, lane) for lane in range(_AT_ONCE)]
        for first in range(numbers.start, numbers.stop, _AT_ONCE):
            batch = range(first, min(first + _AT_ONCE, numbers.stop))
            planned = [lane.plan(number) for lane, number in zip(lanes, batch, strict=False)]
            await asyncio.gather(*(lane.send(*each) for lane, each in zip(lanes, planned, strict=False)))
        for lane in lanes:
            await lane.cancel_all()
        _alive(on, tally)
        await _control(on, tally)


def _alive(on: Target, tally: Tally) -> None:
    if not on.worker.processes():
        tally.judge("all messages", f"the worker has ended: {on.worker.stderr[-400:]}")


class Lane:
    """Sends one message after the other, to runs of its own."""

    def __init__(self, on: Target, tally: Tally, genuine: list[Payload], number: int) -> None:
        self._on = on
        self._number = number
        self._tally = tally
        self._genuine = genuine
        self._waiting = Waiting(on)
        self._wires: list[Callable[[str, Payload], Awaitable[str | None]]] = [
            self._start,
            self._start_by_input,
            self._signal,
            self._update,
            self._query,
            self._result,
            self._continue,
        ]

    def plan(self, number: int) -> tuple[int, str, Payload]:
        """What is sent; drawn here, in the order of the numbers."""
        rng = self._tally.rng
        name = rng.choice((_UPDATES, _SIGNALS, _QUERIES)[number % 3])
        payload = mutated(rng.choice(self._genuine), rng.choice(self._genuine), rng)
        return number, name, payload if rng.random() < 0.95 else _POISON

    async def send(self, number: int, name: str, payload: Payload) -> None:
        """Send it and judge what became of the run."""
        wire = self._wires[number % len(self._wires)]
        try:
            wrong = await wire(name, payload)
        except RPCError as error:
            self._tally.judge(f"{number}", None, refused=bool(error))
        else:
            self._tally.judge(f"{number} {wire.__name__} {name} {shown(payload)}", wrong)

    async def cancel_all(self) -> None:
        """Each run that was sent messages ends when it is cancelled."""
        for workflow_id in self._waiting.heard:
            handle = self._on.client.get_workflow_handle(workflow_id)
            if (await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
                await handle.cancel()
                self._tally.judge(f"cancel {workflow_id}", await self._on.not_ended(workflow_id))

    async def _start(self, _: str, payload: Payload) -> str | None:
        return await self._on.not_ended(await self._on.start("simple", [payload]))

    async def _start_by_input(self, _: str, payload: Payload) -> str | None:
        return await self._on.not_ended(await self._on.start("GraphWorkflow", [payload] * (1 + len(payload.data) % 2)))

    async def _signal(self, name: str, payload: Payload) -> str | None:
        workflow_id = await self._waiting.one()
        await self._on.signal(workflow_id, name if name in _SIGNALS else "pause", [payload])
        return await self._still_there(workflow_id)

    async def _update(self, name: str, payload: Payload) -> str | None:
        workflow_id = await self._waiting.one()
        with contextlib.suppress(RPCError):  # an answer, too
            await self._on.update(workflow_id, name if name in _UPDATES else "write_context", [payload])
        return await self._still_there(workflow_id)

    async def _query(self, name: str, payload: Payload) -> str | None:
        workflow_id = await self._waiting.one()
        with contextlib.suppress(RPCError):  # an answer, too
            await self._on.query(workflow_id, name if name in _QUERIES else "status", [payload])
        return await self._still_there(workflow_id)

    async def _result(self, _: str, payload: Payload) -> str | None:
        workflow_id = await self._on.start(f"elsewhere{self._number}", [])
        await self._on.complete_activity(f"raw-{self._number}", payload)
        return await self._on.not_ended(workflow_id)

    async def _continue(self, _: str, payload: Payload) -> str | None:
        queue = f"raw-{uuid.uuid4().hex}"
        workflow_id = await self._on.start("simple", [], queue=queue)
        await self._on.continue_as_new(queue, "simple", [*CONVERTER.to_payloads([{}]), payload])
        return await self._on.not_ended(workflow_id)

    async def _still_there(self, workflow_id: str) -> str | None:
        return await self._on.not_answering(workflow_id)


@workflow.defn(sandboxed=False)
class Careless:
    """Does what a run must not: a bad input fails its workflow task."""

    @workflow.run
    async def run(self, given: dict[str, Any]) -> None:
        """Raises KeyError."""
        given["nothing"]


async def _control(on: Target, tally: Tally) -> None:
    async with Worker(on.client, task_queue="careless", workflows=[Careless]):
        workflow_id = await on.start("Careless", CONVERTER.to_payloads([{}]), queue="careless")
        wrong = await on.not_ended(workflow_id)
    tally.control("a run whose task fails again and again", seen=wrong is not None)


MESSAGES = Attack("messages", run, small=210, release=7_000, chunk=700)
