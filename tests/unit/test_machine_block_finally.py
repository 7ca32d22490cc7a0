"""`finally` of a `block`: when it runs, what it sees, what it leaves, and that what is cancelled waits for it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.workflows.interpreter.commands import DEADLINE
from tests.unit import test_machine_blocks as blocks
from tests.unit.machine_kit import Play, edge, failure, machine_of, python, shuffled
from tests.unit.test_machine_blocks import BROKEN, ON_FAILURE, STEP, carried, deadline, oldest, played, until
from tests.unit.test_machine_properties import FEW

TELL: dict[str, Any] = {"nodes": {"tell": python()}}
LAST = "trip/finally/tell"


def block(*names: str, last: dict[str, Any] = TELL, **fields: Any) -> dict[str, Any]:
    return {**blocks.block(*names, **fields), "finally": last}


def outcome_of(play: Play, address: str = LAST) -> Any:
    """What the expressions of the `finally` see, once it has been asked for its first node."""
    command: Any = until(play, address)
    return command.roots["outcome"]


def warnings(play: Play) -> list[str]:
    return [text for version in play.state.trail.versions for text in version.changes.warnings]


def test_it_runs_after_success_on_what_the_block_left_and_before_what_follows() -> None:
    play = played(block("hotel"), {"trip/hotel": {"room": 7}, LAST: {"told": 1}}, data={"n": 1})
    assert outcome_of(play) == {"status": "completed", "error": None, "compensated": [], "not_compensated": []}
    finish = play.finish()
    assert play.ran == ["trip/hotel", LAST, "after"]
    assert (play.seen[LAST], finish.line.data) == ({"n": 1, "room": 7}, {"n": 1, "room": 7, "told": 1})
    assert (play.state.lasts, play.state.bodies, play.state.scopes) == ({}, {}, {})


def test_what_it_writes_is_beside_what_the_output_of_the_block_says() -> None:
    node = block("hotel", output={"booked": "result.room"})
    play = played(node, {"trip/hotel": {"room": 7}, LAST: {"told": 1}})
    assert play.run().line.data == {"booked": 7, "told": 1}
    assert play.seen[LAST] == {"booked": 7}


def test_it_runs_after_failure_once_the_steps_are_undone_and_the_handler_sees_what_it_wrote() -> None:
    hotel = python(compensate=python(output={"refund": "result.n"}))
    script: dict[str, Any] = {
        "trip/hotel": {"room": 1},
        "trip/flight": BROKEN,
        "undo trip/hotel": {"refund": 7},
        LAST: {"told": 1},
    }
    play = played(block(hotel=hotel, flight=STEP), script, edges=ON_FAILURE)
    error = BROKEN.root() | {"node": "trip/flight"}
    told = {"status": "failed", "error": error, "compensated": ["trip/hotel"], "not_compensated": []}
    assert outcome_of(play) == told
    finish = play.finish()
    assert play.ran == ["trip/hotel", "trip/flight", "undo trip/hotel", LAST, "caught"]
    assert (play.seen[LAST], play.seen["caught"]) == ({"refund": 7}, {"refund": 7, "told": 1})
    assert (finish.failure, finish.line.data) == (None, {"refund": 7, "told": 1})


def test_it_sees_what_could_not_be_undone() -> None:
    play = played(block(), {"trip/flight": BROKEN, "undo trip/hotel": failure("NO")}, edges=ON_FAILURE)
    assert outcome_of(play)["not_compensated"] == ["trip/hotel"]


def test_it_runs_once_after_the_last_attempt() -> None:
    retry = {"max_attempts": 2, "initial_interval": "1s"}
    node = block(retry=retry)
    play = played(node, {"trip/flight": BROKEN, "trip~2/flight": BROKEN}, edges=ON_FAILURE)
    assert outcome_of(play)["compensated"] == ["trip/hotel", "trip~2/hotel"]
    play.finish()
    assert [each for each in play.ran if "finally" in each] == [LAST]
    again = played(node, {"trip/flight": BROKEN})
    assert again.run().failure is None
    assert [each for each in again.ran if "finally" in each] == [LAST]


def test_a_cancelled_run_waits_for_it_and_is_undone_behind_it() -> None:
    play = played(block(), {LAST: {"told": 1}})
    until(play, "trip/flight")
    play.take(play.machine.cancel("enough", 2))
    assert (list(play.pending), outcome_of(play)["status"]) == ([LAST], "cancelled")
    play.take(play.machine.cancel("really", 3))
    finish = play.finish()
    assert play.ran == ["trip/hotel", "trip/flight", LAST, "undo trip/flight", "undo trip/hotel"]
    assert (finish.cancelled, finish.line.data) == (True, {"told": 1})


def test_a_run_that_is_cancelled_while_it_runs_waits_for_it_and_for_what_follows_in_it() -> None:
    last = {"nodes": {"tell": python(), "more": python()}, "edges": [edge("tell", "more")]}
    play = played(block(last=last))
    until(play, LAST)
    play.take(play.machine.cancel("enough", 2))
    assert play.cancelled == []
    finish = play.finish()
    assert play.ran[2:] == [LAST, "trip/finally/more", "undo trip/flight", "undo trip/hotel"]
    assert finish.cancelled


@pytest.mark.parametrize("broken", [False, True])
def test_its_failure_changes_nothing_of_how_the_block_ended_and_is_a_warning(broken: bool) -> None:
    script = {LAST: failure("NO_ROUTE"), **({"trip/flight": BROKEN} if broken else {})}
    play = played(block(), script, edges=ON_FAILURE)
    assert play.run().failure is None
    assert play.ran[-1] == ("caught" if broken else "after")
    assert warnings(play) == [f"finally_failed at {LAST!r}: NO_ROUTE: it broke"]


def test_its_time_is_bounded_by_its_own_timeout() -> None:
    play = played(block(timeout="1h", last={**TELL, "timeout": "5s"}))
    until(play, LAST)
    (timer,) = [each for each in play.pending if each.startswith(DEADLINE)]
    assert timer == deadline(play)
    play.answer(timer)
    assert play.finish().failure is None
    assert warnings(play) == [
        "finally_failed at 'trip/finally': TIMEOUT: 'trip/finally' did not end within its `timeout` of 5 s"
    ]
    assert play.ran[-1] == "after"


def test_a_loser_of_a_race_is_cancelled_and_its_finally_runs_before_the_end() -> None:
    nodes = {"trip": block("hotel"), "quick": python(), "first": python(join="first")}
    play = Play(machine_of({"nodes": nodes, "edges": [edge("trip", "first"), edge("quick", "first")]})).start()
    play.answer("quick")
    play.answer("first")
    assert (list(play.pending), play.cancelled) == ([LAST], ["trip/hotel"])
    assert outcome_of(play)["status"] == "cancelled"
    assert play.finish().failure is None
    assert play.state.aborts == {}


def test_of_nested_blocks_the_inner_one_comes_first() -> None:
    inner = block("hotel")
    play = played(block("in", **{"in": inner})).start()
    play.take(play.machine.cancel("enough", 2))
    play.finish()
    assert play.ran == ["trip/in/hotel", "trip/in/finally/tell", LAST, "undo trip/in/hotel"]


def test_it_runs_for_each_item_and_of_an_item_that_fails_too() -> None:
    body = {"nodes": {"book": block("hotel")}}
    node = {"type": "foreach", "items": "[1, 2]", "body": body, "on_item_failure": "skip"}
    play = played(node, {"trip[0]/book/hotel": BROKEN})
    assert play.run().failure is None
    assert sorted(each for each in play.ran if "finally" in each) == [f"trip[{n}]/book/finally/tell" for n in (0, 1)]


def test_a_run_does_not_continue_as_new_while_it_runs_but_behind_it() -> None:
    waits = {"type": "wait", "for": "1h"}
    play = played(block("hotel", last={"nodes": {"nap": waits, "tell": python()}, "edges": [edge("nap", "tell")]}))
    until(play, "trip/finally/nap")
    play.state.is_draining = True
    assert play.state.under_way
    play.answer("trip/finally/nap")
    assert list(play.pending) == [LAST]
    play.answer(LAST)
    assert not play.state.under_way
    again = carried(play)
    assert again.finish().failure is None
    assert again.ran == ["after"]


@FEW
@given(
    seed=st.integers(0, 10_000), broken=st.sampled_from(["", "hotel", "flight", "finally/tell"]), at=st.integers(0, 6)
)
def test_whatever_happens_it_runs_once_behind_the_block_and_leaves_nothing_behind(
    seed: int, broken: str, at: int
) -> None:
    nodes = {"trip": block(), "beside": STEP, "after": python()}
    graph = {"nodes": nodes, "edges": [edge("trip", "after"), edge("beside", "after")]}
    play = Play(machine_of(graph), {f"trip/{broken}": BROKEN}, pick=shuffled(seed)).start()
    for _ in range(at):
        if play.pending and play.state.finished is None:
            play.answer(play.pick(list(play.pending)))
    if play.state.finished is None:
        play.take(play.machine.cancel("enough", play.now))
    play.finish()
    assert play.ran.count(LAST) == 1
    behind = play.ran[play.ran.index(LAST) + 1 :]
    assert not [each for each in behind if each.startswith("trip/")]
    state = play.state
    assert (state.lasts, state.aborts, state.work, state.bodies) == ({}, {}, {}, {})


@pytest.mark.parametrize(("decision", "status"), [("skip", "completed"), ("give_up", "failed")])
def test_of_a_paused_block_it_runs_once_an_operator_has_decided(decision: str, status: str) -> None:
    play = played(block(on_failure="pause"), {"trip/flight": BROKEN}, edges=ON_FAILURE).start()
    while "trip" not in play.state.paused_nodes:
        play.answer(oldest(list(play.pending)))
    assert LAST not in play.ran
    play.take(play.machine.skip("trip", None, 9) if decision == "skip" else play.machine.give_up("trip", 9))
    assert outcome_of(play)["status"] == status
    assert play.finish().failure is None
    assert play.ran[-1] == ("after" if decision == "skip" else "caught")


@FEW
@given(
    seed=st.integers(0, 10_000),
    broken=st.sampled_from(["", "pay", "hotel", "finally/tell", "inner/hotel", "inner/finally/tell"]),
    at=st.integers(0, 12),
    cancels=st.booleans(),
    shape=st.sampled_from(["item", "race"]),
    budget=st.sampled_from([1, 3, 100]),
)
def test_nested_in_items_and_races_each_that_began_is_followed_by_its_finally_once(
    *, seed: int, broken: str, at: int, cancels: bool, shape: str, budget: int
) -> None:
    inner = block("hotel")
    trip = block("inner", "pay", inner=inner)
    if shape == "item":
        body = {"nodes": {"trip": trip}}
        graph: dict[str, Any] = {"nodes": {"each": {"type": "foreach", "items": "[1, 2]", "body": body}}}
        owners = ["each[0]/trip", "each[1]/trip"]
    else:
        nodes = {"trip": trip, "quick": STEP, "first": python(join="first"), "more": STEP}
        graph = {"nodes": nodes, "edges": [edge("trip", "first"), edge("quick", "first"), edge("first", "more")]}
        owners = ["trip"]
    script = {f"{owners[0]}/{broken}": BROKEN}
    play = Play(machine_of(graph, budget=budget), script, pick=shuffled(seed)).start()
    for _ in range(at):
        if play.pending and play.state.finished is None:
            play.answer(play.pick(list(play.pending)))
    if cancels and play.state.finished is None:
        play.take(play.machine.cancel("enough", play.now))
    play.finish()
    for owner in (*owners, *(f"{each}/inner" for each in owners)):
        own = f"{owner}/finally/tell"
        begun = [each for each in play.ran if each.startswith(f"{owner}/") and each != own]
        assert bool(begun) <= play.ran.count(own) <= 1  # a block may have begun without any of its nodes
    state = play.state
    assert (state.lasts, state.aborts, state.bodies) == ({}, {}, {})


def test_a_loser_that_waits_for_its_next_attempt_has_its_finally_too() -> None:
    trip = block("hotel", retry={"max_attempts": 2, "initial_interval": "1s"})
    nodes = {"trip": trip, "quick": python(), "first": python(join="first", losers="cancel")}
    graph = {"nodes": nodes, "edges": [edge("trip", "first"), edge("quick", "first")]}
    play = Play(machine_of(graph), {"trip/hotel": BROKEN}).start()
    play.answer("trip/hotel")
    assert list(play.pending) == ["quick", "trip"]
    play.answer("quick")
    play.finish()
    assert sorted(play.ran) == ["first", "quick", "trip", LAST, "trip/hotel"]


def test_that_of_a_paused_block_runs_when_the_run_is_cancelled() -> None:
    play = played(block(on_failure="pause"), {"trip/flight": BROKEN}).start()
    while "trip" not in play.state.paused_nodes:
        play.answer(oldest(list(play.pending)))
    play.take(play.machine.cancel("enough", 9))
    assert outcome_of(play)["status"] == "cancelled"
    assert play.finish().cancelled
