"""Compensation of a failed or cancelled run, and of failed attempts of composites, and the rollback of the context."""

from __future__ import annotations

from dataclasses import replace

from anabranch.context.changes import ChangeSet, diff, refine
from anabranch.context.merge.lineage import Line
from anabranch.context.nested import check_ways
from anabranch.context.values import Json
from anabranch.errors import AnabranchError
from anabranch.graph.kinds.db import undoes_recorded_effect
from anabranch.graph.kinds.kinds import has_body
from anabranch.graph.plan_node import PlanNode
from anabranch.workflows.interpreter.address import inside_attempt, node_of
from anabranch.workflows.interpreter.commands import Failure, Finish, RunNode
from anabranch.workflows.interpreter.failing import Rollback
from anabranch.workflows.interpreter.input import check_names
from anabranch.workflows.interpreter.merging import Merging
from anabranch.workflows.interpreter.routes import routed
from anabranch.workflows.interpreter.saga import COMPENSATION, Ancestry, Step, StepState
from anabranch.workflows.interpreter.scope import Started
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.work import mapped_output


class Undo:
    """Registers the steps of one run while it goes forward, and compensates them once it has failed."""

    def __init__(self, state: RunState, merging: Merging) -> None:
        settings = state.root.plan.graph.saga
        self._state = state
        self._merging = merging
        self._saga = state.saga
        self._pauses = settings is not None and settings.on_compensation_failure == "pause"
        self._deadline = None if settings is None else settings.deadline
        self._begun = False
        self._until: float | None = None
        """The deadline, in Unix seconds."""
        self._line = state.root.base
        """The data before the saga, plus what compensations wrote."""
        self._versions: tuple[int, ...] = ()
        self._writer = 0

    def register(self, node: Started, key: str, roots: dict[str, Json]) -> None:
        """Note a step before its activity is scheduled, if it has a compensation."""
        scope, run = node.scope, node.run
        if (compensation := run.planned.compensation) is None:
            return
        if compensation.is_routed:  # now: what cannot be undone must not begin
            with self._state.budget.evaluating() as cost:
                compensation = routed(compensation, node.line.data, roots, cost)
        own = Ancestry(scope.name, scope.turn, scope.writer(run), node.line.seen)
        forward_key = key if undoes_recorded_effect(run.planned.node, compensation.node) else None
        roots = {**roots, "forward_key": forward_key}
        ancestry = (*self._state.ancestry(scope), own)
        self._saga.register(Step(scope.attempt_address(run), compensation, node.line, roots, key, ancestry))

    def step_succeeded(self, address: str, planned: PlanNode, line: Line) -> None:
        """The step is done: it is undone if the run fails later."""
        self._note_effect(address, planned)
        self._saga.forget_below(address)
        self._saga.count(address, StepState.DONE, line)
        if planned.node.pivot:
            self._saga.pivot(address)

    def step_failed(self, address: str, planned: PlanNode, failure: Failure, line: Line) -> None:
        """A definite failure had no effect; after any other outcome the step may have had one, a pivot too.

        Effects inside a body are known step by step, whatever the outcome of the node with the body.
        """
        if failure.unknown and not has_body(planned.node):
            self._note_effect(address, planned)
            self._saga.count(address, StepState.UNKNOWN, line)
        else:
            self._saga.forget_scheduled(address)

    def owns(self, address: str) -> bool:
        """Whether an address is that of a compensation."""
        return address.startswith(COMPENSATION)

    def proceed(self) -> None:
        """Start the compensations whose turn it is, or end the run when none is left."""
        if not self._begun:
            self._begin()
        if self._saga.is_over():
            self._finish()
        elif self._state.budget.allows():  # else not even the order is worked out
            self._start_compensations()

    def undo_attempt(self, rollback: Rollback) -> None:
        """Undo what a failed attempt did."""
        if self._deadline is not None:
            rollback.until = self._state.at / 1000 + self._deadline.total_seconds()
        self._saga.begin(rollback.attempt)
        self._undo_further(rollback)

    def resume(self) -> None:
        """Start the compensations that had to wait for a yield."""
        for rollback in self._state.rollbacks.values():
            self._undo_further(rollback)
        if self._begun and self._state.finished is None and self._state.ending is None:
            self.proceed()

    def succeeded(self, address: str, result: ChangeSet | Json) -> None:
        """A compensation is done. What it wrote outlives the rollback."""
        step = self._step(address)
        step.state = StepState.COMPENSATED
        try:
            self._write(step, result)
        except AnabranchError as error:  # its `output` does not fit its result
            self._failed(step, Failure("failure", error.code, str(error), address))
        else:
            self._state.watcher.undo_ended(step, None)
        self._continue(step)

    def failed(self, address: str, failure: Failure) -> None:
        """A compensation failed for good: an operator is asked, or it is reported and the others continue."""
        self._failed(step := self._step(address), failure)
        self._continue(step)

    def retry(self, address: str) -> None:
        """An operator has a paused compensation tried again."""
        step = self._step(address)
        del self._state.compensation_failures[step.address]
        self._compensate(step)

    def give_up(self, address: str, *, done: bool) -> None:
        """An operator says that a paused step is undone by other means (`done`), or will not be undone."""
        step = self._step(address)
        if done:
            del self._state.compensation_failures[step.address]
        step.state = StepState.COMPENSATED if done else StepState.FAILED
        self._continue(step)

    def _step(self, address: str) -> Step:
        return self._saga.steps[address.removeprefix(COMPENSATION)]

    def _note_effect(self, address: str, planned: PlanNode) -> None:
        if not planned.has_effect or planned.compensation is not None:
            return
        if self._state.lasts and self._state.is_shielded(address):
            return  # what the `finally` of a block does is there to stay
        if planned.node.pivot:
            self._saga.pivot(address)
        else:
            self._saga.happened_inside(address, self._is_pivot)

    def _continue(self, step: Step) -> None:
        if (rollback := self._rollback_of(step)) is None:
            self.proceed()
        else:
            self._undo_further(rollback)

    def _rollback_of(self, step: Step) -> Rollback | None:
        """The attempt with which a step is undone; None where it is undone with the run."""
        rollbacks = self._state.rollbacks.values()
        return next((each for each in rollbacks if inside_attempt(step.address, each.attempt)), None)

    def _undo_further(self, rollback: Rollback) -> None:
        if self._saga.is_over(rollback.attempt):
            rollback.is_over = True
        elif self._state.budget.allows():
            self._start_compensations(rollback.attempt)

    def _is_pivot(self, attempt: str) -> bool:
        """Whether a running node with a body is a pivot."""
        body = self._state.bodies.get(node_of(attempt))
        return body is not None and body.node.run.planned.node.pivot

    def _begin(self) -> None:
        state = self._state
        self._begun = True
        self._writer = self._merging.next_outside_writer  # the current context has seen all writers before it
        self._line, self._versions = state.root.base, state.root.versions
        for _, changes in self._saga.written:
            self._advance(changes, by=changes.by)
        self._saga.begin()
        if self._deadline is not None:
            self._until = state.at / 1000 + self._deadline.total_seconds()

    def _start_compensations(self, attempt: str = "") -> None:
        budget = self._state.budget
        for step in self._saga.next_steps(attempt):
            if not budget.allows():
                return
            budget.spend()
            self._compensate(step)

    def _failed(self, step: Step, failure: Failure) -> None:
        self._state.compensation_failures[step.address] = failure
        step.state = StepState.PAUSED if self._pauses else StepState.FAILED
        self._state.watcher.undo_ended(step, failure)

    def _compensate(self, step: Step) -> None:
        step.state = StepState.COMPENSATING
        self._state.watcher.undo_started(step)
        until = self._until if (rollback := self._rollback_of(step)) is None else rollback.until
        left = None if until is None else max(0.0, until - self._state.at / 1000)
        address, key, roots = COMPENSATION + step.address, f"{step.key}/undo", self._roots(step)
        self._state.emit(RunNode(address, step.planned, step.line, roots, key, undo=True, deadline=left))

    def _roots(self, step: Step) -> dict[str, Json]:
        state, rollback = self._state, self._rollback_of(step)
        failure = state.failure if rollback is None else rollback.failure
        return {**step.roots, **state.roots(state.root), "error": failure.root() if failure else None}

    def _write(self, step: Step, result: ChangeSet | Json) -> None:
        state, address = self._state, COMPENSATION + step.address
        if not isinstance(result, ChangeSet):
            with state.budget.evaluating() as cost:
                result = mapped_output(step.planned, result, step.line, self._roots(step), cost)
        if (rollback := self._rollback_of(step)) is not None:
            check_names(result, rollback.node.scope.roots)
            check_ways(rollback.node.line.data, result.set)
            if result.appended:
                refine(rollback.node.line.data, result)  # refuses now what could not be written later
            if result:
                self._saga.written.append((step.address, replace(result, by=address)))
            return
        check_names(result)
        check_ways(self._line.data, result.set)
        refined = self._advance(result, by=address)
        if refined or refined.warnings or refined.usage:
            record, parents = state.trail.record, self._versions
            self._versions = (record("compensation", self._line, refined, by=address, at=state.at, parents=parents),)

    def _advance(self, changes: ChangeSet, *, by: str) -> ChangeSet:
        """Add what a compensation wrote; returns what differs from before."""
        self._writer += 1
        self._line, refined = self._line.advance(changes, writer=self._writer, by=by, at=self._state.at)
        return refined

    def _finish(self) -> None:
        state, saga = self._state, self._saga
        line, failed = self._rolled_back(), saga.in_state(StepState.FAILED)
        reasons = {address: state.compensation_failures[address] for address in failed}
        left, pivoted = saga.effects_left, saga.pivoted
        state.finish(Finish(line, state.failure, saga.compensated, failed, reasons, left, pivoted))

    def _rolled_back(self) -> Line:
        """The context at the end: that of before the saga, unless nothing could be undone."""
        state, line = self._state, self._merging.now()
        if not state.root.plan.has_compensation or self._saga.pivoted:
            return line
        changes = diff(line.data, self._line.data)
        line, refined = line.advance(changes, writer=self._writer + 1, by="rollback", at=state.at)
        if refined:
            heads = [number for head in state.root.heads() for number in head.versions]
            parents = dict.fromkeys((*heads, *self._versions))
            state.trail.record("rollback", line, refined, by="rollback", at=state.at, parents=parents)
        return line
