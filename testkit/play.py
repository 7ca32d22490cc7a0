"""One run of a graph for a test: outcomes given, rules evaluated, everything else refused or assumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from anabranch.context.changes import ChangeSet
from anabranch.context.merge.union import Conflict
from anabranch.context.values import MISSING, Json, Missing, format_path
from anabranch.errors import AnabranchError, InputError
from anabranch.graph.model import RuleNode
from anabranch.graph.plan import Plan
from anabranch.testkit.addresses import UNDO, means, of, static
from anabranch.testkit.answers import Answers
from anabranch.testkit.given import GivenOutcome
from anabranch.testkit.model import EPOCH, TIMEOUT, Case, Choices
from anabranch.workflows.interpreter.attributes import at_the_end
from anabranch.workflows.interpreter.commands import AskConflict, AwaitEvent, Failure, RunNode, StartChild, StartTimer
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.node_run import Status
from anabranch.workflows.interpreter.scope import Scope
from anabranch.workflows.interpreter.simulation import (
    Answer,
    Arrived,
    Chosen,
    Evaluated,
    Failed,
    Heard,
    TimelineEntry,
    Work,
    drive,
)
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.trail import Version
from anabranch.workflows.interpreter.views import run_status
from anabranch.workflows.interpreter.watcher import Watcher

Evaluate = Callable[[RunNode], ChangeSet]
_NOT_STARTED = frozenset({Status.PENDING, Status.READY, Status.CONFLICT, Status.SKIPPED})


@dataclass(frozen=True, slots=True)
class Script:
    """How a run goes. Without `assume`, a node without an outcome is an error of the test."""

    data: Mapping[str, Json]
    outcomes: Mapping[str, GivenOutcome] = field(default_factory=dict)
    choose: Choices = field(default_factory=dict)
    assume: bool = False
    order: tuple[str, ...] = ()
    cancel_after: str | None = None
    at: datetime = EPOCH

    @classmethod
    def of(cls, case: Case, data: Mapping[str, Json], shared: Mapping[str, GivenOutcome], *, assume: bool) -> Script:
        """The script of a test; `shared` are the outcomes that its file gives for all tests."""
        outcomes = {**shared, **case.outcomes}
        return cls(data, outcomes, case.choose, assume, case.order, case.cancel_after, case.at)


class _LastOfBlocks(Watcher):
    """Hears why the `finally` of each block failed that did."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []

    def finally_failed(self, address: str, failure: Failure) -> None:
        """See Watcher."""
        self.failures.append(failure)


class ObservedState(RunState):
    """The state of a run that remembers every scope that was entered, including bodies that are over."""

    def __init__(self, plan: Plan, data: Mapping[str, Json], *, run: Mapping[str, Json]) -> None:
        self.entered: list[Scope] = []
        self.last = _LastOfBlocks()
        super().__init__(plan, data, run=run, watcher=self.last)

    def enter(self, scope: Scope) -> None:
        """Queue the first nodes of a scope."""
        self.entered.append(scope)
        super().enter(scope)


@dataclass(frozen=True, slots=True)
class Played:
    """A run that is over, with its last context. `refused` is why it did not start; `used` are the outcomes used."""

    state: ObservedState
    data: Mapping[str, Json]
    timeline: tuple[TimelineEntry, ...]
    refused: AnabranchError | None
    used: frozenset[str]

    @property
    def status(self) -> str:
        """completed, failed, cancelled or paused."""
        if self.refused is not None:
            return "failed"
        return run_status(self.state) if self.state.finished else "paused"

    @property
    def paused(self) -> list[str]:
        """Addresses of nodes and compensations that wait for an operator."""
        return list(self.state.waiting_for_operator)

    @property
    def failure(self) -> Failure | None:
        """Why the run failed."""
        if self.refused is not None:
            return Failure("failure", self.refused.code, str(self.refused))
        ending = self.state.finished or self.state.ending
        return self.state.failure if ending is None else ending.failure

    @property
    def finally_failures(self) -> list[Failure]:
        """Why each `finally` failed that did: those of blocks, then that of the run."""
        finish = self.state.finished
        last = None if finish is None or finish.afterwards is None else finish.afterwards.failure
        return self.state.last.failures if last is None else [*self.state.last.failures, last]

    @property
    def result(self) -> dict[str, Json] | None:
        """The data that it ended with; None where it did not complete."""
        finish = self.state.finished
        return None if finish is None or finish.failure is not None else finish.data

    @property
    def search_attributes(self) -> dict[str, Json]:
        """What the graph's own search attributes say at the end."""
        return at_the_end(self.state)

    @property
    def path(self) -> list[TimelineEntry]:
        """What nodes were asked to do, in the order in which they ended, compensations and notices apart."""
        return [
            step
            for step in self.timeline
            if not (_undoes(step.work) or _tells(step.work) or isinstance(step.work, AskConflict))
        ]

    @property
    def notices(self) -> list[str]:
        """The reminders and escalations of which people were told, in this order."""
        return [step.work.address for step in self.timeline if _tells(step.work)]

    @property
    def undone(self) -> list[str]:
        """Addresses of the nodes that were undone, in this order."""
        return [step.work.address.removeprefix(UNDO) for step in self.undo_steps if not isinstance(step.answer, Failed)]

    @property
    def undo_steps(self) -> list[TimelineEntry]:
        """The compensations, those that failed too."""
        return [step for step in self.timeline if _undoes(step.work)]

    @property
    def not_compensated(self) -> list[str]:
        """Addresses of the nodes whose compensation failed; of a run that completed, those of attempts and blocks."""
        finish = self.state.finished
        if finish is None:
            return []
        return list(self.state.compensation_failures if finish.failure is None else finish.not_compensated)

    @property
    def ran(self) -> dict[str, None]:
        """Addresses of all nodes that started, those around bodies too."""
        return {
            scope.address(run): None
            for scope in self.state.entered
            for run in scope.nodes.values()
            if run.status not in _NOT_STARTED
            and (run.status is not Status.CANCELLED or run.started is not None)  # the run ended before its turn
        }

    @property
    def versions(self) -> list[Version]:
        """The audit trail."""
        return self.state.trail.versions


