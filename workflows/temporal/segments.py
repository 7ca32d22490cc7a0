"""Local nodes that run together: those that are ready at the same time, and those that follow one another alone.

What they came to is one result, a record in the history instead of one for each. The machine is told of each node by
itself all the same, as if it had run by itself, and asks for the next one: the answer is there already.

Until the machine has started all of them it hears of nothing else. So what has begun is known to it, whatever happens
next: a run that is cancelled undoes it, a run that is paused starts nothing behind it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain, islice
from typing import Any, Final, NamedTuple

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import is_cancelled_exception

from anabranch.graph.kinds.kinds import has_body, kind_of
from anabranch.graph.plan_node import PlanNode
from anabranch.graph.policies import Defaults
from anabranch.limits import SEGMENT_NODES, SEGMENT_SECONDS
from anabranch.observe import metrics
from anabranch.transport.node_protocol import NodeTask
from anabranch.transport.segment import CANCELLED, Ran, Segment, SegmentResult
from anabranch.workflows.interpreter.commands import RunNode
from anabranch.workflows.interpreter.followers import Follower, followers
from anabranch.workflows.interpreter.node_run import Status
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.temporal.failures import NeverScheduled
from anabranch.workflows.temporal.flow_control import FlowControl
from anabranch.workflows.temporal.node_options import (
    attempt_timeout,
    is_limited,
    retry_policy,
    runs_locally,
    total_timeout,
)
from anabranch.workflows.temporal.received import StoreDiffers
from anabranch.workflows.temporal.segment_tasks import listed, named, segment_of

_ONCE: Final = RetryPolicy(maximum_attempts=1)
_MARGIN: Final = timedelta(seconds=10)
"""What a segment may take beside the time that its nodes may."""


class SegmentDiffers(Exception):
    """Not one of our errors, which would end the run: what ran is not what the machine asks for, a fault of ours."""


class Done(NamedTuple):
    """What a node came to in a segment, and when it ended (Unix milliseconds)."""

    ran: Ran
    at: int


@dataclass(slots=True, eq=False)
class _Ready:
    """A node that is ready, and those that are certain to follow it."""

    command: RunNode
    behind: list[Follower] = field(default_factory=list)

    @property
    def addresses(self) -> list[str]:
        return [self.command.address, *(each.address for each in self.behind)]


class Segments:
    """The segments of one run, one at a time."""

    def __init__(
        self,
        state: RunState,
        defaults: Defaults,
        flow: FlowControl,
        task_of: Callable[[RunNode], NodeTask],
        value_of: Callable[[RawValue, type], Awaitable[Any]],
        *,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._state = state
        self._defaults = defaults
        self._flow = flow
        self._task_of = task_of
        self._value_of = value_of
        self._spawn = spawn
        self.running = 0
        """Local nodes that are under way, or about to be."""
        self._ready: list[_Ready] = []
        self._asked: dict[str, asyncio.Future[Done | None]] = {}
        """The nodes that the machine has started, with what they come to; None where one is to run by itself."""
        self._members: dict[str, PlanNode] = {}
        """The nodes of the segment of which the machine has not been told yet."""
        self._ahead: set[str] = set()
        """Those of them that the machine has not started yet."""
        self._is_brief = False
        """Whether all of its nodes are quick."""
        self._is_to_begin = False
        self._done: deque[Done] = deque()
        """What those came to, in the order in which they ended."""
        self._handle: workflow.ActivityHandle[RawValue] | None = None
        self._is_waiting = False
        """Whether the segment waits for its turn to be sent."""
        self._is_stopped = False
        """Whether it is to be cancelled as soon as it is sent: a replay has to find it in the history all the same."""
        self._is_hearing = False
        """Whether what came while the segment ran is heard before the machine is told of its nodes."""

    @property
    def is_under_way(self) -> bool:
        """Whether there are nodes of a segment of which the machine has not been told yet."""
        return bool(self._members)

    @property
    def is_ahead(self) -> bool:
        """Whether nodes may have run that the machine has not started yet: until then it hears of nothing else."""
        return bool(self._ahead)

    def holds(self, address: str) -> bool:
        """Whether what came of the work at an address has to wait for a segment."""
        return bool(self._ahead) and address not in self._members

    def stop(self) -> None:
        """End the segment under way as soon as possible: what runs in it is cancelled, as it is by the machine next."""
        if self._ahead and self._handle is not None:
            self._handle.cancel()
        elif self._is_waiting:
            self._is_stopped = True
            self._flow.look_again()

    async def ran(self, command: RunNode) -> Done | None:
        """What a node that has started came to in a segment; None where it is to run by itself."""
        address = command.address
        if address not in self._members and (command.undo or not self._is_free(command.planned)):
            return None
        self._asked[address] = asked = asyncio.get_running_loop().create_future()
        if address in self._members:
            self._ahead.discard(address)
            if not self._ahead:  # whatever came meanwhile is heard first, as if this node had ended only now
                await workflow.wait_condition(lambda: True)
            self._tell_next()
        else:
            self._ready.append(_Ready(command))
            self._begin_soon()
        try:
            done: Done | None = await asked
        except asyncio.CancelledError:
            waiting = [each for each in self._ready if each.command is not command]
            if len(waiting) == len(self._ready):
                raise
            self._ready = waiting
            raise NeverScheduled from None
        if done is not None and done.ran.version != command.line.version:
            raise SegmentDiffers(f"node {address!r} ran on version {done.ran.version}, and not {command.line.version}")
        return done

    def ended_at(self, address: str) -> int | None:
        """When the node ended of which the machine is to be told, where that was in a segment."""
        return self._done[0].at if self._done and self._done[0].ran.address == address else None

    def told(self, address: str) -> None:
        """The machine has been told how the work at an address ended, and has asked for what follows."""
        if address in self._members:
            self._asked.pop(address, None)
            if self._done and self._done[0].ran.address == address:
                self._done.popleft()
            else:
                self._done = deque(each for each in self._done if each.ran.address != address)
            self._release(address)
        self._tell_next()

    def _tell_next(self) -> None:
        """Have the machine told of the next node, if it has started it. Raises SegmentDiffers."""
        while self._done and not self._is_hearing:
            done = self._done[0]
            address = done.ran.address
            if (asked := self._asked.pop(address, None)) is not None:
                if not asked.done():
                    asked.set_result(done)
                if done.ran.failure is None:
                    return
            elif self._is_expected(address):
                return
            elif self._members[address].has_effect:
                raise SegmentDiffers(f"node {address!r} ran, and the machine does not start it")
            self._done.popleft()
            self._release(address)

    def _release(self, address: str) -> None:
        """There is nothing more to tell of a node."""
        self._members.pop(address, None)
        self._ahead.discard(address)
        if not self._members and self._ready:
            self._begin_soon()

    def _is_expected(self, address: str) -> bool:
        """Whether the machine has started a node, or is about to."""
        if address in self._state.work:
            return True
        run = self._state.node_at(address)
        return run is not None and run.status is Status.READY

    def _begin_soon(self) -> None:
        """Begin once what is ready at the same time has asked too."""
        if not self._is_to_begin:
            self._is_to_begin = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        """Of the nodes that are ready, let those run together that are better off so, and the others by themselves."""
        self._is_to_begin = False
        ready = [each for each in self._ready if not self._asked[each.command.address].done()]
        together = [] if self._members else self._together(ready)
        # What is quick goes with the next segment, where this one is about to end.
        self._ready = [each for each in ready if each not in together and self._may_wait(each, together)]
        for each in ready:
            if each not in together and each not in self._ready:
                self._asked.pop(each.command.address).set_result(None)
        if together:
            self._is_brief = len(together) > 1 or self._is_quick(together[0].command.planned)
            for each in together:
                self._members[each.command.address] = each.command.planned
                self._members.update((follower.address, follower.planned) for follower in each.behind)
                self._ahead.update(follower.address for follower in each.behind)
            self._is_waiting, self._is_stopped = True, False
            self._spawn(self._play(together))

    def _may_wait(self, ready: _Ready, together: list[_Ready]) -> bool:
        is_next = len(together) > 1 or (bool(self._members) and (self._is_brief or self._handle is None))
        return is_next and self._is_quick(ready.command.planned) and not self._is_shielded(ready)

    def _together(self, ready: list[_Ready]) -> list[_Ready]:
        # What is quick never waits long for what runs beside it; of other nodes nobody knows how long they take.
        takes = self._is_free if self._is_undisturbed else self._is_quick
        chosen = [each for each in ready if takes(each.command.planned) and not self._is_shielded(each)]
        chosen = chosen[:SEGMENT_NODES]
        if not chosen:
            return []
        for each in chosen:
            found = followers(self._state, each.command.address, takes)
            each.behind = list(islice(found, SEGMENT_NODES // len(chosen) - 1))
        return chosen if sum(len(each.addresses) for each in chosen) > 1 else []

    @property
    def _is_undisturbed(self) -> bool:
        """Whether a node runs by itself, and nothing is due that may end it before it ends by itself.

        The time-out of what is around it would wait for it; and what was held back until a yield may end the run.
        """
        return self.running == 1 and not self._state.timers and not self._state.budget.is_short

    def _is_shielded(self, ready: _Ready) -> bool:
        """Whether a node is spared when the run is cancelled, which a segment is not."""
        return bool(self._state.lasts) and self._state.is_shielded(ready.command.address)

    def _is_free(self, planned: PlanNode) -> bool:
        """Whether a node may run in a segment: nothing but its own work is to be done."""
        node = planned.node
        is_guarded = node.cache is not None or node.circuit_breaker is not None or is_limited(node)
        if is_guarded or has_body(node) or not runs_locally(node, self._defaults):
            return False
        return total_timeout(node, self._defaults, undo=False) is None

    def _is_quick(self, planned: PlanNode) -> bool:
        """Whether a node only computes, and leaves nothing behind: the machine may as well not ask for it."""
        node = planned.node
        is_pure = not (planned.has_effect or node.pivot or node.compensate is not None)
        return is_pure and kind_of(node).local_by_default and self._is_free(planned)

    async def _play(self, together: list[_Ready]) -> None:
        try:
            async with self._flow.admit_local(lambda: self._is_stopped) as note:
                result = await self._executed(together)
                note(len(result.payload.data))
            found: SegmentResult = await self._value_of(result, SegmentResult)
        except Exception as error:
            self._failed(together, error)
            return
        done = [Done(each, found.began + each.ended) for each in found.ran if each.address in self._members]
        self._members = {each.ran.address: self._members[each.ran.address] for each in done}
        was_ahead = bool(self._ahead)
        self._ahead.intersection_update(self._members)
        self._done.extend(done)
        if was_ahead and not self._ahead:  # as in `ran`: a run that was paused meanwhile starts nothing behind them
            self._is_hearing = True
            await workflow.wait_condition(lambda: True)
            self._is_hearing = False
        self._tell_next()

    async def _executed(self, together: list[_Ready]) -> RawValue:
        names, first = [named(each.addresses) for each in together], together[0].command.planned.node
        seconds = max(chain.from_iterable(map(self._times, together)))
        self._handle = workflow.start_local_activity(
            listed(metrics.node_label(each) for each in names),  # the SDK's metrics have it as a label
            args=list(chain.from_iterable(map(self._arguments, together))),
            result_type=RawValue,
            activity_id=together[0].command.address,
            summary=listed(names),
            start_to_close_timeout=timedelta(seconds=SEGMENT_SECONDS + seconds) + _MARGIN,
            retry_policy=_ONCE if len(together) > 1 else retry_policy(first.retry or self._defaults.retry),
            # What runs in it is cancelled then, and what has ended before is heard all the same.
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        self._is_waiting = False
        try:
            if self._is_stopped:
                await asyncio.sleep(0)  # what is cancelled before its task has begun is not waited for
                self._handle.cancel()
            return await self._handle
        finally:
            self._handle = None

    def _failed(self, together: list[_Ready], error: Exception) -> None:
        """Nothing is known of any node. One that was alone has failed; what is quick is done again, one by one."""
        self._members.clear()
        self._ahead.clear()
        self._begin_soon()
        for each in together:
            address = each.command.address
            if (asked := self._asked.pop(address, None)) is None or asked.done():
                continue
            if isinstance(error, StoreDiffers):
                asked.set_exception(error)  # what they came to is recorded: nothing may be done again
            elif len(together) > 1:
                asked.set_result(None)
            elif is_cancelled_exception(error):  # with the run, before any node had ended
                asked.set_result(Done(Ran(address, each.command.line.version, 0, 0, None, CANCELLED), 0))
            else:
                asked.set_exception(error)

    def _times(self, ready: _Ready) -> list[float]:
        """Seconds that an attempt of each node may take."""
        planned = (ready.command.planned, *(each.planned for each in ready.behind))
        return [attempt_timeout(each.node, self._defaults).total_seconds() for each in planned]

    def _arguments(self, ready: _Ready) -> tuple[NodeTask, Segment]:
        task = self._task_of(ready.command)
        return task, segment_of(task, ready.command.line.data, ready.behind, self._times(ready))
