"""The saga log of a run: which steps can be undone, in which order, and their state.

A step is registered before its activity is scheduled, and counts once its outcome is success or unknown. Steps are
undone in reverse causal order (Garcia-Molina and Salem, *Sagas*, 1987): sequentially, in reverse order of completion;
in parallel, each step after all steps that depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from anabranch.context.changes import ChangeSet
from anabranch.context.merge.lineage import Line
from anabranch.context.values import Json
from anabranch.graph.plan_node import PlanNode
from anabranch.graph.policies import Saga as Settings
from anabranch.workflows.interpreter.address import around, inside_attempt

COMPENSATION: Final = "undo "
"""What the addresses of compensations start with: `undo reserve`. Node ids have no spaces."""


class StepState(StrEnum):
    """The state of a step."""

    SCHEDULED = "scheduled"
    DONE = "done"
    UNKNOWN = "unknown"
    COMPENSATING = "compensating"
    PAUSED = "paused"
    COMPENSATED = "compensated"
    FAILED = "compensation_failed"


_WAITING = frozenset({StepState.DONE, StepState.UNKNOWN})
_RUNNING = frozenset({StepState.COMPENSATING, StepState.PAUSED})
_FORWARD = _WAITING | {StepState.SCHEDULED}
"""States in which nobody has begun to undo the step."""


@dataclass(frozen=True, slots=True)
class Ancestry:
    """The place of a step in one scope: its writer there, and the writers that it has seen.

    The turns of one `while` share a `scope`, and are ordered by `turn`.
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


class _Dependencies:
    """The steps that at least one of `steps` depends on: it has seen their writes, or is in a later turn of their loop.

    Goes scope by scope, from the outermost one, which avoids comparing all pairs.
    """

    def __init__(self, steps: Iterable[Step]) -> None:
        self._turns: dict[tuple[Hashable, ...], int] = {}
        self._seen: dict[tuple[Hashable, ...], int] = {}
        for step in steps:
            for place, each in _places(step):
                self._turns[place] = max(each.turn, self._turns.get(place, 0))
                seen = each.seen & ~(1 << each.writer)
                self._seen[*place, each.turn] = seen | self._seen.get((*place, each.turn), 0)

    def __contains__(self, step: Step) -> bool:
        return any(
            self._turns[place] > each.turn or self._seen[*place, each.turn] >> each.writer & 1
            for place, each in _places(step)
        )


def _places(step: Step) -> Iterator[tuple[tuple[Hashable, ...], Ancestry]]:
    """Each scope around a step, identified by the turns and nodes around that scope."""
    place: tuple[Hashable, ...] = ()
    for each in step.ancestry:
        yield (*place, each.scope), each
        place = (*place, each.scope, each.turn, each.writer)


