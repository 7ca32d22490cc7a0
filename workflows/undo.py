"""Compensation of a failed or cancelled run, and the rollback of its context."""

from __future__ import annotations

from typing import TYPE_CHECKING

from context.changes import ChangeSet, diff
from context.lineage import Line
from context.values import Json
from graph.sql import undoes_recorded_effect
from workflows.commands import Failure, Finish, RunNode
from workflows.saga import Ancestry, Saga, Step, StepState
from workflows.scope import NodeRun, Scope

if TYPE_CHECKING:
    from graph.plan import PlanNode
    from workflows.machine import Machine

PREFIX = "undo "
"""Addresses of compensations: `undo reserve`. Node ids have no spaces."""


class Undo:
    """The saga of one run, and the work of undoing it."""

    def __init__(self, machine: Machine) -> None:
        settings = machine.plan.graph.saga
        self._machine = machine
        self._settings = settings
        self._pause = settings is not None and settings.on_compensation_failure == "pause"
        self.saga = Saga(parallel=settings is not None and settings.compensation == "parallel")
        self._line: Line = machine.root.base
        """The data of before the saga, and what compensations wrote."""
        self._writer = machine.root.first_outside_writer
        self._until: float | None = None
        self.failures: dict[str, Failure] = {}

    # while the run goes forward

    def register(self, scope: Scope, run: NodeRun, key: str, roots: dict[str, Json], line: Line) -> None:
        """Note a step before its activity is scheduled, if it can be undone."""
        if (planned := run.planned.compensation) is None:
            return
        address = scope.address(run)
        ancestry = (*self._machine.ancestry(scope), Ancestry(scope.name, scope.turn, scope.writer(run), line.seen))
        told = key if undoes_recorded_effect(run.planned.node, planned.node) else None
        self.saga.register(Step(address, planned, line, {**roots, "forward_key": told}, key, ancestry))

    def step_succeeded(self, address: str, planned: PlanNode, line: Line) -> None:
        """The step is done: it is undone if the run fails later."""
        if planned.compensation is not None:
            self.saga.forget_below(address)
        self.saga.count(address, StepState.DONE, line)
        if planned.node.pivot:
            self.saga.pivot()

    def step_failed(self, address: str, failure: Failure, line: Line) -> None:
        """A definite failure did nothing; after any other outcome the step may have happened."""
        if failure.unknown:
            self.saga.count(address, StepState.UNKNOWN, line)
        else:
            self.saga.forget_scheduled(address)

    # once the run has failed

    def owns(self, address: str) -> bool:
        """Whether the address is that of a compensation."""
        return address.startswith(PREFIX)

    def proceed(self) -> None:
        """Start the compensations whose turn it is, or end the run when none is left."""
        if self._until is None and self._settings is not None and self._settings.deadline is not None:
            self._until = self._machine.at / 1000 + self._settings.deadline.total_seconds()
        for step in self.saga.next_steps():
            step.state = StepState.COMPENSATING
            self._command(step)
        if not self.saga.in_state(StepState.COMPENSATING, StepState.PAUSED, StepState.DONE, StepState.UNKNOWN):
            self._finish()

    def succeeded(self, address: str, result: ChangeSet | Json) -> None:
        """A compensation is done; what it wrote outlives the rollback."""
        step = self.saga.steps[address.removeprefix(PREFIX)]
        step.state = StepState.COMPENSATED
        if isinstance(result, ChangeSet):
            self._writer += 1
            at = self._machine.at
            self._line, refined = self._line.advance(result, writer=self._writer, by=address, at=at)
            if refined:
                self._machine.trail.record("compensation", self._line, refined, by=address, at=at, parents=())
        self.proceed()

    def failed(self, address: str, failure: Failure) -> None:
        """A compensation finally failed: it is reported and the others go on, or an operator is asked."""
        step = self.saga.steps[address.removeprefix(PREFIX)]
        self.failures[step.address] = failure
        step.state = StepState.PAUSED if self._pause else StepState.FAILED
        self.proceed()

    def paused(self, address: str) -> Step | None:
        """The step whose compensation waits for an operator, if `address` is one."""
        step = self.saga.steps.get(address.removeprefix(PREFIX))
        return step if step is not None and self.owns(address) and step.state is StepState.PAUSED else None

    def retry(self, step: Step) -> None:
        """An operator has a compensation tried again."""
        self.failures.pop(step.address, None)
        step.state = StepState.COMPENSATING
        self._command(step)

    def give_up(self, step: Step, *, done: bool) -> None:
        """An operator says that a step is undone by other means (`done`), or will not be."""
        step.state = StepState.COMPENSATED if done else StepState.FAILED
        self.proceed()

    def _command(self, step: Step) -> None:
        machine = self._machine
        failure = machine.failure
        roots = {**step.roots, **machine.roots(machine.root), "error": failure.root() if failure else None}
        left = None if self._until is None else max(0.001, self._until - machine.at / 1000)
        address = PREFIX + step.address
        key = f"{step.key}/undo"
        machine.emit(RunNode(address, step.planned, step.line, roots, key, undo=True, deadline=left))

    def _finish(self) -> None:
        machine = self._machine
        line = machine.branches.now()
        if machine.plan.has_compensation:
            changes = diff(line.data, self._line.data)
            line, refined = line.advance(changes, writer=self._writer + 1, by="rollback", at=machine.at)
            if refined:
                parents = (machine.trail.count,)
                machine.trail.record("rollback", line, refined, by="rollback", at=machine.at, parents=parents)
        done = self.saga.in_state(StepState.COMPENSATED)
        machine.finish(Finish(line, machine.failure, done, self.saga.in_state(StepState.FAILED)))
