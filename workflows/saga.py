"""The saga log of a run: what can be undone, in which order, and what became of it.

A step is registered before its activity is scheduled and counts once its outcome is success or unknown. The order
is the reverse of causality (Garcia-Molina and Salem, *Sagas*, 1987): sequentially that of completion; in parallel, no
step before the steps that stand on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from context.lineage import Line
from context.values import Json
from graph.plan import PlanNode


class StepState(StrEnum):
    """What is known of a step."""

    SCHEDULED = "scheduled"
    DONE = "done"
    UNKNOWN = "unknown"
    COMPENSATING = "compensating"
    PAUSED = "paused"
    COMPENSATED = "compensated"
    FAILED = "compensation_failed"


@dataclass(frozen=True, slots=True)
class Ancestry:
    """Where a step stands in one scope: its writer there, and the writers it stands on.

    The turns of one `while` share a `scope` and follow each other by `turn`.
    """

    scope: str
    turn: int
    writer: int
    seen: int


@dataclass(slots=True, eq=False)
class Step:
    """One execution of a node that has a compensation. `line` is the context as the node left it."""

    address: str
    planned: PlanNode
    line: Line
    roots: Mapping[str, Json]
    key: str
    ancestry: tuple[Ancestry, ...]
    order: int = 0
    state: StepState = StepState.SCHEDULED

    def stands_on(self, other: Step) -> bool:
        """Whether this step saw what the other one did."""
        for mine, theirs in zip(self.ancestry, other.ancestry, strict=False):
            if mine.scope != theirs.scope:
                return False
            if mine.turn != theirs.turn:
                return mine.turn > theirs.turn
            if mine.writer != theirs.writer:
                return bool(mine.seen >> theirs.writer & 1)
        return False


class Saga:
    """The steps of a run in the order of registration."""

    def __init__(self, *, parallel: bool) -> None:
        self.parallel = parallel
        self.steps: dict[str, Step] = {}
        self.clock = 0
        self.pivoted = False
        """From here the saga only goes forward: nothing is undone any more."""

    def register(self, step: Step) -> None:
        """Note a step before its activity is scheduled. What an operator has retried may have happened before."""
        if not self.pivoted:
            self.steps.setdefault(step.address, step)

    def count(self, address: str, state: StepState, line: Line) -> None:
        """Note that the step succeeded, or that its outcome is unknown."""
        if (step := self.steps.get(address)) is None:
            return
        self.clock += 1
        step.order, step.state, step.line = self.clock, state, line

    def forget_scheduled(self, address: str) -> None:
        """A definite failure did nothing: there is nothing to undo, unless the step was done before it failed."""
        if (step := self.steps.get(address)) is not None and step.state is StepState.SCHEDULED:
            del self.steps[address]

    def happened_inside(self, address: str) -> None:
        """What has no compensation of its own falls to the nearest node around it that has one."""
        around = [step for step in self.steps.values() if _below(address, step.address)]
        if around:
            nearest = max(around, key=lambda step: len(step.address))
            self.count(nearest.address, StepState.UNKNOWN, nearest.line)

    def forget_below(self, address: str) -> None:
        """The steps of a body are undone by the body's own node from now on."""
        if address in self.steps:
            for each in [each for each in self.steps if _below(each, address)]:
                del self.steps[each]

    def pivot(self) -> None:
        """What has completed or runs stays."""
        self.pivoted = True
        self.steps.clear()

    def begin(self) -> None:
        """The run has failed. What is not known to have happened is not undone, nor what a node around it undoes."""
        for step in list(self.steps.values()):
            if step.state is StepState.SCHEDULED:
                del self.steps[step.address]
        for address in list(self.steps):
            self.forget_below(address)

    def next_steps(self) -> list[Step]:
        """Steps whose compensation may start now."""
        waiting = [step for step in self.steps.values() if step.state in {StepState.DONE, StepState.UNKNOWN}]
        running = [step for step in self.steps.values() if step.state in {StepState.COMPENSATING, StepState.PAUSED}]
        if not self.parallel:
            return [] if running or not waiting else [max(waiting, key=lambda step: step.order)]
        unfinished = waiting + running
        return [step for step in waiting if not any(other.stands_on(step) for other in unfinished)]

    def in_state(self, *states: StepState) -> tuple[str, ...]:
        """Addresses of the steps in one of `states`, in reverse order of completion."""
        chosen = [step for step in self.steps.values() if step.state in states]
        return tuple(step.address for step in sorted(chosen, key=lambda step: -step.order))


def _below(address: str, owner: str) -> bool:
    """Whether the address lies in a body of the owner."""
    return address.startswith((f"{owner}/", f"{owner}["))
