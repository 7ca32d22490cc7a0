"""The saga log of a run: what can be undone, in which order, and what became of it.

A step is registered before its activity is scheduled and counts once its outcome is success or unknown. The order
is the reverse of causality (Garcia-Molina and Salem, *Sagas*, 1987): sequentially that of completion; in parallel, no
step before the steps that stand on it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from anabranch.context.merge.lineage import Line
from anabranch.context.values import Json
from anabranch.graph.plan import PlanNode


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


class _Bases:
    """The steps that at least one of `steps` stands on: it saw what they did, or is of a later turn of their loop.

    Scope by scope, from the outermost, so that it is not each against each.
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
    """Each scope that a step stands in, told apart by the turns and nodes around it."""
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
        """From here the saga only goes forward: nothing is undone any more."""
        self.effects_left = False
        """Whether something has happened that no compensation in here will undo."""

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
        nearest = next((self.steps[owner] for owner in _around(address) if owner in self.steps), None)
        if nearest is None:
            self.effects_left = True
        else:
            self.count(nearest.address, StepState.UNKNOWN, nearest.line)

    def forget_below(self, address: str) -> None:
        """The steps of a body are undone by the body's own node from now on."""
        if address in self.steps:
            for each in [each for each in self.steps if "/" in each and address in _around(each)]:
                del self.steps[each]

    def pivot(self) -> None:
        """What has completed or runs stays."""
        self.pivoted = self.effects_left = True
        self.steps.clear()

    def begin(self) -> None:
        """The run has failed. What is not known to have happened is not undone, nor what a node around it undoes."""
        for step in list(self.steps.values()):
            if step.state is StepState.SCHEDULED:
                del self.steps[step.address]
        inner = [address for address in self.steps if any(owner in self.steps for owner in _around(address))]
        for address in inner:
            del self.steps[address]

    def next_steps(self) -> list[Step]:
        """Steps whose compensation may start now."""
        waiting = [step for step in self.steps.values() if step.state in {StepState.DONE, StepState.UNKNOWN}]
        running = [step for step in self.steps.values() if step.state in {StepState.COMPENSATING, StepState.PAUSED}]
        if not self.parallel:
            return [] if running or not waiting else [max(waiting, key=lambda step: step.order)]
        bases = _Bases(waiting + running)
        return [step for step in waiting if step not in bases]

    def in_state(self, *states: StepState) -> tuple[str, ...]:
        """Addresses of the steps in one of `states`, in reverse order of completion."""
        chosen = [step for step in self.steps.values() if step.state in states]
        return tuple(step.address for step in sorted(chosen, key=lambda step: -step.order))


def _around(address: str) -> Iterator[str]:
    """The addresses of the composite nodes around an address such as `pack[3]/weigh`, the nearest first."""
    *around, _ = address.split("/")
    while around:
        yield "/".join((*around[:-1], around[-1].partition("[")[0]))
        around.pop()
