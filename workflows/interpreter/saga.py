"""The saga log of a run: which steps can be undone, in which order, and their state.

A step is registered before its activity is scheduled, and counts once its outcome is success or unknown. Steps are
undone in reverse causal order (Garcia-Molina and Salem, *Sagas*, 1987): sequentially, in reverse order of completion;
in parallel, each step after all steps that depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from anabranch.context.merge.lineage import Line
from anabranch.context.values import Json
from anabranch.graph.plan import PlanNode

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


_UNFINISHED = frozenset({StepState.COMPENSATING, StepState.PAUSED, StepState.DONE, StepState.UNKNOWN})


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

    def register(self, step: Step) -> None:
        """Note a step before its activity is scheduled. A node that an operator retries keeps its first entry."""
        if not self.pivoted:
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
        for owner in _around(address):
            if (step := self.steps.get(owner)) is not None:
                self.count(owner, StepState.UNKNOWN, step.line)
                return
            if is_pivot(owner):
                self.pivot()
                return
        self.effects_left = True

    def forget_below(self, address: str) -> None:
        """A node with a body succeeded: its compensation replaces those of the steps inside."""
        if address in self.steps:
            for each in [each for each in self.steps if "/" in each and address in _around(each)]:
                del self.steps[each]

    def pivot(self) -> None:
        """A pivot succeeded, or may have: nothing before it is undone any more."""
        self.pivoted = self.effects_left = True
        self.steps.clear()

    def begin(self) -> None:
        """The run has failed. Forget steps that did not happen, and steps that a node around them undoes."""
        for step in list(self.steps.values()):
            if step.state is StepState.SCHEDULED:
                del self.steps[step.address]
        inner = [address for address in self.steps if any(owner in self.steps for owner in _around(address))]
        for address in inner:
            del self.steps[address]

    def next_steps(self) -> list[Step]:
        """The steps whose compensation may start now."""
        waiting = [step for step in self.steps.values() if step.state in {StepState.DONE, StepState.UNKNOWN}]
        running = [step for step in self.steps.values() if step.state in {StepState.COMPENSATING, StepState.PAUSED}]
        if not self.parallel:
            return [] if running or not waiting else [max(waiting, key=lambda step: step.order)]
        if not waiting:  # usual in a wide graph, where all steps start at once
            return []
        dependencies = _Dependencies(waiting + running)
        return [step for step in waiting if step not in dependencies]

    @property
    def is_over(self) -> bool:
        """Whether no compensation is under way or left to do."""
        return not any(step.state in _UNFINISHED for step in self.steps.values())

    def in_state(self, *states: StepState) -> tuple[str, ...]:
        """The addresses of the steps in one of `states`, in reverse order of completion."""
        chosen = [step for step in self.steps.values() if step.state in states]
        return tuple(step.address for step in sorted(chosen, key=lambda step: -step.order))


def _around(address: str) -> Iterator[str]:
    """The addresses of the nodes around an address such as `pack[3]/weigh`, the nearest first."""
    *around, _ = address.split("/")
    while around:
        yield "/".join((*around[:-1], around[-1].partition("[")[0]))
        around.pop()
