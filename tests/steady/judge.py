"""What the figures of a steady load show: its start, middle and end, and whether anything leaks.

A worker fills its pools and caches when it is young. What it holds then must stay: a leak shows between the middle and
the end. Nothing here is judged by a clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

MEBI = 2**20
MEMORY_SHARE = 0.03
MEMORY_BYTES = 4 * MEBI
"""From the middle to the end the memory may grow by the larger of these: by a share of it, or by so much."""
COUNT_GROWTH = 3
"""So many descriptors, threads or processes more at the end are a leak where a third of them came after the middle."""
_WINDOW = 3
_CERTAIN = 2.58
"""A trend that is chance in one of a hundred series without any (the normal distribution's quantile)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The worker's process at one moment; `cpu` is the share of a core since the sample before."""

    runs: int
    """Runs that had ended."""
    cpu: float
    rss: int
    uss: int
    descriptors: int
    threads: int
    children: int
    children_rss: int


@dataclass(frozen=True, slots=True)
class Windows:
    """A figure at the start, after one sample of warm-up, in the middle and at the end: medians of three samples."""

    start: float
    middle: float
    end: float


def windows(values: Sequence[float]) -> Windows:
    """Of a series of at least nine samples."""
    half = (len(values) + 1 - _WINDOW) // 2
    return Windows(*(median(values[first : first + _WINDOW]) for first in (1, half, len(values) - _WINDOW)))


def slope(pairs: Sequence[tuple[float, float]]) -> float:
    """How much y grows with x: the median of the slopes between any two points (Theil and Sen)."""
    return median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(pairs, 2) if x2 != x1)


def per_thousand_runs(samples: Sequence[Sample], figure: Callable[[Sample], float]) -> float:
    """How much a figure grows in 1,000 runs, from the middle on."""
    return 1_000 * slope([(each.runs, figure(each)) for each in samples[len(samples) // 2 :]])


def is_rising(values: Sequence[float]) -> bool:
    """Whether later values are larger too often for chance (the test of Mann and Kendall, ties counted)."""
    score = sum((later > sooner) - (later < sooner) for sooner, later in combinations(values, 2))
    ties = [values.count(value) for value in set(values)]
    variance = sum(_pairs(count) * sign for count, sign in ((len(values), 1), *((tie, -1) for tie in ties)))
    return variance > 0 and (score - 1) / math.sqrt(variance) > _CERTAIN


def _pairs(count: int) -> float:
    return count * (count - 1) * (2 * count + 5) / 18


def leaks(samples: Sequence[Sample]) -> Iterator[str]:
    """What grows that must not, in sentences."""
    for name in ("descriptors", "threads", "children"):
        values = [float(getattr(each, name)) for each in samples]
        at = windows(values)
        growth = at.end - at.start
        if is_rising(values[1:]) and growth >= COUNT_GROWTH and at.end - at.middle >= growth / 3:
            yield f"{name} grow: {at.start:.0f}, {at.middle:.0f}, {at.end:.0f}"
    at = windows([each.uss for each in samples])
    bound = max(at.middle * MEMORY_SHARE, MEMORY_BYTES)
    if at.end - at.middle > bound:
        yield (
            f"memory grows: {at.middle / MEBI:.1f} MiB in the middle, {at.end / MEBI:.1f} at the end, "
            f"{bound / MEBI:.1f} more are allowed"
        )
