"""A `Film` takes a frame of the interpreter's state after each activation of a replayed workflow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from anabranch.context.values import Json, format_path
from anabranch.inspection.frame import Frame, SagaStep
from anabranch.inspection.visits import Recorder
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.decisions import Decision
from anabranch.workflows.interpreter.excerpt import questions_that_fit
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.node_run import NodeRun
from anabranch.workflows.interpreter.node_state import NodeState, items_under_way, runs
from anabranch.workflows.interpreter.questions import OpenQuestion
from anabranch.workflows.interpreter.scope import Scope
from anabranch.workflows.interpreter.size import ByteBudget
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.views import retrying, run_status


@dataclass(slots=True)
class _Seen:
    """A node as it was last looked at."""

    run: NodeRun
    signs: tuple[object, ...]
    look: int


class Film:
    """The frames so far. `recorder` notes the visits."""

    def __init__(self, recorder: Recorder) -> None:
        self.frames: list[Frame] = []
        self._recorder = recorder
        self._over = 0
        self._nodes: dict[str, _Seen] = {}
        self._looks = 0
        self._asked: tuple[tuple[str, OpenQuestion], ...] = ()
        self._questions: tuple[Mapping[str, Json], ...] = ({}, {}, {})
        self._saga: tuple[SagaStep, ...] = ()
        self._decided: Mapping[str, Decision] = {}
        self._paused: Mapping[str, Json] = {}

    def look(self, machine: Machine, event_id: int, at: int) -> None:
        """Take a frame."""
        state = machine.state
        changed, gone = self._changes(state)
        approvals, conflicts, events = self._asking(state)
        self.frames.append(
            Frame(
                event_id,
                at,
                run_status(state),
                changed,
                gone,
                dict(_settled(state, changed)),
                len(self._recorder.visits),
                self._ended(),
                state.trail.count,
                state.is_paused,
                machine.context().data,
                tuple(format_path(each.path) for each in machine.unsettled()),
                tuple(state.work),
                self._paused_nodes(state),
                approvals,
                conflicts,
                events,
                self._steps(state),
                _failure(state),
                state.saga.compensated if state.ending is None else state.ending.compensated,
                dict(state.compensation_failures),
                _finally_failed(state),
                dict(state.lacking),
                self._decisions(state),
                dict(state.limited),
                tuple(state.trail.warnings),
                tuple(state.trail.spent.values()),
            )
        )

    def _changes(self, state: RunState) -> tuple[dict[str, NodeState], tuple[str, ...]]:
        """The nodes that are not as they were at the last look, and those that people no longer see."""
        self._looks += 1
        nodes, changed, found = self._nodes, dict[str, NodeState](), 0
        for scope, run in runs(state):
            address, signs = scope.prefix + run.planned.id, _signs(state, scope, run)
            seen = nodes.get(address)
            if seen is None or seen.run is not run or seen.signs != signs:
                changed[address] = NodeState.of(state, scope, run)
                nodes[address] = _Seen(run, signs, self._looks)
                found += 1
            elif seen.look != self._looks:
                seen.look = self._looks
                found += 1
        if found == len(nodes):
            return changed, ()
        gone = tuple(address for address, seen in nodes.items() if seen.look != self._looks)
        for address in gone:
            del nodes[address]
        return changed, gone

    def _ended(self) -> tuple[int, ...]:
        """The visits that ended since the last look."""
        ended = tuple(self._recorder.over[self._over :])
        self._over += len(ended)
        return ended

    def _asking(self, state: RunState) -> tuple[Mapping[str, Json], ...]:
        asked = tuple(state.questions.items())
        if len(asked) != len(self._asked) or any(
            new[0] != old[0] or new[1] is not old[1] for new, old in zip(asked, self._asked, strict=True)
        ):
            self._asked = asked
            found = {name: each.shown for name, each in questions_that_fit(state, ByteBudget()).items()}
            shown = (found.get(name) for name in ("approvals", "conflicts", "events"))
            self._questions = tuple(each if isinstance(each, dict) else {} for each in shown)
        return self._questions

    def _paused_nodes(self, state: RunState) -> Mapping[str, Json]:
        if (waiting := state.waiting_for_operator) != tuple(self._paused):
            self._paused = {address: retrying(state, address) for address in waiting}
        return self._paused

    def _decisions(self, state: RunState) -> Mapping[str, Decision]:
        if state.decisions.newest != self._decided:
            self._decided = dict(state.decisions.newest)
        return self._decided

    def _steps(self, state: RunState) -> tuple[SagaStep, ...]:
        steps = state.saga.steps
        before = self._saga
        if len(before) == len(steps) and all(
            old.address == new.address and old.state is new.state and old.order == new.order
            for old, new in zip(before, steps.values(), strict=True)
        ):
            return before
        self._saga = tuple(SagaStep(step.address, step.state, step.order) for step in steps.values())
        return self._saga


def _settled(state: RunState, changed: Mapping[str, NodeState]) -> Iterator[tuple[tuple[str, int], bool]]:
    """The edges whose source has ended since the last look: those that are not taken are dead."""
    for address, node in changed.items():
        if not node.status.final:
            continue
        for scope in dict.fromkeys((state.main, state.root)):
            if address.startswith(scope.prefix) and (run := scope.nodes.get(address[len(scope.prefix) :])) is not None:
                for edge in run.planned.outgoing:
                    taken = scope.nodes[edge.edge.target].taken
                    yield (scope.prefix, edge.index), any(each is edge for each in taken)


def _signs(state: RunState, scope: Scope, run: NodeRun) -> tuple[object, ...]:
    """What of a node people see, so that most nodes at most looks need no more than one comparison."""
    if (made := run.progress) is None:
        return (run.status, run.started, run.ended, run.attempt, run.next_at, run.failure)
    count = (made.all, made.done, made.failed, made.skipped, made.passed_over, items_under_way(state, scope, run))
    return (run.status, run.started, run.ended, run.attempt, run.next_at, run.failure, count)


def _failure(state: RunState) -> Failure | None:
    """Why the run fails; of a `finally` only what came before it counts."""
    return state.failure if state.ending is None else state.ending.failure


def _finally_failed(state: RunState) -> Failure | None:
    if (finish := state.finished) is None or finish.afterwards is None:
        return None
    return finish.afterwards.failure
