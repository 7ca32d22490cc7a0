"""The judge of a steady load sees a leak in rising figures, and none in figures that only waver."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.steady.judge import (
    MEBI,
    Sample,
    Windows,
    is_rising,
    leaks,
    per_thousand_runs,
    slope,
    windows,
)
from tests.steady.load import Run
from tests.steady.play import Played
from tests.steady.report import report

FLAT = Sample(
    runs=0, cpu=0.3, rss=200 * MEBI, uss=120 * MEBI, descriptors=30, threads=20, children=2, children_rss=40 * MEBI
)


def figures(**changed: Callable[[int], float]) -> list[Sample]:
    """Thirty samples, 600 runs from one to the next, whose figures waver, and those that are changed as is said."""
    rng = random.Random(1)
    samples = []
    for number in range(30):
        wavering = replace(
            FLAT,
            runs=600 * (number + 1),
            uss=FLAT.uss + rng.randrange(-2 * MEBI, 2 * MEBI),
            descriptors=FLAT.descriptors + rng.randrange(-4, 5),
            threads=FLAT.threads + rng.randrange(-1, 2),
        )
        rises = {name: int(getattr(FLAT, name) + rise(number)) for name, rise in changed.items()}
        samples.append(replace(wavering, **rises))
    return samples


def test_the_windows_are_three_samples_each_after_the_warm_up_in_the_middle_and_at_the_end() -> None:
    assert windows(list(range(30))) == Windows(start=2, middle=15, end=28)
    assert windows([99, 1, 1, 1, 2, 2, 2, 3, 3, 3]) == Windows(1, 2, 3)


def test_a_slope_is_not_moved_by_outliers() -> None:
    assert slope([(0, 1), (1, 3), (2, 500), (3, 7), (4, 9)]) == 2
    assert per_thousand_runs(figures(uss=lambda number: 6 * MEBI * number), lambda sample: sample.uss / MEBI) == 10


def test_a_trend_is_told_from_noise() -> None:
    rng = random.Random(2)
    noise = [[float(rng.randrange(10)) for _ in range(29)] for _ in range(200)]
    assert sum(is_rising(values) for values in noise) <= 4
    assert is_rising([number // 3 + rng.randrange(3) for number in range(29)])
    assert not is_rising([5.0] * 29)
    assert not is_rising([float(-number) for number in range(29)])


def test_figures_that_only_waver_are_no_leak() -> None:
    assert list(leaks(figures())) == []


@pytest.mark.parametrize("name", ["descriptors", "threads", "children"])
def test_what_grows_all_the_time_is_a_leak(name: str) -> None:
    (found,) = leaks(figures(**{name: lambda number: number / 4}))
    assert found.startswith(f"{name} grow: ")


@pytest.mark.parametrize("name", ["descriptors", "threads", "children"])
def test_a_pool_that_fills_early_is_no_leak(name: str) -> None:
    assert list(leaks(figures(**{name: lambda number: min(number, 12)}))) == []


def test_memory_may_grow_within_its_bound_after_the_middle_and_freely_before() -> None:
    early = figures(uss=lambda number: min(number, 14) * 10 * MEBI)
    little = figures(uss=lambda number: number * MEBI / 4)
    assert (list(leaks(early)), list(leaks(little))) == ([], [])


def test_memory_that_grows_beyond_its_bound_after_the_middle_is_a_leak() -> None:
    assert list(leaks(figures(uss=lambda number: number * MEBI))) == [
        "memory grows: 135.0 MiB in the middle, 148.0 at the end, 4.0 more are allowed"
    ]


def test_a_report_counts_the_runs_of_each_minute_and_names_what_is_wrong() -> None:
    runs = [Run("order", number * 0.9, 0.1 * number, "completed", None) for number in range(19)]
    runs += [Run("order undone", 10.5, 0.2, "failed", None), Run("loop", 1.5, 1.0, "completed", "steady-9: its data")]
    found = report(Played(1.0, 22, runs, figures()[:18], exit_code=1))
    assert found.kinds == {"loop": 1, "order": 19, "order undone": 1}
    counts = [(minute.started, minute.completed, minute.failed, minute.wrong) for minute in found.minutes]
    assert (counts[0], counts[1], counts[10]) == ((2, 2, 0, 0), (2, 1, 0, 1), (2, 1, 1, 0))
    assert sum(minute.started for minute in found.minutes) == 21
    assert found.findings == [
        "steady-9: its data",
        "22 runs were started, and 21 are over",
        "the worker left with status 1 when it was told to stop",
    ]
    assert (found.minutes[0].p50, found.minutes[0].p99) == pytest.approx((0.05, 0.099))
