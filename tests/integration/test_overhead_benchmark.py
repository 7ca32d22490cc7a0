"""The overhead benchmark runs every contestant, and keeps what it measured of each in each round."""

from __future__ import annotations

import pytest

from anabranch.inspection.billing import Size
from benchmarks import trees
from benchmarks.compare import compare
from benchmarks.figures import ROOT
from benchmarks.overhead import CONTESTANTS, ENCRYPTED, LARGE, Result, figures_of, measure, report
from benchmarks.race import Course, Score
from benchmarks.ratios import paired


@pytest.mark.slow
async def test_every_contestant_runs_in_every_round() -> None:
    contestants = (*CONTESTANTS, ENCRYPTED)
    result = await measure(0, contestants, Course(rounds=2, alone=1, concurrent=2))
    assert set(result.scores) == set(result.sizes) == set(contestants)
    for score in result.scores.values():
        for rounds in (score.latency, score.rate, score.worker, score.server):
            assert len(rounds) == 2
            assert min(rounds) > 0
    # A start and six activities; a graph is loaded too, by a local activity.
    actions = {name: size.actions for name, size in result.sizes.items()}
    assert actions == {"floor": 7, "usual": 7, "graph": 8, "local": 2, ENCRYPTED: 8}


def score_of(factor: float) -> Score:
    rounds = [factor * (10 + number) for number in range(6)]
    return Score(rounds, [1 / each for each in rounds], rounds, rounds)


def test_the_report_says_which_aims_are_met(capsys: pytest.CaptureFixture[str]) -> None:
    factors = {"floor": 1.0, "usual": 3.0, "graph": 1.2, "local": 0.25, ENCRYPTED: 1.2}
    scores = {name: score_of(factor) for name, factor in factors.items()}
    result = Result(scores, {name: Size(7, 40, 600 if name == "usual" else 90) for name in factors})
    verdicts = report(LARGE, result)
    assert [line.split(" KB ")[0].split()[0] for line in verdicts] == [
        "MISSED", "MISSED", "MISSED", "met", "met", "met", "met", "met",
    ]  # fmt: skip
    assert verdicts[0].endswith("100 KB latency over the floor's: 1.20 (1.20 to 1.20) (aim <= 1.05)")
    assert len(capsys.readouterr().out.strip().splitlines()) == 1 + len(factors)
    kept = {figure.name: figure for figure in figures_of(LARGE, result)}
    graph = kept["100 KB/graph/latency"]
    assert graph.control == "100 KB/floor/latency"
    assert paired(graph.rounds, kept[graph.control].rounds).middle == pytest.approx(1.2)
    assert kept["100 KB/usual/history"].rounds == (600,)


@pytest.mark.slow
async def test_two_checkouts_are_measured_in_the_same_rounds() -> None:
    old, new = await trees.measure([ROOT, ROOT], ["steps_graph", "diamond_local"], [0], Course(1, 1, 2))
    assert old.session == new.session
    changes = compare(old, new)
    assert {change.figure.name.rpartition("/")[0] for change in changes} == {"0 KB/steps_graph", "0 KB/diamond_local"}
    assert {(change.verdict, change.how) for change in changes} == {("cannot tell", "round by round")}
