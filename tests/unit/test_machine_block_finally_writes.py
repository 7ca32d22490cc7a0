"""What the `finally` of a `block` leaves: what outlives an undone run, whose versions it has, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from anabranch.context.changes import ChangeSet
from tests.unit import test_machine_blocks as blocks
from tests.unit.machine_kit import Play, edge, failure, python
from tests.unit.test_machine_block_finally import LAST, TELL, block, outcome_of, warnings
from tests.unit.test_machine_blocks import BROKEN, ON_FAILURE, STEP, carried, oldest, played, until

MORE = "trip/finally/more"
SMALL = {"schema": {"properties": {"n": {"maximum": 9}}}}


def versions(play: Play) -> list[tuple[str, str]]:
    return [(version.kind, version.by) for version in play.state.trail.versions]


@pytest.mark.parametrize(
    "edges", [(edge("first", "trip"),), (edge("first", "trip"), edge("trip", "late", outcome="failure"))]
)
def test_what_it_writes_behind_a_failure_outlives_the_run_that_is_undone(edges: tuple[dict[str, Any], ...]) -> None:
    script: dict[str, Any] = {"first": {"x": 1}, "trip/hotel": {"room": 7}, "trip/flight": BROKEN, LAST: {"told": 1}}
    beside = {"first": STEP, "late": python()}
    play = played(block(), {**script, "late": failure("LATE")}, edges=edges, beside=beside)
    finish = play.run()
    assert finish.failure is not None
    assert finish.line.data == {"told": 1}
    assert ("node", "trip/finally") in versions(play)


def test_what_it_writes_behind_a_success_goes_with_the_block_when_the_run_is_undone() -> None:
    play = played(block(), {"after": BROKEN, LAST: {"told": 1}})
    assert play.run().line.data == {}


def test_what_it_writes_behind_a_failure_outlives_the_attempt_of_a_block_around() -> None:
    inner = block("hotel", "flight")
    outer = blocks.block("inner", inner=inner, retry={"max_attempts": 2, "initial_interval": "1s"})
    script: dict[str, Any] = {"trip/inner/flight": BROKEN, "trip/inner/finally/tell": {"told": 1}}
    play = played(outer, script)
    assert play.run().line.data == {"told": 1}
    assert play.seen["trip~2/inner/hotel"] == {"told": 1}
    assert ("node", "trip/inner/finally") in versions(play)


def test_what_it_writes_behind_a_failed_item_outlives_the_item() -> None:
    body = {"nodes": {"book": block("hotel")}}
    node = {"type": "foreach", "items": "[1, 2]", "body": body, "on_item_failure": "skip"}
    play = played(node, {"trip[0]/book/hotel": BROKEN, "trip[0]/book/finally/tell": {"told": 1}})
    assert play.run().line.data == {"told": 1}


def test_the_edits_with_which_an_operator_skips_a_block_are_a_version_of_the_operator_and_it_sees_them() -> None:
    play = played(block(on_failure="pause"), {"trip/flight": BROKEN, LAST: {"told": 1}}).start()
    while "trip" not in play.state.paused_nodes:
        play.answer(oldest(list(play.pending)))
    play.take(play.machine.skip("trip", ChangeSet(0, {("room",): 8}, by="ann"), 9))
    assert outcome_of(play)["status"] == "completed"
    assert play.finish().line.data == {"room": 8, "told": 1}
    assert play.seen[LAST] == {"room": 8}
    assert versions(play)[-3:] == [("external", "ann"), ("node", LAST), ("node", "trip")]


@pytest.mark.parametrize("last", [{}, {"finally": TELL}])
def test_a_block_whose_changes_are_refused_is_undone_before_its_failure_edge_is_taken(last: dict[str, Any]) -> None:
    node = blocks.block("hotel", output={"n": "result.room"}, **last)
    play = played(node, {"trip/hotel": {"room": 10}}, edges=ON_FAILURE, context=SMALL)
    assert play.run().failure is None
    assert play.ran == ["trip/hotel", "undo trip/hotel", *([LAST] if last else []), "caught"]


def test_it_is_told_that_the_changes_of_its_block_are_refused() -> None:
    node = block("hotel", output={"n": "result.room"})
    play = played(node, {"trip/hotel": {"room": 10}}, edges=ON_FAILURE, context=SMALL)
    told = outcome_of(play)
    assert (told["status"], told["error"]["code"], told["compensated"]) == (
        "failed",
        "SCHEMA_VIOLATION",
        ["trip/hotel"],
    )


@pytest.mark.parametrize("broken", [False, True])
def test_what_its_branches_write_that_is_refused_together_is_its_own_failure_and_left_out(broken: bool) -> None:
    few, last = {"schema": {"maxProperties": 2}}, {"nodes": {"tell": python(), "more": python()}}
    script: dict[str, Any] = {"trip/hotel": BROKEN if broken else {"room": 7}, LAST: {"a": 1}, MORE: {"b": 2}}
    play = played(block("hotel", last=last), script, edges=ON_FAILURE, context=few, data={"city": 1} if broken else {})
    finish = play.run()
    assert (finish.failure, finish.line.data) == (None, {"city": 1} if broken else {"room": 7})
    assert play.ran == ["trip/hotel", LAST, MORE, "caught" if broken else "after"]
    (warning,) = warnings(play)
    assert warning.startswith("finally_failed at 'trip/finally': SCHEMA_VIOLATION: ")


def test_a_run_that_continues_as_new_in_the_block_has_it_behind_that() -> None:
    nap = {"type": "wait", "for": "1h"}
    script: dict[str, Any] = {"trip/hotel": {"room": 7}, "trip/flight": BROKEN, LAST: {"told": 1}}
    play = played(block("hotel", "nap", "flight", nap=nap), script, edges=ON_FAILURE)
    until(play, "trip/nap")
    again = carried(play)
    assert outcome_of(again)["compensated"] == ["trip/hotel"]
    assert again.finish().line.data == {"told": 1}
    assert again.ran == ["trip/nap", "trip/flight", "undo trip/hotel", LAST, "caught"]


def test_a_run_that_continues_as_new_behind_it_keeps_what_it_wrote_when_it_is_undone() -> None:
    nap = {"type": "wait", "for": "1h"}
    edges = (edge("trip", "nap", outcome="failure"), edge("nap", "late"))
    script: dict[str, Any] = {"trip/hotel": {"room": 7}, "trip/flight": BROKEN, LAST: {"told": 1}, "late": BROKEN}
    play = played(block(), script, edges=edges, beside={"nap": nap})
    until(play, "nap")
    again = carried(play)
    finish = again.finish()
    assert finish.failure is not None
    assert finish.line.data == {"told": 1}
