"""The commands that show runs: a failed saga, a conflict, people, a run that continued."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from anabranch.cli.main import app
from tests.replay.record import HISTORIES


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")


@pytest.fixture
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A recorded run as the `temporal` command writes it."""
    path = tmp_path / "run.json"
    path.write_bytes(gzip.decompress((HISTORIES / f"{request.param}.json.gz").read_bytes()))
    return path


def run(*args: object, **environ: str) -> Result:
    return CliRunner().invoke(app, [str(each) for each in args], env=environ or None)


def shown(*args: object) -> list[str]:
    """What a command prints, each line with single blanks."""
    done = run(*args)
    assert done.exit_code == 0, done.output
    return [" ".join(line.split()) for line in done.stdout.splitlines() if line.strip()]


def told(*args: object) -> Any:
    done = run(*args, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def of(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("file", [name], indirect=True, ids=[name])


SAGA, CONFLICTS, PEOPLE = of("saga"), of("diamond_with_conflicts"), of("people")


@SAGA
def test_show_draws_a_failed_saga_with_what_it_undid_and_why(file: Path) -> None:
    lines = shown("show", file)
    assert lines[0] == "g · saga-0 failed"
    assert [line.split()[:2] for line in lines[1:4]] == [["✔", "reserve"], ["✔", "charge"], ["✘", "ship"]]
    assert "compensated reserved" in lines[1]
    assert lines[4] == "context version 6"
    assert lines[-2:] == ["NO_STOCK node 'ship': no stock", "compensated: charge, reserve"]


@SAGA
@pytest.mark.parametrize("moment", ["3", "event:16", "2026-11-28T19:16:26.8Z"])
def test_show_goes_back_to_a_version_an_event_or_a_time(file: Path, moment: str) -> None:
    if moment.startswith("2026"):
        events = json.loads(file.read_text())["events"]
        moment = events[15]["eventTime"]
    seen = told("show", file, "--at", moment)
    assert (seen["status"], seen["version"], seen["open_tasks"]) == ("running", 3, ["ship"])
    assert seen["context"] == {"n": 1, "reserved": True, "charged": True}
    assert seen["saga"] == [{"address": "reserve", "state": "done"}, {"address": "charge", "state": "done"}]


@SAGA
def test_show_tells_programs_the_pinned_graph_the_attempts_and_the_end(file: Path) -> None:
    seen = told("show", file)
    assert (seen["graph"]["name"], len(seen["graph"]["digest"]), seen["graph"]["revision"]) == ("g", 64, 1)
    assert seen["activities"]["ship"][0]["failure"] == {"code": "NO_STOCK", "message": "no stock"}
    assert (seen["end"]["kind"], seen["end"]["error"]["code"]) == ("failed", "NO_STOCK")
    assert seen["events"]["ship"] == [18, 19, 20]


@SAGA
@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("99", "the context has 6 versions, not 99"),
        ("event:99", "the history has the events 1 to 36, not 99"),
        ("2020-01-01", "the run had not started by then"),
        ("soon", "'soon' is not a moment of the run"),
    ],
)
def test_a_moment_that_the_run_has_not_is_refused(file: Path, moment: str, said: str) -> None:
    done = run("show", file, "--at", moment)
    assert (done.exit_code, said in done.stderr) == (1, True), done.stderr


@PEOPLE
def test_show_says_what_an_open_run_asks_with_the_command_that_answers(file: Path) -> None:
    lines = shown("show", file, "--at", "event:32")
    assert "ask asks: Ship 2?" in lines
    assert "anabranch answer people-0 ask --input '{}'" in lines


@CONFLICTS
def test_history_has_each_version_with_its_time_and_what_merges_settled(file: Path) -> None:
    lines = shown("history", file)
    assert [line.split()[0] for line in lines[1:5]] == ["1", "2", "3", "4"]
    assert "conflict at total: left: 12 | right: 15 → 17 (sum)" in lines
    entries = told("history", file)
    assert [(entry["number"], entry["by"], entry["kind"]) for entry in entries] == [
        (1, "input", "input"),
        (2, "left", "node"),
        (3, "right", "node"),
        (4, "join", "merge"),
    ]
    assert all("left_out" not in entry for entry in entries)


