"""Why a value is what it is, and why a node ran or did not: from recorded runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.inspection.test_commands import SAGA, _no_server, file, of, run, shown, told

__all__ = ["_no_server", "file"]


def causes(answer: Any) -> list[tuple[int, str, str]]:
    return [(each["version"], each["by"], each["kind"]) for each in answer["causes"]]


@of("diamond_with_conflicts")
def test_a_merged_value_leads_to_its_candidates_and_to_the_input(file: Path) -> None:
    answer = told("why", file, "total")
    assert (answer["value"], answer["versions"], causes(answer)[0]) == (17, [4], (4, "join", "merge"))
    merge = answer["causes"][0]
    assert merge["did"][-1] == "merged total by sum"
    assert merge["reads"] == [
        {"path": "total", "value": 12, "versions": [2]},
        {"path": "total", "value": 15, "versions": [3]},
    ]
    assert {by for _, by, _ in causes(answer)} == {"join", "left", "right"}


@of("chain")
def test_a_value_leads_from_writer_to_writer_back_to_the_input(file: Path) -> None:
    answer = told("why", file, "y")
    assert causes(answer) == [(3, "b", "node"), (1, "input", "input"), (2, "a", "node")]
    writer = answer["causes"][0]
    assert writer["did"] == ['handler put with {"y": 2}']
    assert [(read["path"], read["value"]) for read in writer["reads"]] == [("n", 1), ("x", 1)]
    assert shown("why", file, "y")[:2] == ["y = 2", "└── version 3 by b (python) y = 2"]


@of("bodies")
def test_what_a_foreach_collected_leads_into_its_items(file: Path) -> None:
    answer = told("why", file, "squares")
    assert causes(answer)[0][1] == "each"
    assert {by for _, by, _ in causes(answer)} >= {"each[0]/square", "each[1]/square", "each[2]/square"}


@SAGA
def test_what_a_compensation_wrote_leads_to_it(file: Path) -> None:
    answer = told("why", file, "refunded")
    assert ("undo charge", "compensation") in {(by, kind) for _, by, kind in causes(answer)}


@of("finally_of_blocks")
def test_what_the_finally_of_a_block_wrote_leads_to_the_node_in_it(file: Path) -> None:
    answer = told("why", file, "told")
    assert causes(answer) == [(8, "late/finally", "node"), (7, "late/finally/tell", "node")]
    assert answer["causes"][1]["did"] == ['handler put with {"told": "cancelled"}']


@of("people")
def test_what_was_written_from_outside_names_who_did(file: Path) -> None:
    assert causes(told("why", file, "note")) == [(5, "outside:crm", "external")]


@of("skipped_by_hand")
def test_a_skipped_node_names_the_condition_that_did_not_hold_and_its_values(file: Path) -> None:
    answer = told("why", file, "--node", "regret")
    assert answer["status"] == "skipped"
    assert [(each["condition"], each["held"]) for each in answer["conditions"]] == [
        ("always", True),
        ("when error != null", False),
    ]


@of("failure_edge")
def test_a_node_on_a_dead_path_names_the_edge_that_was_not_taken(file: Path) -> None:
    answer = told("why", file, "--node", "ship")
    (edge,) = answer["conditions"]
    assert (edge["from"], edge["from_status"], edge["condition"], edge["held"]) == (
        "pay",
        "failed",
        "on success",
        False,
    )
    assert shown("why", file, "--node", "ship") == ["ship skipped", "└── ✘ pay failed → on success"]


@of("failure_edge")
def test_a_node_that_ran_names_the_edge_that_led_to_it(file: Path) -> None:
    answer = told("why", file, "--node", "review")
    assert (answer["status"], answer["conditions"][0]["held"]) == ("succeeded", True)


@SAGA
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["nothing.here"], "nothing was ever written at 'nothing.here'"),
        (["--node", "nobody"], "the run has no node 'nobody'"),
        ([], "give a path of the context, or --node"),
        (["--node", "ship", "--at", "event:5"], "the node 'ship' is pending: nothing has decided about it yet"),
    ],
)
def test_what_cannot_be_answered_is_refused(file: Path, asked: list[str], said: str) -> None:
    done = run("why", file, *asked)
    assert done.exit_code != 0
    assert said in " ".join(done.stderr.replace("│", " ").split())


@of("received")
def test_what_an_event_brought_names_the_event(file: Path) -> None:
    assert told("why", file, "first")["causes"][0]["did"] == ["event paid with the id p1"]
    assert told("why", file, "large")["causes"][0]["did"] == ["event paid with the id q7"]
    assert told("why", file, "both")["causes"][0]["did"] == ["event packed", "event picked"]


@of("received")
def test_a_run_that_waits_for_an_event_shows_which(file: Path) -> None:
    waiting = next(line for line in shown("show", file, "--at", "event:45") if "waits" in line)
    assert "for the event paid" in waiting