def play(plan: Plan, script: Script, evaluate: Evaluate) -> Played:
    """Run to the end in virtual time. Raises InputError if the script does not say how it goes on."""
    name = plan.graph.name
    run: dict[str, Json] = {"id": "test-run", "session_id": f"{name}-test", "graph": name, "attempt": 1}
    state = ObservedState(plan, script.data, run=run)
    machine = Machine(state)
    at = round(script.at.timestamp() * 1000)
    answers = _ScriptedAnswers(Answers(plan, script.outcomes, evaluate, at=at), script)
    try:
        done = drive(machine, answers, at=at, order=script.order, cancel_after=script.cancel_after)
    except AnabranchError as error:
        if state.entered:
            raise
        return Played(state, script.data, (), error, frozenset())  # the input was rejected: nothing has started
    return Played(state, machine.context().data, done.timeline, None, frozenset(answers.used))


class _ScriptedAnswers:
    """What a script answers to a machine's work."""

    def __init__(self, answers: Answers, script: Script) -> None:
        self._answers = answers
        self._script = script
        self.used: set[str] = set()

    def __call__(self, work: Work) -> Answer | Arrived | Heard:
        if isinstance(work, AskConflict):
            return self._settle(work)
        address, names = of(work), means(work)
        self.used.update(names)
        given = self._script.outcomes.keys() & {*names}
        if not given and not self._script.assume and _needs_outcome(work):
            node = _type_of(work)
            raise InputError(
                f"a {node!r} node ran, and the test gives no outcome for it",
                place=f"node {address!r}",
                suggestion=f"write `{static(address)}: {{set: {{…}}}}` under `outcomes`, or `assume: true` in the file",
            )
        return self._answers(work)

    def _settle(self, work: AskConflict) -> Answer:
        chosen = self._script.choose.get(work.address, self._script.choose.get(static(work.address), {}))
        if chosen == TIMEOUT:
            text = f"nobody answered node {work.address!r} in time"
            return Failed(Failure("timeout", "NO_ANSWER", text, work.address), work.timeout or 0.0)
        assert not isinstance(chosen, str)  # noqa: S101 - the model allows no other text
        return Chosen({each.path: self._choice(work, each, chosen) for each in work.conflicts})

    def _choice(self, work: AskConflict, conflict: Conflict, chosen: Mapping[str, Json]) -> Json | Missing:
        path = format_path(conflict.path)
        values = {each.by: each.value for each in conflict.candidates}
        if path not in chosen:
            if self._script.assume:
                return conflict.candidates[-1].value
            raise InputError(
                f"a conflict at {path!r} waits for a choice, and the test makes none",
                place=f"node {work.address!r}",
                suggestion=f"write `choose: {{{work.address}: {{{path}: …}}}}` with {', '.join(values)} or a value",
            )
        wish = chosen[path]
        if isinstance(wish, str) and wish in values:
            return values[wish]
        if wish == {"remove": True}:
            return MISSING
        return wish["value"] if isinstance(wish, dict) and wish.keys() == {"value"} else wish


def _needs_outcome(work: Work) -> bool:
    if isinstance(work, RunNode):
        return not work.undo and not work.is_beside and not isinstance(work.planned.node, RuleNode)
    return not isinstance(work, StartTimer)


def _type_of(work: Work) -> str:
    if isinstance(work, RunNode | StartChild):
        return str(work.planned.node.type)
    return "receive" if isinstance(work, AwaitEvent) else "approval"


def _tells(work: Work | Evaluated) -> bool:
    return isinstance(work, RunNode) and work.is_beside


def _undoes(work: Work | Evaluated) -> bool:
    return isinstance(work, RunNode) and work.undo
