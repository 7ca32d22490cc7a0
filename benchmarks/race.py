"""Contestants measured in turns: in each round every one of them, in an order that changes."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.figures import Figure
from benchmarks.process import TICK, cpu_seconds, cpu_seconds_of_all


@dataclass(frozen=True, slots=True)
class Contestant:
    """What is measured. `run` is one run from its start to its checked result."""

    name: str
    run: Callable[[], Awaitable[Any]]
    worker: int
    """Process id of its worker."""
    server: int
    """Process id of what keeps its runs."""


@dataclass(frozen=True, slots=True)
class Course:
    """What each contestant does in a round: runs one at a time, then many at once."""

    rounds: int
    alone: int
    concurrent: int


@dataclass(slots=True)
class Score:
    """What was measured of one contestant, a value for each round: milliseconds, runs per second, CPU milliseconds."""

    latency: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    worker: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)

    def figures(self, prefix: str, control: str | None = None) -> list[Figure]:
        """As a record keeps them; `control` is the prefix of the contestant that no change of this project moves."""

        def figure(name: str, unit: str, rounds: list[float], *, higher: bool = False) -> Figure:
            beside = None if control is None else f"{control}/{name}"
            return Figure(f"{prefix}/{name}", unit, "higher" if higher else "lower", tuple(rounds), beside)

        return [
            figure("latency", "ms", self.latency),
            figure("throughput", "runs/s", self.rate, higher=True),
            figure("worker CPU", "ms a run", self.worker),
            figure("server CPU", "ms a run", self.server),
        ]


async def race(contestants: Sequence[Contestant], course: Course) -> dict[str, Score]:
    """All rounds. Whoever is measured is warm already."""
    scores = {contestant.name: Score() for contestant in contestants}
    for number in range(course.rounds):
        for contestant in random.Random(number).sample(contestants, len(contestants)):
            await _turn(contestant, scores[contestant.name], course)
    return scores


async def _turn(contestant: Contestant, score: Score, course: Course) -> None:
    alone = [await _seconds(contestant.run()) for _ in range(course.alone)]
    score.latency.append(statistics.median(alone) * 1000)
    before = cpu_seconds(contestant.worker), cpu_seconds_of_all(contestant.server)
    seconds = await _seconds(asyncio.gather(*(contestant.run() for _ in range(course.concurrent))))
    after = cpu_seconds(contestant.worker), cpu_seconds_of_all(contestant.server)
    score.rate.append(course.concurrent / seconds)
    # A ratio needs more than nothing, and less than the kernel counts may have been used.
    worker, server = (
        max(late - early, TICK) / course.concurrent * 1000 for early, late in zip(before, after, strict=True)
    )
    score.worker.append(worker)
    score.server.append(server)


async def _seconds(work: Awaitable[Any]) -> float:
    begun = time.perf_counter()
    await work
    return time.perf_counter() - begun