class Saga:
    """The steps of a run in the order of registration."""

    def __init__(self, *, parallel: bool) -> None:
        self.parallel = parallel
        self.steps: dict[str, Step] = {}
        self.clock = 0
        self.pivoted = False
        """The saga only goes forward: nothing is undone any more."""
        self.effects_left = False
        """Whether something has happened that no compensation of this run will undo."""
        self.attempts: dict[str, None] = {}
        """Attempts of composites under way after which another may start, by address: what they did is undone first,
        also behind a pivot."""
        self.undone: list[str] = []
        """The addresses of steps that were undone with their attempt."""
        self.written: list[tuple[str, ChangeSet]] = []
        """What their compensations wrote, with the address of the step, and what the `finally` of a block that failed
        wrote, with its own."""

    @classmethod
    def of(cls, settings: Settings | None) -> Self:
        """The empty log of a run whose graph has these settings."""
        return cls(parallel=settings is not None and settings.compensation == "parallel")

    def begin_attempt(self, address: str) -> None:
        """Another attempt may start after this one."""
        self.attempts[address] = None

    def end_attempt(self, address: str) -> None:
        """No other attempt starts after this one."""
        self.attempts = {each: None for each in self.attempts if not inside_attempt(each, address)}
        self._go_forward()

    def register(self, step: Step) -> None:
        """Note a step before its activity is scheduled. A node that an operator retries keeps its first entry."""
        if not self.pivoted or self._may_be_repeated(step.address):
            self.steps.setdefault(step.address, step)

    def count(self, address: str, state: StepState, line: Line) -> None:
        """Note that a step succeeded, or that its outcome is unknown."""
        if (step := self.steps.get(address)) is None:
            return
        self.clock += 1
        step.order, step.state, step.line = self.clock, state, line

    def forget_scheduled(self, address: str) -> None:
        """A step failed without effect: there is nothing to undo, unless an earlier attempt succeeded."""
        if (step := self.steps.get(address)) is not None and step.state is StepState.SCHEDULED:
            del self.steps[address]

    def happened_inside(self, address: str, is_pivot: Callable[[str], bool]) -> None:
        """A node without compensation had an effect: the nearest node around it that has a compensation undoes it.

        A pivot around it that has none may have happened.
        """
        for owner in around(address):
            if (step := self.steps.get(owner)) is not None:
                self.count(owner, StepState.UNKNOWN, step.line)
                return
            if is_pivot(owner):
                self.pivot(owner)
                return
        self.effects_left = True

    def forget_below(self, address: str) -> None:
        """A node with a body succeeded: its compensation replaces those of the steps inside."""
        if address in self.steps:
            for each in [each for each in self.steps if "/" in each and address in around(each)]:
                del self.steps[each]

    def pivot(self, address: str) -> None:
        """The pivot at an address succeeded, or may have: nothing before it is undone any more.

        What another attempt is to do again is undone all the same, unless the pivot is in the attempt.
        """
        self.pivoted = self.effects_left = True
        self.attempts = {each: None for each in self.attempts if not inside_attempt(address, each)}
        self._go_forward()

    def begin(self, attempt: str = "") -> None:
        """The run, or an attempt, has failed. Forget steps that did not happen, or that a node around them undoes."""
        if attempt == "":
            self.attempts.clear()
            self._go_forward()
        steps = self._inside(attempt)
        for step in steps:
            if step.state is StepState.SCHEDULED:
                del self.steps[step.address]
        owners = {step.address for step in steps if step.state in _WAITING}
        for step in steps:
            if step.state in _WAITING and not owners.isdisjoint(around(step.address)):
                del self.steps[step.address]

    def end_undo(self, attempt: str) -> bool:
        """An attempt has been undone. Returns whether all of it was."""
        steps = sorted(self._inside(attempt), key=lambda step: -step.order)
        done = [step.address for step in steps if step.state is StepState.COMPENSATED]
        for address in done:
            del self.steps[address]
        self.undone.extend(done)
        return len(done) == len(steps)

    def next_steps(self, attempt: str = "") -> list[Step]:
        """The steps of the run, or of an attempt, whose compensation may start now."""
        steps = self._inside(attempt)
        waiting = [step for step in steps if step.state in _WAITING]
        running = [step for step in steps if step.state in _RUNNING]
        if not self.parallel:
            return [] if running or not waiting else [max(waiting, key=lambda step: step.order)]
        if not waiting:  # usual in a wide graph, where all steps start at once
            return []
        dependencies = _Dependencies(waiting + running)
        return [step for step in waiting if step not in dependencies]

    def is_over(self, attempt: str = "") -> bool:
        """Whether no compensation of the run, or of an attempt, is under way or left to do."""
        return not any(step.state in _WAITING | _RUNNING for step in self._inside(attempt))

    @property
    def compensated(self) -> tuple[str, ...]:
        """The addresses of all steps that were undone, those of attempts first."""
        return (*self.undone, *self.in_state(StepState.COMPENSATED))

    def in_state(self, *states: StepState) -> tuple[str, ...]:
        """The addresses of the steps in one of `states`, in reverse order of completion."""
        chosen = [step for step in self.steps.values() if step.state in states]
        return tuple(step.address for step in sorted(chosen, key=lambda step: -step.order))

    def _inside(self, attempt: str) -> list[Step]:
        return [step for step in self.steps.values() if inside_attempt(step.address, attempt)]

    def _may_be_repeated(self, address: str) -> bool:
        return any(each in self.attempts for each in (address, *around(address)))

    def _go_forward(self) -> None:
        """Behind a pivot, forget the steps that nobody will undo."""
        if self.pivoted:
            self.steps = {
                address: step
                for address, step in self.steps.items()
                if step.state not in _FORWARD or self._may_be_repeated(address)
            }
