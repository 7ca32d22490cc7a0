"""What a cancel at this moment would undo, found out from the saga log by the interpreter's own rules."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from anabranch.context.values import Json
from anabranch.inspection.visits import Visit
from anabranch.workflows.interpreter.address import around
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.merging import Merging
from anabranch.workflows.interpreter.saga import COMPENSATION, Saga, Step, StepState
from anabranch.workflows.interpreter.scope import BodyRun, Started
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.undo import Undo

_CANCELLED = Failure("cancelled", "CANCELLED", "the run is cancelled")


@dataclass(frozen=True, slots=True)
class PlannedUndo:
    """A step that would be undone."""

    address: str
    type: str
    """The type of the node that undoes it."""
    wave: int
    """Steps with the same number, from 1, may be undone at the same time; those with the next one wait for them."""
    is_certain: bool
    """Whether it happened. Else it is under way, or its outcome is unknown: it is undone if it may have happened."""
    is_under_way: bool
    """Whether it runs now: it is undone unless it turns out to have failed."""
    sees: Mapping[str, Json]
    """What of the context its compensation is given, as the step left it."""


@dataclass(frozen=True, slots=True)
class UndoPlan:
    """What a cancel would undo, and what it would not."""

    steps: tuple[PlannedUndo, ...]
    """In the order in which their compensations start."""
    is_parallel: bool
    done: tuple[str, ...]
    """Steps that are undone already."""
    failed: tuple[str, ...]
    """Steps that could not be undone."""
    stays: tuple[str, ...]
    """Nodes that may have had an effect which nothing undoes."""
    pivoted: bool
    """Whether the saga only goes forward: nothing is undone any more."""
    is_over: bool
    """Whether the run has ended, or only its `finally` is left: a cancel would undo nothing."""


def undo_plan(machine: Machine, visits: Iterable[Visit]) -> UndoPlan:
    """The plan for a run as it is now. The run itself is not changed."""
    state = machine.state
    ending = state.ending or state.finished
    in_flight = {node.scope.attempt_address(node.run) for node in state.work.values() if isinstance(node, Started)}
    states = {address: step.state for address, step in state.saga.steps.items()}
    states |= dict.fromkeys(_succeeding(state), StepState.DONE)
    saga = _as_cancelled(state)
    attempts = [rollback.attempt for rollback in state.rollbacks.values()]
    steps = tuple(_planned(saga, states, in_flight, attempts)) if ending is None else ()
    done = state.saga.compensated if ending is None else ending.compensated
    failed = state.saga.in_state(StepState.FAILED) if ending is None else ending.not_compensated
    covered = {*(step.address for step in steps), *done, *failed}
    pivoted = saga.pivoted if ending is None else ending.pivoted
    stays = tuple(dict.fromkeys(_staying(visits, covered)))
    return UndoPlan(steps, saga.parallel, done, failed, stays, pivoted, ending is not None)


def _as_cancelled(state: RunState) -> Saga:
    """A copy of the saga, in which all that runs has been cancelled without an answer to whether it happened."""
    trial = copy.copy(state)
    trial.saga = saga = _copied(state.saga)
    undo = Undo(trial, Merging(trial))
    for node in state.work.values():
        if isinstance(node, Started) and node.scope.address(node.run) not in state.bodies:
            undo.step_failed(node.scope.attempt_address(node.run), node.run.planned, _CANCELLED, node.line)
    for address, body in _succeeding(state).items():  # behind what is cancelled now
        end = body.end
        undo.step_succeeded(address, body.node.run.planned, body.line if end is None else end.line)
    saga.begin()  # of a run that has failed too: it may still wait for what it has cancelled
    return saga


def _succeeding(state: RunState) -> dict[str, BodyRun]:
    """The blocks that have succeeded whose `finally` runs, by address: no cancel changes that."""
    running = [body for body in state.lasts.values() if body.end is not None and body.end.failure is None]
    return {body.node.scope.attempt_address(body.node.run): body for body in running}


def _copied(saga: Saga) -> Saga:
    made = copy.copy(saga)
    made.steps = {address: copy.copy(step) for address, step in saga.steps.items()}
    made.attempts, made.undone, made.written = dict(saga.attempts), list(saga.undone), list(saga.written)
    return made


def _planned(
    saga: Saga, states: Mapping[str, StepState], in_flight: set[str], attempts: Iterable[str]
) -> Iterable[PlannedUndo]:
    """The compensations in their order; each is taken to succeed."""
    wave = 0
    for step in [each for each in saga.steps.values() if each.state in {StepState.COMPENSATING, StepState.PAUSED}]:
        wave = 1
        yield _entry(step, 1, is_certain=True, is_under_way=False)
        step.state = StepState.COMPENSATED
    for number, steps in enumerate(_batches(saga, attempts), wave + 1):
        for step in steps:
            happened = states.get(step.address) is StepState.DONE
            yield _entry(step, number, is_certain=happened, is_under_way=not happened and step.address in in_flight)
            step.state = StepState.COMPENSATED


def _batches(saga: Saga, attempts: Iterable[str]) -> Iterator[list[Step]]:
    """The steps that are undone together, one batch after the other: those of `attempts` that are being undone first.

    Before the next batch the steps of the one before are to be undone.
    """
    yield from iter(lambda: [step for attempt in attempts for step in saga.next_steps(attempt)], [])
    if saga.parallel:
        yield from iter(saga.next_steps, [])
        return
    waiting = [step for step in saga.steps.values() if step.state in {StepState.DONE, StepState.UNKNOWN}]
    yield from ([step] for step in sorted(waiting, key=lambda step: -step.order))


def _entry(step: Step, wave: int, *, is_certain: bool, is_under_way: bool) -> PlannedUndo:
    reads, data = step.planned.reads, step.line.data
    sees = dict(data) if reads is None else {key: data[key] for key in reads if key in data}
    return PlannedUndo(step.address, step.planned.node.type, wave, is_certain, is_under_way, sees)


def _staying(visits: Iterable[Visit], covered: set[str]) -> Iterable[str]:
    for visit in visits:
        if visit.address.startswith(COMPENSATION) or not visit.has_effect:
            continue
        happened = visit.failure is None if visit.ended is not None else True
        may_have = happened or (visit.failure is not None and visit.failure.unknown)
        if may_have and covered.isdisjoint((visit.address, *around(visit.address))):
            yield visit.address
