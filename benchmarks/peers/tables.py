"""What `docs/performance.md` shows of the contestants."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from anabranch.inspection.billing import Size
from benchmarks.figures import Figure
from benchmarks.peers.contestants import AGAIN, OURS, Cell
from benchmarks.race import Course, Score
from benchmarks.ratios import FEWEST_ROUNDS, Interval, paired, spread

TITLES: Final[Mapping[str, str]] = {
    "graph": "graph",
    "local": "local",
    AGAIN: "graph again",
    "floor": "floor",
    "usual": "usual",
    "dsl": "dsl",
    "langgraph": "temporalio-langgraph",
    "dbos": "DBOS",
}
"""What the page calls the contestants, in the order of its tables."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was measured in one cell, and what a run of each contestant leaves."""

    cell: Cell
    scores: Mapping[str, Score]
    sizes: Mapping[str, Size]

    def figures(self) -> list[Figure]:
        """Every round, over those of the hand-written floor."""
        place = f"{self.cell.shape}/{self.cell.size / 1000:g} KB"
        found = []
        for name, score in self.scores.items():
            found += score.figures(f"{place}/{name}", None if name == "floor" else f"{place}/floor")
            found.append(Figure(f"{place}/{name}/history", "bytes", "lower", (self.sizes[name].bytes,)))
            found.append(Figure(f"{place}/{name}/Actions", "", "lower", (self.sizes[name].actions,)))
        return found


def render(outcomes: Sequence[Outcome], versions: Mapping[str, str], course: Course) -> str:
    """What was compared, the noise, then two tables for each cell."""
    libraries = [f"{name} {version}" for name, version in versions.items()]
    lines = [
        f"With {', '.join(libraries[:3])},",
        f"{', '.join(libraries[3:])}.",
        f"{course.rounds} rounds; in each of them every contestant ran {course.alone} times alone,",
        f"then {course.concurrent} runs of it were in flight at once.",
        *(_noise(outcomes) if course.rounds >= FEWEST_ROUNDS else ()),
    ]
    for outcome in outcomes:
        lines += ["", f"### {_heading(outcome.cell)}", "", *_measured(outcome), "", *_beside(outcome)]
    return "\n".join(lines)


def _heading(cell: Cell) -> str:
    shape = "Six steps in a chain" if cell.shape == "chain" else "A diamond of five branches"
    return f"{shape}, {cell.size / 1000:g} KB of context"


def _noise(outcomes: Sequence[Outcome]) -> list[str]:
    """The worst that a contestant varies from round to round."""
    scores = [score for outcome in outcomes for score in outcome.scores.values()]
    latency, rate = max(spread(score.latency) for score in scores), max(spread(score.rate) for score in scores)
    return [
        f"From round to round, the middle half of one contestant's latencies spanned at most {latency:.0%} of their",
        f"median, and that of its throughputs {rate:.0%}.",
    ]


def _measured(outcome: Outcome) -> list[str]:
    lines = [
        "| | latency | throughput | worker CPU | server CPU | Actions | history |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name in (each for each in TITLES if each in outcome.scores and each != AGAIN):
        score, size = outcome.scores[name], outcome.sizes[name]
        latency, rate = statistics.median(score.latency), statistics.median(score.rate)
        worker, server = statistics.median(score.worker), statistics.median(score.server)
        lines.append(
            f"| {TITLES[name]} | {latency:.0f} ms | {rate:.1f} runs/s | {worker:.1f} ms | {server:.1f} ms "
            f"| {size.actions or 'none'} | {size.bytes / 1000:,.1f} KB |"
        )
    return lines


def _beside(outcome: Outcome) -> list[str]:
    lines = [
        "| | latency | throughput | worker CPU | server CPU |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in OURS:
        for other in (each for each in TITLES if each in outcome.scores and each not in OURS):
            if other != AGAIN or name == "graph":
                ratios = " | ".join(map(str, _ratios(outcome.scores[name], outcome.scores[other])))
                lines.append(f"| {TITLES[name]} / {TITLES[other]} | {ratios} |")
    return lines


def _ratios(ours: Score, theirs: Score) -> list[Interval]:
    return [
        paired(ours.latency, theirs.latency),
        paired(ours.rate, theirs.rate),
        paired(ours.worker, theirs.worker),
        paired(ours.server, theirs.server),
    ]
