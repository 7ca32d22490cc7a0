"""What the machine asks of the world, as Temporal has it: activities, timers, children, people."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError

from anabranch.context.changes import ChangeSet
from anabranch.context.distributed import ContextMetadata, DistributedContext
from anabranch.context.values import Json
from anabranch.errors import AnabranchError, InputError, WireFormatError
from anabranch.graph.expressions.cost import Cost
from anabranch.graph.expressions.templates import compile_template
from anabranch.graph.load import named_graphs
from anabranch.graph.model import ActivityNode, AiNode, Graph
from anabranch.observe import metrics
from anabranch.transport.any_worker import for_any_worker
from anabranch.transport.node_protocol import ENCRYPTED_ONLY, SPENT, NodeTask
from anabranch.transport.segment import CANCELLED, Ran, Segment
from anabranch.workflows.interpreter.commands import (
    AskConflict,
    AskPerson,
    AwaitEvent,
    RunNode,
    StartChild,
    StartTimer,
    Work,
    Yield,
)
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.temporal.clock import Clock
from anabranch.workflows.temporal.elsewhere import on_any_worker
from anabranch.workflows.temporal.failures import NeverScheduled, NoEvent, not_taken
from anabranch.workflows.temporal.flow_control import FlowControl
from anabranch.workflows.temporal.identity import Identity
from anabranch.workflows.temporal.inbox import Inbox
from anabranch.workflows.temporal.node_options import (
    Before,
    attempt_timeout,
    is_limited,
    local_options,
    remote_options,
    runs_locally,
    total_timeout,
)
from anabranch.workflows.temporal.outbox import Outbox, Ticket
from anabranch.workflows.temporal.received import received
from anabranch.workflows.temporal.segments import Segments
from anabranch.workflows.temporal.turns import Turns
from anabranch.workflows.temporal.weighing import check_input

_SHORTEST = 0.001
"""Seconds. A timer of none would be no command, and what follows it would have no task of its own."""

_NOTHING = Payload(metadata={"encoding": b"binary/null"})
"""What an activity in another language may complete without."""


class Effects:
    """The effects of one workflow run."""

    def __init__(
        self,
        identity: Identity,
        clock: Clock,
        outbox: Outbox,
        flow: FlowControl,
        inbox: Inbox,
        *,
        state: RunState,
        tell: Callable[[str, str | None], None],
        tell_turn: Callable[[str, str | None], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        turns: Mapping[str, Any] | None = None,
    ) -> None:
        self._identity = identity
        self._defaults = identity.plan.graph.defaults
        self._clock = clock
        self._outbox = outbox
        self._flow = flow
        self._inbox = inbox
        self._tell = tell
        """Hears what a worker lacked for the work at an address, and None once that is over."""
        self._trail = state.trail
        self.segments = Segments(state, self._defaults, flow, self._task, self._result, spawn=spawn)
        self.turns = Turns(self._defaults, clock, outbox, flow, self._result, tell=tell_turn, carried=turns)
        self._pinned: dict[str, list[Any]] = {}
        """What children are held to, by the name of their graph."""

    def of(self, command: Work | Yield, ticket: Ticket) -> Coroutine[Any, Any, Any]:
        """What a command asks for, to be awaited; it raises what `failures.failure_of` understands."""
        if isinstance(command, RunNode):
            return self._activity(command, ticket)
        if isinstance(command, StartTimer):
            return self._timer(command, ticket)
        if isinstance(command, Yield):
            return self._outbox.flush()
        if isinstance(command, StartChild):
            return self._child(command, ticket)
        return self._answer(command, ticket)

    async def _activity(self, command: RunNode, ticket: Ticket) -> ChangeSet | Json:
        """The node's work, on a worker that lacks nothing that it needs."""
        node = command.planned.node
        total = total_timeout(node, self._defaults, undo=command.undo)
        is_local = runs_locally(node, self._defaults)

        def attempt(spent: float) -> Coroutine[Any, Any, RawValue | ChangeSet | None]:
            if not is_limited(node):
                return begin(spent, Before(seconds=spent))
            return self.turns.in_turn(command, ticket, spent, partial(begin, spent))

        def begin(spent: float, before: Before) -> Coroutine[Any, Any, RawValue | ChangeSet | None]:
            # A local activity never leaves its worker.
            if is_local and not spent:
                return self._local(command, before)
            return self._remote(command, ticket, before, anybody=spent > 0)

        try:
            result = await on_any_worker(
                attempt,
                pause=partial(self._pause, command.address, ticket),
                tell=partial(self._tell, command.address),
                within=min(command.deadline or math.inf, math.inf if total is None else total.total_seconds()),
            )
        finally:
            self.turns.over(command.address)
        if isinstance(result, ChangeSet):
            return result
        hint = None if isinstance(node, ActivityNode) else ChangeSet
        changed: ChangeSet | Json = await self._result(result, hint)
        return changed

    async def _local(self, command: RunNode, before: Before) -> RawValue | ChangeSet:
        """What a local node came to, in a segment or by itself. Raises NeverScheduled where it never had its turn."""
        segments, told = self.segments, None
        segments.running += 1
        try:
            if (done := await segments.ran(command)) is not None:
                if done.ran.changes is not None:
                    return done.ran.changes
                told = await _failed(done.ran)
            return await self._by_itself(command, told, before)
        finally:
            segments.running -= 1

    async def _by_itself(self, command: RunNode, told: dict[str, Json] | None, before: Before) -> RawValue:
        """The result of a local activity. Its first attempt fails as it is `told` to: that was made in a segment."""
        node, begun = command.planned.node, False
        deadline = command.deadline and max(0.0, command.deadline - before.seconds)
        args: list[Any] = [self._task(command, before.attempts)]
        if told is not None:
            args.append(Segment(attempt_timeout(node, self._defaults).total_seconds(), told=told))
        try:
            async with self._flow.admit_local() as note:
                begun = True
                result: RawValue = await workflow.execute_local_activity(
                    f"{metrics.node_label(command.address)} ({node.type})",  # the SDK's metrics have it as a label
                    args=args,
                    result_type=RawValue,
                    activity_id=command.address,
                    summary=command.address,
                    **local_options(node, self._defaults, undo=command.undo, deadline=deadline, before=before),
                )
                note(len(result.payload.data))
                return result
        except asyncio.CancelledError:
            if begun:
                raise
            raise NeverScheduled from None

    async def _remote(self, command: RunNode, ticket: Ticket, before: Before, *, anybody: bool) -> RawValue | None:
        """The result of an activity on a worker, `anybody` but that of this workflow task where others are to try it.

        Raises NeverScheduled where it did not come to its turn.
        """
        name, args = self._call(command, before.attempts)
        deadline = command.deadline and max(0.0, command.deadline - before.seconds)
        node, defaults = command.planned.node, self._defaults
        options = remote_options(node, defaults, undo=command.undo, deadline=deadline, before=before)
        payloads, sent = workflow.payload_converter().to_payloads(args), ticket.total
        size = sum(len(payload.data) for payload in payloads)
        try:
            await check_input(payloads, size)
            async with self._flow.admit(ticket, size):
                with for_any_worker() if anybody else nullcontext():
                    running: Awaitable[RawValue | None] = workflow.start_activity(
                        name,
                        args=[RawValue(payload) for payload in payloads],
                        result_type=RawValue,
                        activity_id=command.address,
                        summary=command.address,
                        **options,
                    )
                try:
                    return await _taken(running, options["task_queue"])
                finally:  # it is cancelled only where the server knows it (see `Driver`), so the server has answered
                    self._outbox.answered(ticket)
        except asyncio.CancelledError:
            if ticket.total is not sent:
                raise
            raise NeverScheduled from None

    def _call(self, command: RunNode, attempts: int) -> tuple[str, list[Any]]:
        """The activity's name and its arguments."""
        planned, node = command.planned, command.planned.node
        if not isinstance(node, ActivityNode):
            return node.type, [self._task(command, attempts)]
        cost = Cost.of(self._identity.pinned.limits.step_units)
        data = planned.seen(command.line.data, command.roots, cost)
        args = compile_template(_plain(node.args), planned.roots).render(data, command.roots, cost)
        return node.activity, args if isinstance(args, list) else [args]

    async def _pause(self, address: str, ticket: Ticket, seconds: float) -> None:
        self._outbox.send(ticket)
        await workflow.sleep(seconds, summary=f"{address} is tried by another worker")
        self._outbox.answered(ticket)

    async def _timer(self, command: StartTimer, ticket: Ticket) -> None:
        self._outbox.send(ticket)
        summary = command.address if command.attempt is None else f"{command.address}: attempt {command.attempt}"
        await workflow.sleep(max(_SHORTEST, command.seconds + self._clock.ahead), summary=summary)
        self._outbox.answered(ticket)

    async def _child(self, command: StartChild, ticket: Ticket) -> Json:
        workflow_id = self._identity.child_id(command.address, command.attempt)
        payloads = workflow.payload_converter().to_payloads([dict(command.data), self._pinned_by(command.graph)])
        size = sum(len(payload.data) for payload in payloads)
        try:
            await check_input(payloads, size)
            await self._flow.admit_child(ticket, size)
        except asyncio.CancelledError:
            raise NeverScheduled from None
        child = await workflow.start_child_workflow(
            command.graph,
            args=[RawValue(payload) for payload in payloads],
            result_type=RawValue,
            id=workflow_id,
            task_queue=command.planned.node.task_queue,
            static_summary=command.address,
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
            cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        self._outbox.answered(ticket)
        result = await self._result(await child)
        data: Json = result.get("data") if isinstance(result, dict) else None
        if not isinstance(data, dict):
            raise _happened(WireFormatError(f"the child workflow {command.graph!r} has not the result of a graph"))
        return data

    async def _answer(self, command: AskPerson | AskConflict | AwaitEvent, ticket: Ticket) -> Any:
        try:
            return await self._inbox.wait(command, ticket)
        except TimeoutError:
            if isinstance(command, AwaitEvent):
                raise NoEvent from None
            raise
        except asyncio.CancelledError:
            if isinstance(command, AskConflict):
                raise NeverScheduled from None  # the node has not gone beyond its join
            raise

    async def _result(self, result: RawValue | None, hint: type | None = None) -> Any:
        """The value of a result. Raises InputError where it cannot be decoded: its work has happened all the same."""
        encrypted_only = result is not None and ENCRYPTED_ONLY in self._identity.pinned.capabilities
        try:
            payload = _NOTHING if result is None else result.payload
            return await received(payload, hint, encrypted_only=encrypted_only)
        except InputError as error:
            raise _happened(error) from None

    def _task(self, command: RunNode, attempts: int = 0) -> NodeTask:
        """What crosses to a worker; `attempts` of it have begun in activities before."""
        planned, line, identity, now = command.planned, command.line, self._identity, self._clock.now
        reads = planned.reads
        data = line.data if reads is None else {key: line.data[key] for key in reads if key in line.data}
        metadata = ContextMetadata(identity.created_at, now, line.version)
        roots = {name: value for name, value in command.roots.items() if name != "run"}
        if isinstance(node := planned.node, AiNode) and node.budget is not None:
            roots[SPENT] = {name: usage.tokens for name, usage in self._trail.spent.items()}
        return NodeTask(
            address=command.address,
            node=planned.wire,
            context=DistributedContext(identity.session_id, data=data, metadata=metadata),
            run=identity.at(now, attempt=1 + attempts),
            key=command.key,
            reads=reads,
            roots=roots,
            revision=identity.pinned.revision,
        )

    def _pinned_by(self, graph: str) -> dict[str, Any]:
        # Nobody who starts a workflow knows the run that starts a child of it, so nobody can forge this.
        return {"pinned": self._held(graph), "parent": workflow.info().run_id}

    def _held(self, name: str) -> list[Any]:
        """What a child is held to: its graph, those that it leads to, and all that this run is held to."""
        if name not in self._pinned:
            reached = _reached_from(name, self._identity.plan.library)
            self._pinned[name] = self._identity.pinned.child(name, reached).to_wire()
        return self._pinned[name]


async def _taken(running: Awaitable[RawValue | None], queue: str | None) -> RawValue | None:
    """The result of an activity. Raises NotTaken where no worker took it from its queue, or the run's, in time."""
    try:
        return await running
    except ActivityError as error:
        if (waited := not_taken(error, queue or workflow.info().task_queue)) is not None:
            raise waited from None
        raise


async def _failed(ran: Ran) -> dict[str, Json] | None:
    """How a node failed. Waits, where it was cancelled with the run, until the machine does so too."""
    if ran.failure == CANCELLED:
        await asyncio.get_running_loop().create_future()
    return ran.failure


def _happened(error: AnabranchError) -> AnabranchError:
    error.happened = True
    return error


def _plain(args: tuple[Json, ...] | dict[str, Json]) -> Json:
    return list(args) if isinstance(args, tuple) else args


def _reached_from(name: str, library: Mapping[str, Graph]) -> list[str]:
    """The graphs that a graph names, and that those name in turn."""
    found = [name]
    for each in found:  # grows while it is walked
        found.extend(dict.fromkeys(other for _, other in named_graphs(library[each]) if other not in found))
    return found[1:]
