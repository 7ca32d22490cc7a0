"""The Temporal driver around the machine: commands become activities, timers and waits; answers become events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from anabranch.context.values import Json
from anabranch.errors import AnabranchError
from anabranch.transport.node_protocol import ENCRYPTED_ONLY, PinnedGraph
from anabranch.workflows.interpreter import snapshot, views
from anabranch.workflows.interpreter.commands import (
    AskConflict,
    AskPerson,
    AwaitEvent,
    CancelWork,
    Command,
    EventCame,
    Finish,
    Work,
    Yield,
)
from anabranch.workflows.interpreter.decisions import RUN
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.rerun import RerunMachine
from anabranch.workflows.interpreter.taken_over import TakenOver
from anabranch.workflows.interpreter.watcher import UNWATCHED, Watcher
from anabranch.workflows.temporal.arrivals import Arrivals
from anabranch.workflows.temporal.behind import updates_follow
from anabranch.workflows.temporal.clock import Clock
from anabranch.workflows.temporal.continue_as_new import ContinueAsNew
from anabranch.workflows.temporal.effects import Effects
from anabranch.workflows.temporal.failures import cancelled, failure_of, never_scheduled, run_error
from anabranch.workflows.temporal.flow_control import FlowControl
from anabranch.workflows.temporal.identity import Identity
from anabranch.workflows.temporal.inbox import Inbox
from anabranch.workflows.temporal.operations import Operations
from anabranch.workflows.temporal.outbox import Outbox, Ticket, Underway
from anabranch.workflows.temporal.pauses import Pauses
from anabranch.workflows.temporal.received import StoreDiffers
from anabranch.workflows.temporal.run_metrics import run_ends
from anabranch.workflows.temporal.run_state import state_of, watcher_of
from anabranch.workflows.temporal.sharing import Sharing
from anabranch.workflows.temporal.telling import Telling
from anabranch.workflows.temporal.visibility import Visibility

_TAKEN_AT_ONCE = 500
"""How much of what is taken over one workflow task gets through."""


class Driver:
    """One workflow run of a graph that is loaded."""

    def __init__(
        self,
        identity: Identity,
        data: Mapping[str, Json],
        carried: Mapping[str, Any] | None = None,
        *,
        watcher: Watcher | None = None,
        taken: TakenOver | None = None,
    ) -> None:
        carried = carried or {}
        self.identity = identity
        self._clock = Clock(carried.get("at", 0))
        self._telling = Telling(identity)
        state = state_of(identity, data, watcher_of(self._telling, self._graph, self._clock, watcher))
        self.machine = Machine(state) if taken is None else RerunMachine(state, taken, watcher or UNWATCHED)
        self._outbox = Outbox()
        limits = identity.pinned.limits
        flow = FlowControl(self._outbox, limits)
        self.inbox = Inbox(self._outbox, carried.get("choices"))
        self.operations = Operations(self.machine, self.inbox, self._clock, self.dispatch)
        is_strict = ENCRYPTED_ONLY in identity.pinned.capabilities
        self.arrivals = Arrivals(self.machine, self._clock, self.dispatch, self.heard, is_strict=is_strict)
        self._effects = Effects(
            identity,
            self._clock,
            self._outbox,
            flow,
            self.inbox,
            state=state,
            tell=self._note_lack,
            tell_turn=self._note_turn,
            spawn=self.spawn,
            turns=carried.get("turns"),
        )
        self._segments = self._effects.segments
        self._continue = ContinueAsNew(self.machine, self._clock, self.dispatch, self.spawn, limits, heard=self.heard)
        share = identity.plan.graph.share
        self._sharing = None if share is None else Sharing(share, identity, self._clock, self._outbox, flow)
        self._visibility = Visibility.of(state, identity.pinned.capabilities, self.machine.context)
        self._work: dict[str, Underway] = {}
        self._pauses = Pauses(self._outbox, self._cancel)
        self._aside: set[asyncio.Task[None]] = set()
        self._finish: Finish | None = None
        self._fault: Exception | None = None
        self.has_updated = False
        """Whether an update was carried out that the server may not have confirmed to its sender."""

    @property
    def _graph(self) -> str:
        return self.identity.plan.graph.name

    @classmethod
    def continued(cls, carried: Mapping[str, Any], watcher: Watcher | None = None) -> Driver:
        """The run that continued as new with this state. Raises NewerRevision."""
        pinned, is_child = PinnedGraph.from_wire(carried["pinned"]), carried["is_child"]
        identity = Identity.of_this_run(pinned, created_at=carried["created_at"], is_child=is_child)
        taken = TakenOver.from_wire(carried["taken"]) if "taken" in carried else None
        driver = cls(identity, {}, carried, watcher=watcher, taken=taken)
        snapshot.load(driver.machine.state, carried["machine"])
        driver._telling.resume(driver.machine.state, carried.get("failed", {}))
        return driver

    def start(self) -> None:
        """Start the first nodes. Raises ApplicationError where the input does not fit."""
        self._telling.run_started()
        self._dispatch_first(lambda: self.machine.start(self._clock.tick()))

    async def take_over(self) -> None:
        """Take over what another run knew: nothing is asked of anybody yet.

        Raises ApplicationError where the input does not fit.
        """
        self._telling.run_started()
        machine = self._rerun
        with self._refusing():
            machine.begin()
            while machine.take(_TAKEN_AT_ONCE):
                await self._outbox.flush()
        self._clock.tick(machine.state.at)

    def start_rest(self) -> None:
        """Start what is not taken over. Raises ApplicationError."""
        self._dispatch_first(lambda: self._rerun.go_on(self._clock.tick()))

    @property
    def _rerun(self) -> RerunMachine:
        if not isinstance(self.machine, RerunMachine):
            raise TypeError("only a rerun takes something over")
        return self.machine

    def _dispatch_first(self, begin: Callable[[], list[Command]]) -> None:
        with self._refusing():
            self.dispatch(begin())

    @contextmanager
    def _refusing(self) -> Generator[None]:
        try:
            yield
        except AnabranchError as error:
            self._telling.run_ended(self.machine.refuse(error))
            raise ApplicationError(str(error), type=error.code, non_retryable=True) from None

    def resume(self) -> None:
        """Go on where the workflow run before continued as new."""
        self.dispatch(self.machine.resume_from_snapshot(self._clock.tick()))

    def hold(self, is_paused: bool, by: str | None) -> None:
        """Start nothing new while paused, once the run begins."""
        self.machine.state.is_paused = is_paused
        self.machine.state.decisions.note(RUN, "paused" if is_paused else "resumed", by)

    def set_paused(self, is_paused: bool, by: str | None) -> None:
        """Start nothing new while paused."""

        def act() -> None:
            self.hold(is_paused, by)
            self.dispatch(self.machine.resume(self._clock.tick()))

        self._when_heard(act)

    async def heard(self) -> None:
        """Until the machine has started all that has begun, the nodes of a segment among it."""
        while self._segments.is_ahead:
            await workflow.wait_condition(lambda: not self._segments.is_ahead)

    def _when_heard(self, act: Callable[[], None]) -> None:
        async def acted() -> None:
            await self.heard()
            act()

        if self._segments.is_ahead:
            self.spawn(acted())
        else:
            act()

    async def run(self) -> dict[str, Json]:
        """Until the run is over, or continues as new; returns the result. Raises ApplicationError, CancelledError."""
        while not self._is_over:
            try:
                await self._go_on()
            except asyncio.CancelledError:
                self._cancel_run()
        finish = self._ending()
        not_shared = await self._share_end(finish)
        run_ends(self._graph, self.machine.state.trail.count)
        self._telling.run_ended(finish)
        if finish.failure is None:
            return views.result(self.machine.state, finish, self.identity.session_id) | not_shared
        # Only an error can tell the node around a child of effects that it has to undo.
        has_to_tell = finish.not_compensated or (finish.effects_left and self.identity.is_child)
        if finish.cancelled and not has_to_tell:
            raise asyncio.CancelledError(finish.failure.message)
        raise run_error(finish, finish.failure)

    def dispatch(self, commands: list[Command]) -> None:
        """Carry out what the machine asks for."""
        is_over = any(isinstance(command, Finish) for command in commands)
        for command in commands:
            if isinstance(command, Finish):
                self._finish = command
            elif isinstance(command, CancelWork):
                # What still runs when the run is over is cancelled by its end.
                if not is_over and (work := self._work.get(command.address)) is not None:
                    self._cancel(work)
            elif isinstance(command, EventCame):
                self.inbox.answer(command.address, command.result)
            else:
                self._begin(command)
        if self._sharing is not None:
            with self._telling.at(""):
                self._sharing.changed(self.machine.state.trail.count, self.machine.context)
        if self._visibility is not None:
            self._visibility.show()
        self._pauses.mark(self.machine.state.waiting_for_operator)

    def _begin(self, command: Work | Yield) -> None:
        if isinstance(command, AskPerson | AskConflict | AwaitEvent):
            self.inbox.ask(command)
            if command.address in self._work:  # a join that waits already asks anew
                return
        ticket = Ticket()
        with self._telling.at(command.address):
            task = asyncio.create_task(self._carry_out(command, ticket))
        self._work[command.address] = Underway(task, ticket)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something on the side. A fault of ours in it fails the workflow task."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:
                self._fault = self._fault or error

        with self._telling.at(""):
            task = asyncio.create_task(guarded())
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def _go_on(self) -> None:
        """Wait until the run is over. Continue as new where it should, and nothing is under way."""
        if not self._is_at_rest:
            await workflow.wait_condition(lambda: self._is_over or self._is_at_rest)
        elif self.has_updated:
            # If the server refuses to close the run (something else has arrived), the senders of updates that are in
            # the same workflow task would be told of a failure, or send again what is done already.
            self.has_updated = False
            await self._outbox.flush()
        else:
            await self._continue.run(self._carried())

    @property
    def _is_over(self) -> bool:
        if self._fault is not None:
            return True
        return self._finish is not None and not self._continue.is_looking and workflow.all_handlers_finished()

    @property
    def _is_at_rest(self) -> bool:
        """Whether the run should continue as new, and can."""
        state = self.machine.state
        if not state.is_draining or state.failure is not None or updates_follow():
            return False
        is_shared = self._sharing is None or self._sharing.idle
        is_answered = not (state.under_way or self.inbox.has_unread or self._continue.is_looking)
        return is_shared and is_answered and workflow.all_handlers_finished()

    def _ending(self) -> Finish:
        """How the run ended. Raises a fault of ours, which fails the workflow task."""
        if self._fault is not None:
            raise self._fault
        if self._finish is None:
            raise RuntimeError("the run is not over")
        return self._finish

    async def _share_end(self, finish: Finish) -> dict[str, Json]:
        """Publish what the run came to; returns what the result must say of it."""
        if self._sharing is None:
            return {}
        with self._telling.at(""):
            sharing = asyncio.create_task(self._sharing.finish(finish.line, self.machine.state.trail.count))
        while not sharing.done():
            try:
                await workflow.wait_condition(sharing.done)
            except asyncio.CancelledError:
                self._cancel_run()
        sharing.result()
        return {} if self._sharing.failed is None else {"not_shared": self._sharing.failed}

    def _carried(self) -> dict[str, Any]:
        machine = self.machine
        taken: dict[str, Any] = {"taken": machine.rest().to_wire()} if isinstance(machine, RerunMachine) else {}
        if turns := self._effects.turns.dump():
            taken["turns"] = turns
        return taken | {
            "pinned": self.identity.pinned.to_wire(),
            "created_at": self.identity.created_at,
            "is_child": self.identity.is_child,
            "at": self._clock.at,
            "choices": self.inbox.dump(),
            "machine": snapshot.dump(self.machine.state),
            "failed": self._telling.failed,
        }

    async def _carry_out(self, command: Work | Yield, ticket: Ticket) -> None:
        address = command.address
        was_cancelled = self._work[address].is_cancelled  # by an event in which, or just after which, it was asked for
        try:
            try:
                result = await (never_scheduled() if was_cancelled else self._effects.of(command, ticket))
                await self._room_for(command)
            except StoreDiffers:
                raise  # what the node came to is recorded, and is not to be judged without its result
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and not self._work[address].is_cancelled:
                    raise  # by nobody but the SDK, which evicts the run from the worker's cache
                failure = failure_of(error, address)
                await self._room_for(command)
                commands = self.machine.failed(address, failure, self._clock.tick())
            else:
                commands = self._succeeded(command, result)
            del self._work[address]
            self._continue.count_answer()
            self.dispatch(commands)
            if self._segments.is_under_way:
                self._segments.told(address)
        except Exception as error:
            self._fault = self._fault or error

    async def _room_for(self, command: Work | Yield) -> None:
        """Until the workflow task has room for the expressions that follow an answer, each of which may cost much.

        And until the machine has started a segment's nodes, where the answer is not that of one.
        """
        while not isinstance(command, Yield) and self._has_to_wait(command.address):
            try:
                await workflow.wait_condition(lambda: not self._has_to_wait(command.address))
            except asyncio.CancelledError:
                if not self._work[command.address].is_cancelled:
                    raise  # by nobody but the SDK; what was cancelled by us has been answered before

    def _has_to_wait(self, address: str) -> bool:
        if self.machine.state.finished is not None:
            return False
        return self.machine.state.budget.is_used_up or self._segments.holds(address)

    def _succeeded(self, command: Work | Yield, result: Any) -> list[Command]:
        at = self._clock.tick(self._segments.ended_at(command.address))
        if isinstance(command, AskConflict):
            return self.machine.choose(command.address, result.choices, at, result.by)
        return self.machine.succeeded(command.address, result, at)

    def _cancel_run(self) -> None:
        """The run's own task was cancelled. Raises CancelledError where nobody asked for it: the run is evicted."""
        if workflow.cancellation_reason() is None:
            raise asyncio.CancelledError
        if self._finish is None:
            if self.machine.state.ending is None:
                self._segments.stop()
            self._when_heard(self._cancel_machine)

    def _cancel_machine(self) -> None:
        if self._finish is None:
            said = cancelled(workflow.cancellation_reason() or "")
            self.dispatch(self.machine.cancel(said, self._clock.tick()))

    def _cancel(self, work: Underway) -> None:
        if not work.is_cancelled:
            work.is_cancelled = True
            self.spawn(self._cancel_recorded(work))

    async def _cancel_recorded(self, work: Underway) -> None:
        """Cancel what the server knows, or what was not sent yet.

        Of a command that is cancelled in the task that sends it nothing would enter the history. But a replay may come
        to the cancellation in that task where the first run came to it in the next.
        """
        await self._outbox.recorded(work.ticket)
        work.task.cancel()

    def _note_lack(self, address: str, message: str | None) -> None:
        """A worker lacked something for the work at an address; None once another does it, or nobody."""
        lacking = self.machine.state.lacking
        if message is None:
            lacking.pop(address, None)
        else:
            lacking[address] = message

    def _note_turn(self, address: str, why: str | None) -> None:
        """A limit does not let the work at an address begin; None once it may, or waits no more."""
        self.machine.state.await_turn(address, why)
