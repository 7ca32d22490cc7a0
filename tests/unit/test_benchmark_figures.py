"""What the benchmarks say of what they measured: ratios with intervals, records, and what is noise between two."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import compare as command
from benchmarks.compare import Verdict, compare, report
from benchmarks.figures import ROOT, Better, Figure, Record, measured_on, record
from benchmarks.ratios import Interval, paired, spread, unpaired


def rounds_of(median: float, *, noise: float, seed: int, count: int = 20) -> tuple[float, ...]:
    rng = random.Random(seed)
    return tuple(median * rng.lognormvariate(0, noise) for _ in range(count))


def record_of(
    rounds: tuple[float, ...], session: str, *, better: Better = "lower", **more: tuple[float, ...]
) -> Record:
    control = "floor" if "floor" in more else None
    others = tuple(Figure(name, "ms", better, values) for name, values in more.items())
    return Record("b", session, "c", "m", (Figure("latency", "ms", better, rounds, control), *others))


def verdict_of(old: Record, new: Record) -> Verdict:
    return next(change.verdict for change in compare(old, new) if change.figure.name == "latency")


def test_a_ratio_of_equal_rounds_is_one_without_doubt() -> None:
    assert str(paired((2.0,) * 6, (2.0,) * 6)) == "1.00 (1.00 to 1.00)"
    assert paired((3.0,) * 6, (2.0,) * 6).middle == 1.5


def test_what_disturbs_a_round_disturbs_no_ratio_within_it() -> None:
    hour = [1.0, 5.0, 2.0, 9.0, 1.0, 3.0, 7.0]
    together = paired([1.1 * each for each in hour], hour)
    assert (together.middle, together.low, together.high) == pytest.approx((1.1, 1.1, 1.1))
    apart = unpaired([1.1 * each for each in hour], hour)
    assert apart.middle == pytest.approx(1.1)
    assert apart.low < 0.6
    assert apart.high > 1.8


@pytest.mark.parametrize("ratio", [paired, unpaired])
def test_an_interval_holds_the_true_ratio_about_as_often_as_it_says(ratio: Callable[..., Interval]) -> None:
    held = {0.95: 0, 0.5: 0}
    for seed in range(60):
        over, under = rounds_of(1.2, noise=0.1, seed=seed), rounds_of(1.0, noise=0.1, seed=1000 + seed)
        for confidence in held:
            held[confidence] += 1.2 in ratio(over, under, confidence=confidence)
    assert held[0.95] >= 53
    assert 20 <= held[0.5] <= 42


def test_fewer_than_five_rounds_have_no_bounds() -> None:
    assert str(paired((1.0,) * 4, (2.0,) * 4)) == "0.50 (too few rounds)"
    assert str(unpaired((1.0,) * 4, (2.0,) * 9)) == "0.50 (too few rounds)"


def test_the_spread_is_the_middle_half_over_the_median() -> None:
    assert spread([1, 2, 3, 4, 5, 6, 7]) == pytest.approx(1.0)
    assert spread([3.0] * 9) == 0


@pytest.mark.parametrize("session", ["one", "two"])
def test_noise_is_called_noise(session: str) -> None:
    changed = 0
    for seed in range(50):
        old = record_of(rounds_of(10, noise=0.05, seed=seed), "one")
        changed += verdict_of(old, record_of(rounds_of(10, noise=0.05, seed=1000 + seed), session)) != "noise"
    assert changed <= 2


@pytest.mark.parametrize(("better", "verdict"), [("lower", "worse"), ("higher", "better")])
def test_a_change_is_called_one_by_which_way_is_better(better: Better, verdict: Verdict) -> None:
    found = []
    for seed in range(20):
        old = record_of(rounds_of(10, noise=0.05, seed=seed), "one", better=better)
        found.append(verdict_of(old, record_of(rounds_of(11, noise=0.05, seed=99 + seed), "one", better=better)))
    assert found.count(verdict) >= 19


def test_a_change_is_seen_beside_a_greater_drift_of_the_machine_where_both_were_measured_together() -> None:
    drift = [1 + number / 10 for number in range(20)]
    old = tuple(10 * each for each in drift)
    new = tuple(10.4 * each for each in drift)
    assert verdict_of(record_of(old, "one"), record_of(new, "one")) == "worse"
    assert verdict_of(record_of(old, "one"), record_of(new, "two")) == "noise"


def test_of_two_sessions_the_control_takes_out_what_the_machine_does() -> None:
    floor = rounds_of(5, noise=0.02, seed=1)
    old = record_of(tuple(2 * each for each in floor), "one", floor=floor)
    slow = tuple(3 * each for each in floor)
    assert verdict_of(old, record_of(tuple(2 * each for each in slow), "two", floor=slow)) == "noise"
    assert verdict_of(old, record_of(tuple(2.2 * each for each in slow), "two", floor=slow)) == "worse"
    without = record_of(tuple(2 * each for each in slow), "two")
    assert verdict_of(record_of(old.figures[0].rounds, "one"), without) == "worse"


def test_a_small_change_is_noise_however_sure_it_is_and_few_rounds_tell_nothing() -> None:
    assert verdict_of(record_of((10.0,) * 9, "one"), record_of((10.1,) * 9, "one")) == "noise"
    assert verdict_of(record_of((10.0,) * 4, "one"), record_of((90.0,) * 4, "one")) == "cannot tell"


def test_the_report_says_how_many_changed_and_how_many_would_by_chance() -> None:
    old, new = record_of((10.0,) * 9, "one"), record_of((5.0,) * 9, "one")
    lines = report(compare(old, new)).splitlines()
    assert lines[1].split() == ["latency", "0.50", "(0.50", "to", "0.50)", "better", "round", "by", "round"]
    assert lines[-1] == "1 of 1 figures changed; 0.0 would by chance"


def test_records_are_files_that_the_command_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = record("overhead", [Figure("latency", "ms", "lower", (1.0, 2.0, 3.0, 4.0, 5.0))])
    old, new = tmp_path / "made" / "old.json", tmp_path / "new.json"
    kept.write(old)
    record("overhead", [Figure("latency", "ms", "lower", (9.0,) * 5), Figure("new", "", "lower", (1.0,))]).write(new)
    assert Record.read(old) == kept
    assert json.loads(old.read_text())["figures"][0]["rounds"] == [1, 2, 3, 4, 5]
    command.main([str(old), str(new)])
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"overhead: {kept.commit} ({kept.machine}) → ")
    assert told[2].split()[:2] == ["latency", "3.00"]
    assert told[2].endswith("as measured")
    assert told[-1].startswith("1 of 1 figures changed")


def test_a_page_says_where_and_when_and_how_busy_the_machine_was() -> None:
    told = measured_on(Record("b", "s", "abc", "2 cores", ()), 0.25)
    assert re.fullmatch(
        r"Measured on 20\d\d-\d\d-\d\d at commit `abc`, on 2 cores\.\n"
        r"The load average of the machine was 0\.2 when it began\.",
        told,
    )


def test_ci_keeps_the_figures_and_fails_nothing_by_them(tmp_path: Path) -> None:
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    last = script[script.index("figures=") :]
    (tmp_path / "make").write_text("#!/bin/sh\necho make $*; exit 1\n")
    (tmp_path / "make").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", last],
        env={**os.environ, "PATH": path, "ANABRANCH_FIGURES": "/kept"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "make figures FIGURES=/kept",
        "the benchmarks did not end, which is no failure",
        "figures of this run: /kept",
    ]