@CONFLICTS
def test_history_of_a_path_has_the_versions_that_changed_it(file: Path) -> None:
    assert [entry["number"] for entry in told("history", file, "total")] == [1, 2, 3, 4]
    assert [entry["number"] for entry in told("history", file, "last")] == [2, 3, 4]
    assert told("history", file, "nothing") == []


@CONFLICTS
def test_diff_has_both_values_of_what_differs(file: Path) -> None:
    assert told("diff", file, 1, 4) == {
        "set": {"total": 17, "tags": ["a", "b", "c"], "status": ["left", "right"], "last": "right"},
        "removed": [],
        "before": {"total": 10, "tags": []},
    }
    assert shown("diff", file, 2, 3)[-1] == "total 12 15"
    assert shown("diff", file, 4, 4) == ["no difference"]


@CONFLICTS
def test_blame_names_the_last_writer_of_each_path(file: Path) -> None:
    found = told("blame", file)
    assert [(each["path"], each["by"], each["version"]) for each in found] == [
        ("last", "right", 3),
        ("status", "join", 4),
        ("tags", "join", 4),
        ("total", "join", 4),
    ]
    assert [each["by"] for each in told("blame", file, "total", "--at", "1")] == ["input"]


@PEOPLE
def test_blame_names_who_wrote_from_outside_and_which_operator_edited(file: Path) -> None:
    assert {each["path"]: each["by"] for each in told("blame", file)} == {
        "mended": "operator:unnamed",
        "note": "outside:crm",
        "ok": "ask",
        "x": "join",
    }


@SAGA
def test_the_undo_plan_has_what_would_be_undone_and_in_which_order(file: Path) -> None:
    assert shown("undo-plan", file, "--at", "event:16") == [
        "A cancel would undo 2 steps, one after the other:",
        "step by happened its compensation sees",
        "1 charge python yes",
        "2 reserve python yes",
        "stays: ship",
    ]
    plan = told("undo-plan", file, "--at", "event:16")
    assert [(step["node"], step["certain"]) for step in plan["undo"]] == [("charge", True), ("reserve", True)]
    assert shown("undo-plan", file)[:2] == [
        "The run is over: a cancel undoes nothing.",
        "undone already: charge, reserve",
    ]


@of("drained")
def test_a_run_that_continued_as_new_names_the_next_one(file: Path) -> None:
    lines = shown("show", file)
    assert lines[0] == "g · drained-0 continued"
    assert lines[-1].startswith("it goes on as the run ")
    assert "next_run_id" in told("show", file)


@of("batches")
def test_a_foreach_has_its_counts(file: Path) -> None:
    assert told("show", file)["nodes"]["each"]["items"]["all"] == 8
    assert any("of 8 done" in line for line in shown("show", file))


@pytest.mark.parametrize("command", ["show", "history", "blame", "undo-plan"])
@of("people")
def test_each_command_fits_eighty_columns(file: Path, command: str) -> None:
    moment = [] if command == "history" else ["--at", "event:41"]
    done = run(command, file, *moment, COLUMNS="80", FORCE_COLOR="1")
    assert done.exit_code == 0
    lines = re.sub(r"\x1b\[[\d;]*m", "", done.stdout).splitlines()
    assert [line for line in lines if len(line) > 80] == []


def test_what_is_no_run_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    done = run("show", tmp_path / "other.json")
    assert (done.exit_code, "error[HISTORY_INVALID]" in done.stderr) == (1, True)
    assert "temporal workflow show" in done.stderr
    assert "there is no such file" in run("show", "gone.json").stderr
    assert "error[UNAVAILABLE]" in run("show", "some-run").stderr
