"""What a steady load came to: a line for each minute, the start beside the middle and the end, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.steady.judge import MEBI, Sample, leaks, per_thousand_runs, windows
from tests.steady.load import Run
from tests.steady.play import Played

_FINDINGS = 20


@dataclass(frozen=True, slots=True)
class Minute:
    """The worker at the end of a period, and the runs that were started in it."""

    sample: Sample
    started: int
    completed: int
    failed: int
    """As expected."""
    wrong: int
    p50: float
    """Seconds from a run's start to the answer of its result."""
    p90: float
    p99: float


FIGURES: dict[str, Callable[[Minute], float]] = {
    "USS, MiB": lambda minute: minute.sample.uss / MEBI,
    "RSS, MiB": lambda minute: minute.sample.rss / MEBI,
    "children, MiB": lambda minute: minute.sample.children_rss / MEBI,
    "descriptors": lambda minute: minute.sample.descriptors,
    "threads": lambda minute: minute.sample.threads,
    "children": lambda minute: minute.sample.children,
    "CPU, %": lambda minute: minute.sample.cpu * 100,
    "p50, ms": lambda minute: minute.p50 * 1_000,
    "p90, ms": lambda minute: minute.p90 * 1_000,
    "p99, ms": lambda minute: minute.p99 * 1_000,
}
_MEMORY: dict[str, Callable[[Sample], float]] = {
    "USS, MiB": lambda sample: sample.uss / MEBI,
    "RSS, MiB": lambda sample: sample.rss / MEBI,
    "children, MiB": lambda sample: sample.children_rss / MEBI,
}


@dataclass(frozen=True, slots=True)
class Report:
    """All figures; `findings` is empty where nothing was lost, wrong or leaking."""

    started: int
    kinds: dict[str, int]
    minutes: list[Minute]
    findings: list[str]

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)


def report(played: Played) -> Report:
    """Judge what was seen."""
    minutes = [_minute(played, number, sample) for number, sample in enumerate(played.samples)]
    kinds = Counter(run.kind for run in played.runs)
    return Report(played.started, dict(sorted(kinds.items())), minutes, list(_findings(played)))


def _findings(played: Played) -> Iterator[str]:
    for run in played.runs:
        if run.wrong is not None:
            yield run.wrong
    if len(played.runs) != played.started:
        yield f"{played.started} runs were started, and {len(played.runs)} are over"
    if played.exit_code != 0:
        yield f"the worker left with status {played.exit_code} when it was told to stop"
    yield from leaks(played.samples)


def _minute(played: Played, number: int, sample: Sample) -> Minute:
    last = number == len(played.samples) - 1
    runs = [
        run
        for run in played.runs
        if number == int(run.started / played.period) or (last and run.started > played.period * number)
    ]
    ends = Counter(run.ends for run in runs if run.wrong is None)
    return Minute(sample, len(runs), ends["completed"], ends["failed"], _wrong(runs), *_latencies(runs))


def _wrong(runs: Sequence[Run]) -> int:
    return sum(run.wrong is not None for run in runs)


def _latencies(runs: Sequence[Run]) -> tuple[float, float, float]:
    if len(runs) < 2:
        seconds = runs[0].seconds if runs else 0.0
        return seconds, seconds, seconds
    cuts = quantiles((run.seconds for run in runs), n=100, method="inclusive")
    return cuts[49], cuts[89], cuts[98]


def show(found: Report, screen: Console) -> None:
    """Print the tables, and what was wrong in sentences."""
    by_minute = Table("minute", "started", "completed", "failed", "wrong", *FIGURES)
    for number, minute in enumerate(found.minutes, 1):
        counted = (number, minute.started, minute.completed, minute.failed, minute.wrong)
        figures = [f"{figure(minute):.1f}" for figure in FIGURES.values()]
        by_minute.add_row(*map(str, counted), *figures)
    screen.print(by_minute)
    compared = Table("", "start", "middle", "end", "per 1,000 runs")
    samples = [minute.sample for minute in found.minutes]
    for name, figure in FIGURES.items():
        at = windows([figure(minute) for minute in found.minutes])
        growth = f"{per_thousand_runs(samples, _MEMORY[name]):+.3f}" if name in _MEMORY else ""
        compared.add_row(name, f"{at.start:.1f}", f"{at.middle:.1f}", f"{at.end:.1f}", growth)
    screen.print(compared)
    counts = ", ".join(f"{count} {kind}" for kind, count in found.kinds.items())
    screen.print(f"{found.started} runs: {counts}; {len(found.findings)} findings")
    for finding in found.findings[:_FINDINGS]:
        screen.print(finding, markup=False)
