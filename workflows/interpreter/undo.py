"""Compensation of a failed or cancelled run, and the rollback of its context."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anabranch.context.changes import ChangeSet, diff
from anabranch.context.merge.lineage import Line
from anabranch.context.values import Json
from anabranch.errors import AnabranchError
from anabranch.graph.dataflow.sql import undoes_recorded_effect
from anabranch.graph.model import ApprovalNode, ForeachNode, GraphNode, RuleNode, WaitNode, WhileNode
from anabranch.workflows.interpreter.commands import Failure, Finish, RunNode
from anabranch.workflows.interpreter.saga import Ancestry, Saga, Step, StepState
from anabranch.workflows.interpreter.scope import NodeRun, Scope
from anabranch.workflows.interpreter.work import mapped_output

if TYPE_CHECKING:
    from anabranch.graph.plan import PlanNode
    from anabranch.workflows.interpreter.machine import Machine

PREFIX = "undo "
"""Addresses of compensations: `undo reserve`. Node ids have no spaces."""
_UNFINISHED = (StepState.COMPENSATING, StepState.PAUSED, StepState.DONE, StepState.UNKNOWN)


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
        self._versions: tuple[int, ...] = ()
        self._writer = 0
        self._begun = False
        self._until: float | None = None
        self.failures: dict[str, Failure] = {}
        """Why compensations failed for good, by the address of the step."""

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
        self._happened(address, planned)
        self.saga.forget_below(address)
        self.saga.count(address, StepState.DONE, line)
        if planned.node.pivot:
            self.saga.pivot()

    def step_failed(self, address: str, planned: PlanNode, failure: Failure, line: Line) -> None:
        """A definite failure did nothing; after any other outcome the step may have happened.

        What happened inside a body is known step by step, whatever the outcome of the body's own node.
        """
        if failure.unknown and not _has_body(planned):
            self._happened(address, planned)
            self.saga.count(address, StepState.UNKNOWN, line)
        else:
            self.saga.forget_scheduled(address)

    def _happened(self, address: str, planned: PlanNode) -> None:
        acts = not isinstance(planned.node, RuleNode | WaitNode | ApprovalNode) and not _has_body(planned)
        if acts and planned.compensation is None:
            self.saga.happened_inside(address)

    # once the run has failed

    def owns(self, address: str) -> bool:
        """Whether the address is that of a compensation."""
        return address.startswith(PREFIX)

    def proceed(self) -> None:
        """Start the compensations whose turn it is, or end the run when none is left."""
        if not self._begun:
            self._begin()
        for step in self.saga.next_steps():
            self._command(step)
        if not self.saga.in_state(*_UNFINISHED):
            self._finish()

    def succeeded(self, address: str, result: ChangeSet | Json) -> None:
        """A compensation is done; what it wrote outlives the rollback."""
        step = self.saga.steps[address.removeprefix(PREFIX)]
        step.state = StepState.COMPENSATED
        try:
            self._write(step, result)
        except AnabranchError as error:  # its `output` does not fit its result
            self._failed(step, Failure("failure", error.code, str(error), address))
        self.proceed()

    def failed(self, address: str, failure: Failure) -> None:
        """A compensation finally failed: it is reported and the others go on, or an operator is asked."""
        self._failed(self.saga.steps[address.removeprefix(PREFIX)], failure)
        self.proceed()

    def paused(self, address: str) -> Step | None:
        """The step whose compensation waits for an operator, if `address` is one."""
        step = self.saga.steps.get(address.removeprefix(PREFIX))
        return step if step is not None and self.owns(address) and step.state is StepState.PAUSED else None

    @property
    def waiting(self) -> tuple[str, ...]:
        """Addresses of the compensations that wait for an operator."""
        return tuple(PREFIX + address for address in self.saga.in_state(StepState.PAUSED))

    def retry(self, step: Step) -> None:
        """An operator has a compensation tried again."""
        self.failures.pop(step.address, None)
        self._command(step)

    def give_up(self, step: Step, *, done: bool) -> None:
        """An operator says that a step is undone by other means (`done`), or will not be."""
        if done:
            self.failures.pop(step.address, None)
        step.state = StepState.COMPENSATED if done else StepState.FAILED
        self.proceed()

    def _begin(self) -> None:
        self._begun = True
        self._writer = self._machine.branches.next_outside_writer  # which the context of now has seen
        self._line, self._versions = self._machine.root.base, self._machine.root.versions
        self.saga.begin()
        if self._settings is not None and self._settings.deadline is not None:
            self._until = self._machine.at / 1000 + self._settings.deadline.total_seconds()

    def _failed(self, step: Step, failure: Failure) -> None:
        self.failures[step.address] = failure
        step.state = StepState.PAUSED if self._pause else StepState.FAILED

    def _command(self, step: Step) -> None:
        step.state = StepState.COMPENSATING
        left = None if self._until is None else max(0.0, self._until - self._machine.at / 1000)
        address, key = PREFIX + step.address, f"{step.key}/undo"
        roots = self._roots(step)
        self._machine.emit(RunNode(address, step.planned, step.line, roots, key, undo=True, deadline=left))

    def _roots(self, step: Step) -> dict[str, Json]:
        failure = self._machine.failure
        told = failure.root() if failure else None
        return {**step.roots, **self._machine.roots(self._machine.root), "error": told}

    def _write(self, step: Step, result: ChangeSet | Json) -> None:
        machine, address = self._machine, PREFIX + step.address
        if not isinstance(result, ChangeSet):
            result = mapped_output(step.planned, result, step.line, self._roots(step))
        self._writer += 1
        self._line, refined = self._line.advance(result, writer=self._writer, by=address, at=machine.at)
        if refined:
            record, parents = machine.trail.record, self._versions
            self._versions = (record("compensation", self._line, refined, by=address, at=machine.at, parents=parents),)

    def _finish(self) -> None:
        machine = self._machine
        line = machine.branches.now()
        if machine.plan.has_compensation and not self.saga.pivoted:
            changes = diff(line.data, self._line.data)
            line, refined = line.advance(changes, writer=self._writer + 1, by="rollback", at=machine.at)
            if refined:
                heads = [number for run in machine.root.frontier() for number in run.versions]
                parents = dict.fromkeys((*heads, *self._versions))
                machine.trail.record("rollback", line, refined, by="rollback", at=machine.at, parents=parents)
        done, failed = self.saga.in_state(StepState.COMPENSATED), self.saga.in_state(StepState.FAILED)
        reasons = {address: self.failures[address] for address in failed}
        machine.finish(Finish(line, machine.failure, done, failed, reasons, self.saga.effects_left))


def _has_body(planned: PlanNode) -> bool:
    node = planned.node
    return isinstance(node, ForeachNode | WhileNode) or (isinstance(node, GraphNode) and node.mode == "inline")
