"""Ratios of repeated measurements, each with an interval by bootstrap (B. Efron, 1979).

A round measures every contestant once, so that what disturbs a round disturbs all of them: the ratio of two in one
round has less noise than the two have. The middle is the median, which a few disturbed rounds do not move.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

DRAWS = 1_000
"""How often the rounds are drawn again."""
FEWEST_ROUNDS = 5
"""With fewer, rounds drawn again say nothing about how far the median may be off."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A ratio, and the bounds that hold the true one with the confidence asked for."""

    middle: float
    low: float
    high: float

    def __contains__(self, ratio: float) -> bool:
        return self.low <= ratio <= self.high

    def __str__(self) -> str:
        bounds = f"{self.low:.2f} to {self.high:.2f}" if math.isfinite(self.high) else "too few rounds"
        return f"{self.middle:.2f} ({bounds})"


def paired(over: Sequence[float], under: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """The median of the ratios in each round; both were measured in the same rounds.

    Its interval is without bounds where there are fewer than `FEWEST_ROUNDS`.
    """
    ratios = [above / below for above, below in zip(over, under, strict=True)]
    drawn = (
        [statistics.median(drawing(ratios)) for drawing in _drawings(len(ratios), 0)]
        if len(ratios) >= FEWEST_ROUNDS
        else []
    )
    return _interval(statistics.median(ratios), drawn, confidence)


def unpaired(over: Sequence[float], under: Sequence[float], *, confidence: float = 0.95) -> Interval:
    """The ratio of the medians of two series that share no rounds; each is drawn by itself."""
    above, below = statistics.median(over), statistics.median(under)
    drawn = []
    if min(len(over), len(under)) >= FEWEST_ROUNDS:
        drawings = zip(_drawings(len(over), 0), _drawings(len(under), 1), strict=True)
        drawn = [statistics.median(one(over)) / statistics.median(other(under)) for one, other in drawings]
    return _interval(above / below, drawn, confidence)


def spread(rounds: Sequence[float]) -> float:
    """The middle half of the rounds over their median: how much one contestant varies from round to round."""
    if len(rounds) < FEWEST_ROUNDS:
        return float("nan")
    low, _, high = statistics.quantiles(rounds, n=4)
    return (high - low) / statistics.median(rounds)


def _interval(middle: float, drawn: Sequence[float], confidence: float) -> Interval:
    if not drawn:
        return Interval(middle, 0.0, float("inf"))
    ordered, outside = sorted(drawn), (1 - confidence) / 2
    return Interval(middle, ordered[int(outside * len(ordered))], ordered[-1 - int(outside * len(ordered))])


Drawing = Callable[[Sequence[float]], list[float]]


@lru_cache
def _drawings(count: int, series: int) -> list[Drawing]:
    """The same draws at each call: the same measurements always have the same interval."""
    rng = random.Random(f"{count} {series}")
    return [_drawing(rng.choices(range(count), k=count)) for _ in range(DRAWS)]


def _drawing(places: Sequence[int]) -> Drawing:
    return lambda rounds: [rounds[place] for place in places]
