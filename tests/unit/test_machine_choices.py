"""Which edges a node's end takes: `otherwise`, and lists of outcomes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.workflows.interpreter.commands import Failure, StartTimer
from tests.unit.machine_kit import Outcome, Play, cancelled, edge, failure, machine_of, python, shuffled, timeout
from tests.unit.test_machine_properties import FEW

CHOICE: dict[str, Any] = {
    "nodes": {name: python() for name in ("a", "big", "small", "rest", "end")},
    "edges": [
        edge("a", "rest", otherwise=True),
        edge("a", "big", when="n > 10"),
        edge("a", "small", when="n < 5"),
        *(edge(name, "end") for name in ("big", "small", "rest")),
    ],
}


@pytest.mark.parametrize(("n", "chosen"), [(11, "big"), (1, "small"), (7, "rest")])
def test_otherwise_is_taken_when_no_other_success_edge_is(n: int, chosen: str) -> None:
    play = Play(machine_of(CHOICE, {"n": n}))
    assert play.run().failure is None
    assert play.ran == ["a", chosen, "end"]
    skipped = {name for name, run in play.state.root.nodes.items() if run.status.value == "skipped"}
    assert skipped == {"big", "small", "rest"} - {chosen}


@pytest.mark.parametrize("place", range(3))
def test_the_place_of_otherwise_among_the_edges_makes_no_difference(place: int) -> None:
    edges = CHOICE["edges"][1:]
    edges.insert(place, CHOICE["edges"][0])
    for n, chosen in ((11, "big"), (7, "rest")):
        play = Play(machine_of({**CHOICE, "edges": edges}, {"n": n}))
        play.run()
        assert play.ran == ["a", chosen, "end"]


@pytest.mark.parametrize("outcome", ["always", "failure"])
def test_edges_of_other_outcomes_do_not_count(outcome: str) -> None:
    nodes = {name: python() for name in ("a", "b", "log", "rest")}
    edges = [edge("a", "b", when="n > 10"), edge("a", "log", outcome=outcome), edge("a", "rest", otherwise=True)]
    play = Play(machine_of({"nodes": nodes, "edges": edges}, {"n": 1}))
    play.run()
    assert set(play.ran) == {"a", "rest"} | ({"log"} if outcome == "always" else set())


@pytest.mark.parametrize("failed", [failure(), timeout()])
def test_after_a_failure_otherwise_is_not_taken(failed: Outcome) -> None:
    play = Play(machine_of(CHOICE, {"n": 7}), {"a": failed})
    assert play.run().failure is not None
    assert play.ran == ["a"]
    handled = {**CHOICE, "edges": [*CHOICE["edges"], edge("a", "end", outcome="always")]}
    play = Play(machine_of(handled, {"n": 7}), {"a": failed})
    assert play.run().failure is None
    assert play.ran == ["a", "end"]


def test_where_a_failed_node_goes_on_otherwise_may_be_taken() -> None:
    graph = {**CHOICE, "nodes": {**CHOICE["nodes"], "a": python(on_failure="continue")}}
    play = Play(machine_of(graph, {"n": 7}), {"a": failure()})
    assert play.run().failure is None
    assert play.ran == ["a", "rest", "end"]


def test_a_skipped_node_takes_no_otherwise() -> None:
    graph = {**CHOICE, "nodes": {**CHOICE["nodes"], "a": python(when="n > 10")}}
    play = Play(machine_of(graph, {"n": 7}))
    assert play.run().failure is None
    assert play.ran == []


def test_a_condition_that_cannot_be_evaluated_takes_no_otherwise() -> None:
    edges = [edge("a", "big", when="n > 'x'"), edge("a", "rest", otherwise=True)]
    finish = Play(machine_of({**CHOICE, "edges": edges}, {"n": 1})).run()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node) == ("EXPRESSION_FAILED", "a")


def test_an_edge_that_is_taken_for_a_join_that_is_skipped_is_taken_all_the_same() -> None:
    graph = {
        "nodes": {"a": python(), "x": python(), "both": python(join="all"), "rest": python()},
        "edges": [
            edge("a", "both", when="n == 1"),
            edge("x", "both", when="false"),
            edge("a", "rest", otherwise=True),
        ],
    }
    play = Play(machine_of(graph, {"n": 1}))
    play.run()
    assert play.ran == ["a", "x"]


def test_otherwise_wins_a_race() -> None:
    nodes = {"a": python(), "b": python(), "slow": python(), "first": python(join="first")}
    edges = [edge("a", "b", when="n > 10"), edge("a", "first", otherwise=True), edge("slow", "first")]
    play = Play(machine_of({"nodes": nodes, "edges": edges}, {"n": 1})).start()
    play.answer("a")
    play.answer("first")
    assert play.finish().failure is None
    assert play.cancelled == ["slow"]


@FEW
@given(
    conditions=st.lists(st.sampled_from(["n > 2", "n < 2", "n == 2", "false", "true"]), min_size=1, max_size=5),
    n=st.integers(0, 4),
    place=st.integers(0, 5),
    seed=st.integers(0, 1000),
)
def test_exactly_the_edges_whose_condition_holds_are_taken_or_else_the_otherwise(
    conditions: list[str], n: int, place: int, seed: int
) -> None:
    edges = [edge("a", f"b{index}", when=condition) for index, condition in enumerate(conditions)]
    edges.insert(place, edge("a", "rest", otherwise=True))
    nodes = {"a": python(), "rest": python(), **{f"b{index}": python() for index in range(len(conditions))}}
    play = Play(machine_of({"nodes": nodes, "edges": edges}, {"n": n}), pick=shuffled(seed))
    play.run()
    holds = {"n > 2": n > 2, "n < 2": n < 2, "n == 2": n == 2, "false": False, "true": True}
    expected = {f"b{index}" for index, condition in enumerate(conditions) if holds[condition]} or {"rest"}
    assert set(play.ran) == {"a"} | expected


@pytest.mark.parametrize(
    ("named", "ended", "is_taken"),
    [
        (["failure", "timeout"], failure(), True),
        (["failure", "timeout"], timeout(), True),
        (["failure", "timeout"], {}, False),
        (["failure", "timeout"], cancelled(), False),
        (["success", "timeout"], {}, True),
        (["success", "timeout"], failure(), False),
        (["success", "failure", "timeout"], timeout(), True),
        (["success", "failure", "timeout"], cancelled(), False),
        ("always", cancelled(), True),
    ],
)
def test_an_edge_with_several_outcomes_is_taken_on_each(named: object, ended: Outcome, is_taken: bool) -> None:
    graph = {"nodes": {"a": python(), "b": python()}, "edges": [edge("a", "b", outcome=named)]}
    play = Play(machine_of(graph), {"a": ended})
    finish = play.run()
    assert play.ran == (["a", "b"] if is_taken else ["a"])
    assert (finish.failure is not None) is (isinstance(ended, Failure) and not is_taken)


@pytest.mark.parametrize(("ended", "seen"), [({}, None), (timeout(), "TIMEOUT")])
def test_behind_several_outcomes_the_error_is_there_or_null(ended: Outcome, seen: str | None) -> None:
    after = {"type": "wait", "for": "{{ error == null ? '1s' : error.type == 'TIMEOUT' ? '2s' : '3s' }}"}
    graph = {"nodes": {"a": python(), "b": after}, "edges": [edge("a", "b", outcome=["success", "timeout"])]}
    play = Play(machine_of(graph), {"a": ended}).start()
    play.answer("a")
    timer = play.pending["b"]
    assert isinstance(timer, StartTimer)
    assert timer.seconds == (1.0 if seen is None else 2.0)


def test_an_edge_of_success_among_others_counts_for_otherwise() -> None:
    nodes = {name: python() for name in ("a", "b", "rest")}
    edges = [edge("a", "b", outcome=["success", "timeout"], when="n > 1"), edge("a", "rest", otherwise=True)]
    for n, expected in ((2, ["a", "b"]), (1, ["a", "rest"])):
        play = Play(machine_of({"nodes": nodes, "edges": edges}, {"n": n}))
        play.run()
        assert play.ran == expected


def test_a_racing_branch_may_lead_on_by_several_outcomes() -> None:
    nodes = {"a": python(), "slow": python(), "first": python(join="first", losers="cancel")}
    edges = [edge(name, "first", outcome=["success", "timeout"]) for name in ("a", "slow")]
    play = Play(machine_of({"nodes": nodes, "edges": edges}), {"a": timeout()}).start()
    play.answer("a")
    assert play.cancelled == ["slow"]
    assert play.finish().failure is None
