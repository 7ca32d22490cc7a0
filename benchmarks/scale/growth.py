"""How the cost of a unit grows from a small size to a large one."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from benchmarks.figures import Figure

AIM: Final = 1.5
_REPEATS: Final = 10


@dataclass(frozen=True, slots=True)
class Cost:
    """What it took, in seconds: of the clock, and of the processors of the worker and of the server together."""

    seconds: float
    cpu: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.cpu + other.cpu)

    def per(self, units: int) -> Cost:
        """Of one unit, in milliseconds."""
        return Cost(self.seconds / units * 1000, self.cpu / units * 1000)


@dataclass(frozen=True, slots=True)
class Case:
    """Something that is done with so many units, from the smallest size to the largest.

    `rounds` is how often at most, where it takes long; `warm` the sizes that are done once before they count: all of
    them where a graph has to be loaded for each.
    """

    name: str
    unit: str
    plural: str
    sizes: Sequence[int]
    run: Callable[[int], Awaitable[Cost]]
    rounds: int = 3
    warm: Sequence[int] = ()

    def repeats(self, size: int) -> int:
        """How often a round does a size: a small one more often, since one run of it is soon over."""
        return max(1, min(_REPEATS, max(self.sizes) // size // _REPEATS))


@dataclass(frozen=True, slots=True)
class Growth:
    """The cost of one unit at each size, a value for each round."""

    case: Case
    costs: Mapping[int, Sequence[Cost]]

    def ratios(self) -> list[float]:
        """CPU time of a unit at the largest size over that at the smallest, in each round."""
        smallest, largest = self.costs[min(self.costs)], self.costs[max(self.costs)]
        return [large.cpu / small.cpu for small, large in zip(smallest, largest, strict=True)]

    @property
    def ratio(self) -> float:
        """The median round's."""
        return statistics.median(self.ratios())

    def further(self) -> list[float]:
        """CPU milliseconds of each further unit from one size to the next: what a run costs anyway is not in it."""
        totals = [(size, size * statistics.median(cost.cpu for cost in costs)) for size, costs in self.costs.items()]
        return [(after - before) / (large - small) for (small, before), (large, after) in pairwise(totals)]

    def figures(self) -> list[Figure]:
        """As a record keeps them."""
        found = []
        for size, costs in self.costs.items():
            place, unit = f"{self.case.name}/{size:,}", f"ms per {self.case.unit}"
            found.append(Figure(f"{place}/CPU", unit, "lower", tuple(cost.cpu for cost in costs)))
            found.append(Figure(f"{place}/time", unit, "lower", tuple(cost.seconds for cost in costs)))
        found.append(Figure(f"{self.case.name}/growth", "", "lower", tuple(self.ratios())))
        return found


async def measure(case: Case, rounds: int) -> Growth:
    """All sizes in turns, in an order that changes."""
    for size in case.warm:
        await case.run(size)
    found: dict[int, list[Cost]] = {size: [] for size in sorted(case.sizes)}
    for turn in range(min(rounds, case.rounds)):
        for size in found if turn % 2 else reversed(found):
            total, repeats = Cost(0, 0), case.repeats(size)
            for _ in range(repeats):
                total += await case.run(size)
            found[size].append(total.per(size * repeats))
    return Growth(case, found)


def report(growth: Growth) -> list[str]:
    """The cost of a unit at each size, and what each further one costs."""
    case, lines = growth.case, []
    for (size, costs), further in zip(growth.costs.items(), [None, *growth.further()], strict=True):
        cpu, seconds = (statistics.median(getattr(cost, each) for cost in costs) for each in ("cpu", "seconds"))
        told = "" if further is None else f", each further one {further:.3f} ms CPU"
        lines.append(f"  {case.name:<28}{size:>9,}{cpu:>10.3f} ms CPU{seconds:>10.3f} ms per {case.unit}{told}")
    return lines


def verdicts(growth: Growth) -> list[str]:
    """Whether the aim is met: by the cost of one unit, and by that of each further one, which hides nothing."""
    ratios, sizes, case = growth.ratios(), list(growth.costs), growth.case
    rounds = f"{len(ratios)} rounds, {min(ratios):.2f} to {max(ratios):.2f}" if len(ratios) > 1 else "1 round"
    what = f"{case.name}: CPU of one {case.unit} at {sizes[-1]:,} over {sizes[0]:,}"
    found = [f"{met(what, growth.ratio, AIM)}, {rounds}"]
    if len(further := growth.further()) > 1 and further[0] > 0:
        found.append(met(f"{case.name}: CPU of each further {case.unit}", further[-1] / further[0], AIM))
    return found


def table(growths: Sequence[Growth]) -> str:
    """What the page shows: CPU time of a unit from the smallest size to the largest, and how much it grows."""
    lines = ["| | sizes | CPU time of one | grows by | of each further one |", "|---|---:|---:|---:|---:|"]
    for growth in growths:
        costs = [statistics.median(cost.cpu for cost in rounds) for rounds in growth.costs.values()]
        sizes = ", ".join(f"{size:,}" for size in growth.costs)
        cells = (
            growth.case.name,
            f"{sizes} {growth.case.plural}",
            ", ".join(f"{cost:.2f}" for cost in costs) + " ms",
            f"{growth.ratio:.2f}",
            ", ".join(f"{cost:.2f}" for cost in growth.further()) + " ms",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def met(what: str, value: float, aim: float) -> str:
    """One aim, met or missed."""
    return f"  {'met   ' if value <= aim else 'MISSED'} {what}: {value:.2f} (aim <= {aim:.2f})"
