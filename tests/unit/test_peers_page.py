"""The tables of the performance page are those of the measurements, and replace the older ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from anabranch.inspection.billing import Size
from benchmarks.page import marks, write
from benchmarks.peers.contestants import Cell
from benchmarks.peers.tables import TITLES, Outcome, render
from benchmarks.race import Course, Score
from tests.docs.pages import ROOT

FACTORS = {"graph": 1.0, "local": 0.4, "again": 1.0, "floor": 0.8, "usual": 1.25, "dsl": 1.6, "langgraph": 2, "dbos": 4}
ROUNDS = Course(rounds=6, alone=3, concurrent=20)
VERSIONS = dict.fromkeys("abcdef", "1")


def score_of(factor: float) -> Score:
    rounds = [factor * (60 + number) for number in range(ROUNDS.rounds)]
    return Score(rounds, [1000 / each for each in rounds], rounds, rounds)


@pytest.fixture
def outcome() -> Outcome:
    scores = {name: score_of(factor) for name, factor in FACTORS.items()}
    sizes = {name: Size(0 if name == "dbos" else 8, 40, 12_340) for name in FACTORS}
    return Outcome(Cell("diamond", 8_000), scores, sizes)


def rows(text: str) -> dict[str, list[str]]:
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {name: rest for name, *rest in cells if name.strip("-")}


def test_each_contestant_has_a_row_of_medians_and_one_of_ratios(outcome: Outcome) -> None:
    text = render([outcome], VERSIONS, ROUNDS)
    found = rows(text)
    assert found["graph"] == ["62 ms", "16.0 runs/s", "62.5 ms", "62.5 ms", "8", "12.3 KB"]
    assert found["DBOS"][4] == "none"
    assert found["graph / graph again"] == ["1.00 (1.00 to 1.00)"] * 4
    assert found["graph / temporalio-langgraph"][:2] == ["0.50 (0.50 to 0.50)", "2.00 (2.00 to 2.00)"]
    assert found["local / floor"][0] == "0.50 (0.50 to 0.50)"
    others = set(TITLES.values()) - {"graph", "local"}
    assert {name for name in found if name.startswith("graph / ")} == {f"graph / {other}" for other in others}
    assert {name for name in found if name.startswith("local / ")} == {
        f"local / {other}" for other in others - {"graph again"}
    }


def test_it_says_what_was_compared_and_how_much_the_rounds_differ(outcome: Outcome) -> None:
    text = render([outcome], VERSIONS, ROUNDS)
    assert text.startswith(
        "With a 1, b 1, c 1,\nd 1, e 1, f 1.\n6 rounds; in each of them every contestant ran 3 times alone,\n"
    )
    assert re.search(r"latencies spanned at most 6% of their\nmedian, and that of its throughputs 6%\.", text)
    assert "### A diamond of five branches, 8 KB of context" in text


def test_a_record_has_every_round_over_that_of_the_floor(outcome: Outcome) -> None:
    figures = {figure.name: figure for figure in outcome.figures()}
    assert len(figures) == 6 * len(FACTORS)
    assert figures["diamond/8 KB/local/latency"].control == "diamond/8 KB/floor/latency"
    assert figures["diamond/8 KB/floor/latency"].control is None
    assert figures["diamond/8 KB/dbos/throughput"].rounds == tuple(outcome.scores["dbos"].rate)


def test_tables_replace_what_is_between_the_marks_of_their_target(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    (begin, end), others = marks("peers"), "\n".join(marks("scale"))
    page.write_text(f"# Before\n\n{begin}\n\nold\n\n{end}\n\n## After\n{others}\n")
    write(page, "peers", "new")
    write(page, "peers", "newer")
    assert page.read_text() == f"# Before\n\n{begin}\n\nnewer\n\n{end}\n\n## After\n{others}\n"


def test_the_page_has_the_marks_and_says_what_each_contestant_is() -> None:
    text = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    assert [text.count(mark) for mark in (*marks("peers"), *marks("scale"))] == [1, 1, 1, 1]
    described = set(rows(text[: text.index(marks("peers")[0])]))
    assert set(TITLES.values()) - {"graph again"} <= described
    assert "*graph again*" in text
