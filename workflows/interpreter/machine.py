"""The graph interpreter, sans I/O: events in, commands out, no clock and no Temporal.

Each event method takes the time `at` (Unix milliseconds) and returns the commands that follow from the event. Every
command with an address is answered by exactly one `succeeded`, `failed` or `choose`, even if it was cancelled. The
Temporal workflow, the dry run, the test kit and the property tests all drive this machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from anabranch.context.changes import ChangeSet
from anabranch.context.merge.lineage import Line
from anabranch.context.merge.union import Conflict
from anabranch.context.values import Json, Missing, Path
from anabranch.errors import AnabranchError
from anabranch.workflows.interpreter.aborts import Aborts
from anabranch.workflows.interpreter.afterwards import begin, timed_out
from anabranch.workflows.interpreter.bodies import Bodies
from anabranch.workflows.interpreter.commands import NOT_STARTED, YIELD, Command, Failure, Finish, Yield
from anabranch.workflows.interpreter.endings import Endings
from anabranch.workflows.interpreter.event import Event
from anabranch.workflows.interpreter.input import check_input
from anabranch.workflows.interpreter.last import last_of
from anabranch.workflows.interpreter.merging import Merging
from anabranch.workflows.interpreter.operator import Operator
from anabranch.workflows.interpreter.run_time import bound_rest, bound_run, is_of_run
from anabranch.workflows.interpreter.run_time import timed_out as run_timed_out
from anabranch.workflows.interpreter.scope import OpenJoin, Started
from anabranch.workflows.interpreter.starts import Starts
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.undo import Undo

LONGEST_WARNING: Final = 500
"""Characters of what is told of an event that is refused."""


class Machine:
    """Advances the state of one run, event by event."""

    def __init__(self, state: RunState) -> None:
        self.state = state
        self._compose(state)

    def _compose(self, state: RunState) -> None:
        """The parts that play what the state's root holds: the graph's own nodes, or those of its `finally`."""
        self._merging = Merging(state)
        self._undo = Undo(state, self._merging)
        self._endings = Endings(state, self._merging, self._undo)
        self._bodies = Bodies(state, self._merging, self._endings)
        self._starts = Starts(state, self._merging, self._undo, self._endings, self._bodies)
        self._aborts = Aborts(state, self._undo, self._endings, self._bodies)
        self._operator = Operator(state, self._merging, self._undo, self._endings, self._starts)

    def start(self, at: int) -> list[Command]:
        """Start with the input.

        Raises InputMissing, SchemaViolation, SizeLimitExceeded, WireFormatError; what the graph's `timeout` does.
        """
        state, base = self.state, self.state.root.base
        state.at = at
        data, size = check_input(state.plan, base.data)
        if data is not base.data:
            base = state.root.base = Line.start(dict(data))
        if state.plan.graph.timeout is not None:
            bound_run(state)  # before anything is recorded: a run that it refuses has not begun
        changes = ChangeSet(base_version=0, set={(key,): value for key, value in base.data.items()}, by="input", at=at)
        state.size.add_packed(size)
        state.size.check(base.data, "input")
        state.root.versions = (state.trail.record("input", base, changes, by="input", at=at, parents=()),)
        state.enter(state.root)
        return self._advance()

    def resume_from_snapshot(self, at: int) -> list[Command]:
        """Continue where another workflow run ended: repeat the commands that it waited for (see `snapshot`)."""
        self.state.at = at
        self._starts.ask_again()
        bound_rest(self.state)
        self._bodies.resume()
        return self._advance()

    def succeeded(self, address: str, result: ChangeSet | Json, at: int) -> list[Command]:
        """The work at an address is done, with a node's change set, a person's answer or a child's data."""
        self.state.at = at
        if address == YIELD:
            self._continue()
        elif self._undo.owns(address):
            self._undo.succeeded(address, result)
        elif self.state.approvals.owns(address):
            self._starts.approvals.ended(address, None)
        elif (timed := self.state.timers.pop(address, None)) is not None:
            self._time_out(timed, address)
        elif not isinstance(node := self.state.answered(address), Started):
            pass
        elif node.run.next_at is not None:
            self._end_pause(node)
        else:
            self.state.aborts.pop(address, None)  # a child workflow that ended while it was cancelled for its time-out
            self._endings.succeed(node, result)
        return self._advance()

    def failed(self, address: str, failure: Failure, at: int) -> list[Command]:
        """The work at an address failed, timed out or was cancelled."""
        self.state.at = at
        if address == YIELD:
            self._continue()
        elif self._undo.owns(address):
            self._undo.failed(address, failure)
        elif self.state.approvals.owns(address):
            self._starts.approvals.ended(address, failure)
        elif self.state.timers.pop(address, None) is not None:
            pass  # a timer of which nobody has need any more
        elif (node := self.state.answered(address)) is not None:
            self._fail(address, node, failure)
        return self._advance()

    def choose(
        self, address: str, choices: Mapping[Path, Json | Missing], at: int, by: Mapping[Path, str] | None = None
    ) -> list[Command]:
        """Every conflict that the join, or the `foreach`, at an address waits for is settled; `by` names who did it."""
        self.state.at = at
        join = self.state.open_joins.get(address)
        self.state.answered(address)
        if join is not None:  # else its choice was on its way when the run ended without it
            self._merging.choosers = by or {}
            self._starts.settle(join, choices)
            self._merging.choosers = {}
        return self._advance()

    def answer(self, address: str, answer: Json, by: str, at: int) -> list[Command]:
        """One of several people answers an approval. Raises InputError where nobody is asked there."""
        self.state.at = at
        self._starts.approvals.answer(address, answer, by)
        return self._advance()

    def hear(self, event: Event, at: int) -> list[Command]:
        """An event was sent to the run. Raises InputError, SizeLimitExceeded, WireFormatError for one it refuses."""
        self.state.at = at
        self._starts.receives.hear(event)
        return self._advance()

    def received(self, address: str, events: Sequence[Event]) -> ChangeSet:
        """What a node that waits writes of these events. Raises InputError where it does not accept one."""
        return self._starts.receives.received(address, events)

    def refuse_event(self, error: AnabranchError) -> None:
        """Tell of something that was sent and is not taken: its sender hears nothing of it."""
        self.state.trail.warn("(events)", f"{error.code}: {error}"[:LONGEST_WARNING])
        self.state.watcher.event_refused(error)

    def check_write(self, changes: ChangeSet) -> None:
        """Raise what `write` would raise, and SchemaViolation or SizeLimitExceeded if the context would not fit."""
        self._merging.check_write(changes)

    def check_edits(self, address: str, edits: ChangeSet) -> None:
        """Raise what the context of a paused node does not allow of an operator's edits."""
        self._operator.check(address, edits)

    def write(self, changes: ChangeSet, at: int) -> int:
        """A service outside writes into the run; returns the number of the version. Raises VersionMismatch."""
        self.state.at = at
        return self._merging.write(changes)

    def cancel(self, reason: str, at: int) -> list[Command]:
        """Cancel what runs, then compensate."""
        return self.fail(Failure("cancelled", "CANCELLED", reason), at)

    def fail(self, failure: Failure, at: int) -> list[Command]:
        """The run as a whole cannot go on: cancel what runs, then compensate. A `finally` that has begun goes on."""
        state = self.state
        state.at = at
        if state.failure is None and state.finished is None and state.ending is None:
            self._endings.abort_run(failure)
        return self._advance()

    def resume(self, at: int) -> list[Command]:
        """Start what was held back while the run was paused or drained."""
        self.state.at = at
        self._bodies.resume()
        return self._advance()

    def retry(self, address: str, edits: ChangeSet | None, at: int) -> list[Command]:
        """An operator retries a paused node or compensation."""
        self.state.at = at
        self._operator.retry(address, edits)
        return self._advance()

    def skip(self, address: str, edits: ChangeSet | None, at: int) -> list[Command]:
        """An operator treats a paused node as succeeded, or the step of a paused compensation as undone."""
        self.state.at = at
        self._operator.skip(address, edits)
        return self._advance()

    def give_up(self, address: str, at: int) -> list[Command]:
        """An operator accepts the failure of a paused node or compensation."""
        self.state.at = at
        self._operator.give_up(address)
        return self._advance()

    def refuse(self, error: AnabranchError) -> Finish:
        """The input was rejected: the run is over before anything has started."""
        state = self.state
        state.failure = Failure("failure", error.code, str(error))
        state.root.cancel_pending()
        state.finished = finish = Finish(state.root.base, state.failure)
        return finish

    def context(self) -> Line:
        """The current context; after the end, the final one."""
        return self.state.finished.line if self.state.finished else self._merging.now()

    def unsettled(self) -> tuple[Conflict, ...]:
        """The conflicts in the current context that nobody has settled."""
        return () if self.state.finished else self._merging.unsettled()

    def _fail(self, address: str, node: Started | OpenJoin, failure: Failure) -> None:
        if address in self.state.aborts:
            self._endings.told(address, failure)
        else:
            if isinstance(node, OpenJoin) and failure.outcome == "timeout":
                failure = self._merging.timed_out(node)
            if isinstance(node, Started) and node.run.next_at is not None:
                failure = self._cancelled_between(node)
            self._endings.fail(node.scope, node.run, failure)

    def _end_pause(self, node: Started) -> None:
        """The pause before another attempt of a node is over, though it may have been cancelled at the same time."""
        if node.run.status.final or self.state.is_aborting(node.scope.address(node.run)):
            self._endings.fail(node.scope, node.run, self._cancelled_between(node))
        else:
            self._endings.attempts.start_next(node)

    @staticmethod
    def _cancelled_between(node: Started) -> Failure:
        address, node.run.next_at = node.scope.address(node.run), None
        return Failure("cancelled", NOT_STARTED, f"node {address!r} was cancelled between its attempts", address)

    def _time_out(self, node: Started, timer: str) -> None:
        address = node.scope.address(node.run)
        if self.state.deadlines.get(address) == timer:
            del self.state.deadlines[address]
            if node.run is node.scope.end:
                self._time_out_last(node)
            else:
                self._endings.time_out(node)

    def _time_out_last(self, node: Started) -> None:
        """The time of the run is up, or that of a `finally`: that of the run, or that of a block."""
        if is_of_run(self.state, node):
            self._endings.abort_run(run_timed_out(self.state))
        elif (body := node.scope.body) is None:
            self._endings.abort_run(timed_out(self.state, node, self.state.plan.graph.finally_))
        elif not self.state.is_aborting(node.scope.prefix[:-1]):
            self._endings.abort_scope(node.scope, timed_out(self.state, node, last_of(body.node.run)))

    def _continue(self) -> None:
        """After a yield: everything that was held back has its turn."""
        self.state.budget.refill()
        self._endings.cancel_work()
        self._bodies.resume()
        self._undo.resume()

    def _advance(self) -> list[Command]:
        """Go as far as possible without an answer; returns the commands of this event."""
        self._endings.cancel_work()
        self._starts.start_ready()
        if self.state.approvals.due:
            self._starts.approvals.start_due()
        while self._aborts.end_abort() or self._aborts.end_rollback():
            self._starts.start_ready()
        if self.state.ending is not None and self.state.root is self.state.main and self.state.budget.allows():
            return self._go_on_after(self.state.ending)
        if self.state.budget.must_yield and self.state.finished is None:
            self.state.budget.yielded()
            self.state.emit(Yield())
        return self.state.take_commands()

    def _go_on_after(self, ending: Finish) -> list[Command]:
        """The graph's own nodes have ended, and its `finally` begins."""
        if (plan := self.state.plan.afterwards) is None:
            raise AssertionError("a run without `finally` has no ending before its end")
        failed = begin(self.state, plan, ending)
        self._compose(self.state)
        if failed is not None:
            self._endings.abort_run(failed)
        return self._advance()
