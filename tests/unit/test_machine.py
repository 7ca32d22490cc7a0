"""The interpreter: scheduling, joins, dead paths, outcomes, merges."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from anabranch.context.changes import ChangeSet
from anabranch.errors import ConflictError, InputMissing, SchemaViolation
from tests.unit.machine_kit import Outcome, Play, edge, failure, machine_of, python, timeout


def chain(*names: str) -> dict[str, object]:
    return {
        "nodes": {name: python() for name in names},
        "edges": [edge(*pair) for pair in itertools.pairwise(names)],
    }


def test_a_chain_runs_in_order_and_carries_the_context() -> None:
    play = Play(machine_of(chain("a", "b", "c"), {"x": 1}), {"a": {"y": 2}, "b": {"x": 3}})
    finish = play.run()
    assert play.ran == ["a", "b", "c"]
    assert play.seen["c"] == {"x": 3, "y": 2}
    assert finish.failure is None
    assert finish.line.data == {"x": 3, "y": 2}
    assert finish.line.version == 3


def test_independent_nodes_start_at_once() -> None:
    graph = {
        "nodes": {name: python() for name in "abcd"},
        "edges": [edge("a", "b"), edge("a", "c"), edge("b", "d"), edge("c", "d")],
    }
    play = Play(machine_of(graph)).start()
    play.answer("a")
    assert set(play.pending) == {"b", "c"}
    play.answer("c")
    assert set(play.pending) == {"b"}
    play.answer("b")
    assert set(play.pending) == {"d"}


def test_a_branch_does_not_see_what_a_parallel_branch_wrote() -> None:
    graph = {"nodes": {name: python() for name in "abc"}, "edges": [edge("a", "b"), edge("a", "c")]}
    play = Play(machine_of(graph), {"b": {"x": 1}}).start()
    play.answer("a")
    play.answer("b")
    assert play.seen["c"] == {}
    assert play.finish().line.data == {"x": 1}


def test_a_false_condition_kills_the_path_behind_it() -> None:
    graph = {
        "nodes": {name: python() for name in "abcd"},
        "edges": [edge("a", "b", when="ok"), edge("a", "c", when="!ok"), edge("b", "d")],
    }
    play = Play(machine_of(graph, {"ok": False}))
    finish = play.run()
    assert play.ran == ["a", "c"]
    assert finish.failure is None
    states = {name: run.status.value for name, run in play.state.root.nodes.items()}
    assert states == {"a": "succeeded", "b": "skipped", "c": "succeeded", "d": "skipped"}


@pytest.mark.parametrize(("join", "runs"), [("any", True), ("all", False), ("first", True)])
def test_a_join_with_one_dead_edge(join: str, runs: bool) -> None:
    graph = {
        "nodes": {"a": python(), "b": python(), "c": python(), "j": python(join=join)},
        "edges": [edge("a", "b", when="false"), edge("a", "c"), edge("b", "j"), edge("c", "j")],
    }
    play = Play(machine_of(graph))
    play.run()
    assert ("j" in play.ran) is runs


def test_join_first_starts_once_at_the_first_edge_and_what_comes_later_reaches_nobody() -> None:
    graph = {
        "nodes": {"a": python(), "b": python(), "j": python(join="first")},
        "edges": [edge("a", "j"), edge("b", "j")],
    }
    play = Play(machine_of(graph), {"a": {"x": 1}, "b": {"y": 2}}).start()
    play.answer("b")
    assert play.seen["j"] == {"y": 2}
    assert play.finish().line.data == {"y": 2}
    assert play.ran.count("j") == 1


def test_a_node_whose_condition_fails_is_skipped() -> None:
    graph = {"nodes": {"a": python(), "b": python(when="x > 5")}, "edges": [edge("a", "b")]}
    play = Play(machine_of(graph, {"x": 1}))
    assert play.run().failure is None
    assert play.ran == ["a"]


def test_a_failure_without_an_edge_fails_the_run_and_cancels_what_runs() -> None:
    graph = {"nodes": {"a": python(), "b": python()}}
    play = Play(machine_of(graph), {"a": failure("NO_STOCK")}).start()
    play.answer("a")
    finish = play.finish()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node) == ("NO_STOCK", "a")
    assert play.cancelled == ["b"]


def test_a_failure_edge_is_taken_and_sees_the_error() -> None:
    graph = {
        "nodes": {"a": python(), "b": python(), "c": python(when="error.type == 'NO_STOCK'")},
        "edges": [edge("a", "b"), edge("a", "c", outcome="failure")],
    }
    play = Play(machine_of(graph), {"a": failure("NO_STOCK"), "c": {"handled": True}})
    finish = play.run()
    assert play.ran == ["a", "c"]
    assert finish.failure is None
    assert finish.line.data == {"handled": True}


@pytest.mark.parametrize(("outcome", "ran"), [({}, ["a", "fine"]), (failure(), ["a", "bad"])])
def test_behind_an_always_edge_the_error_is_null_after_a_success(outcome: Outcome, ran: list[str]) -> None:
    graph = {
        "nodes": {"a": python(), "fine": python(), "bad": python(when="error != null && error.node == 'a'")},
        "edges": [edge("a", "fine", outcome="always", when="error == null"), edge("a", "bad", outcome="always")],
    }
    play = Play(machine_of(graph), {"a": outcome})
    assert play.run().failure is None
    assert play.ran == ran


@pytest.mark.parametrize("first", ["a", "b"])
def test_the_error_of_two_failures_is_that_of_the_edge_declared_first(first: str) -> None:
    graph = {
        "nodes": {"a": python(), "b": python(), "c": python(when="error.node == 'b'")},
        "edges": [edge("b", "c", outcome="failure"), edge("a", "c", outcome="failure")],
    }
    play = Play(machine_of(graph), {"a": failure(), "b": failure()}).start()
    play.answer(first)
    assert play.finish().failure is None
    assert play.ran == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("outcome", "taken"),
    [({}, ["ok", "both"]), (failure(), ["bad", "both"]), (timeout(), ["late", "both"])],
)
def test_edges_are_taken_by_outcome(outcome: Outcome, taken: list[str]) -> None:
    graph = {
        "nodes": {name: python() for name in ("a", "ok", "bad", "late", "both")},
        "edges": [
            edge("a", "ok"),
            edge("a", "bad", outcome="failure"),
            edge("a", "late", outcome="timeout"),
            edge("a", "both", outcome="always"),
        ],
    }
    play = Play(machine_of(graph), {"a": outcome})
    assert play.run().failure is None
    assert play.ran == ["a", *taken]


def test_on_failure_continue_goes_on_as_if_nothing_was_written() -> None:
    graph = {"nodes": {"a": python(on_failure="continue"), "b": python()}, "edges": [edge("a", "b")]}
    play = Play(machine_of(graph, {"x": 1}), {"a": failure()})
    assert play.run().failure is None
    assert play.seen["b"] == {"x": 1}


def test_a_failed_condition_fails_the_run_naming_the_key() -> None:
    graph = {"nodes": {"a": python(), "b": python()}, "edges": [edge("a", "b", when="nothing.there > 1")]}
    finish = Play(machine_of(graph, {"nothing": {}})).run()
    assert finish.failure is not None
    assert finish.failure.code == "EXPRESSION_FAILED"
    assert finish.failure.node == "a"


def test_missing_inputs_are_named_all_at_once() -> None:
    graph = {
        "nodes": {
            "a": {"type": "rule", "rules": [{"when": "x > y", "then": {"z": 1}}]},
            "b": {"type": "rule", "rules": [{"when": "z > w", "then": {"v": 1}}]},
        },
        "edges": [edge("a", "b")],
    }
    with pytest.raises(InputMissing, match=r"'w', 'x', 'y'"):
        machine_of(graph).start(0)


def test_an_input_that_its_schema_refuses_does_not_start() -> None:
    graph = {
        "context": {"schema": {"properties": {"total": {"type": "number", "exclusiveMinimum": 0}}}},
        "nodes": {"a": python()},
    }
    with pytest.raises(SchemaViolation, match="total"):
        machine_of(graph, {"total": -1}).start(0)


def test_a_write_that_the_schema_refuses_fails_its_node() -> None:
    graph = {"context": {"schema": {"properties": {"total": {"type": "number"}}}}, "nodes": {"a": python()}}
    finish = Play(machine_of(graph), {"a": {"total": "much"}}).run()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node) == ("SCHEMA_VIOLATION", "a")


DIAMOND = {
    "nodes": {"s": python(), "a": python(), "b": python(), "j": python()},
    "edges": [edge("s", "a"), edge("s", "b"), edge("a", "j"), edge("b", "j")],
}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("last_write_wins", 3),
        ("higher_version_wins", 3),
        ("merge_all", [2, 3]),
        ("sum", 4),
        ("min", 2),
        ("max", 3),
    ],
)
@pytest.mark.parametrize("first", ["a", "b"])
def test_a_conflict_at_a_join_is_settled_by_its_policy(policy: str, expected: object, first: str) -> None:
    graph = {**DIAMOND, "context": {"merge": {"x": policy}}}
    play = Play(machine_of(graph, {"x": 1}), {"a": {"x": 2}, "b": {"x": 3}}, {"a": 10, "b": 20}).start()
    play.answer("s")
    play.answer(first)
    finish = play.finish()
    assert finish.line.data == {"x": expected}
    merge = next(version for version in play.state.trail.versions if version.kind == "merge")
    assert merge.by == "j"
    assert merge.conflicts[0].base == 1
    assert [each.value for each in merge.conflicts[0].candidates] == [2, 3]


@pytest.mark.parametrize(("edges", "expected"), [("ab", 3), ("ba", 2)])
@pytest.mark.parametrize("times", [{"a": 10, "b": 20}, {"a": 20, "b": 10}, {"a": 10, "b": 10}], ids=["ab", "ba", "tie"])
def test_of_equal_versions_the_one_whose_edge_is_declared_last_wins_whichever_branch_ends_first(
    edges: str, expected: int, times: dict[str, int]
) -> None:
    graph = {
        "nodes": DIAMOND["nodes"],
        "edges": [edge("s", "a"), edge("s", "b"), *(edge(name, "j") for name in edges)],
        "context": {"conflict_resolution": "higher_version_wins"},
    }
    play = Play(machine_of(graph, {"x": 1}), {"a": {"x": 2}, "b": {"x": 3}}, times).start()
    play.answer("s")
    for name in sorted("ab", key=times.__getitem__):
        play.answer(name)
    play.finish()
    assert play.seen["j"] == {"x": expected}


def test_branches_that_agree_do_not_conflict() -> None:
    play = Play(machine_of(DIAMOND, {"x": 1}), {"a": {"x": 2}, "b": {"x": 2}})
    assert play.run().line.data == {"x": 2}
    assert not play.state.trail.settled


@pytest.mark.parametrize(
    ("policy", "written", "expected"),
    [
        ("sum", (5, 5), 9),
        ("sum", (2, 3), 4),
        ("append", ([1, 2], [1, 2]), [1, 2, 2]),
        ("union", ([1, 2], [1, 2]), [1, 2]),
    ],
)
def test_a_reducer_that_adds_up_counts_each_write_equal_ones_too(
    policy: str, written: tuple[Any, Any], expected: object
) -> None:
    start = [1] if isinstance(expected, list) else 1
    play = Play(machine_of({**DIAMOND, "context": {"merge": {"x": policy}}}, {"x": start}))
    play.script = {"a": {"x": written[0]}, "b": {"x": written[1]}}
    assert play.run().line.data == {"x": expected}


@pytest.mark.parametrize(
    ("policy", "written", "said"),
    [
        ("min", (2, "10"), "'x': min takes numbers; 'a' wrote 2, 'b' wrote '10'"),
        ("sum", (2**64 - 1, 2**64 - 1), "'x': the sum does not fit in 64 bits; 'a' wrote 18446744073709551615"),
        ("append", ([2], "s" * 200), "'x': append takes lists; 'a' wrote [2], 'b' wrote 'sss"),
        ("union", ([2], {"y": True}), "'x': union takes lists; 'a' wrote [2], 'b' wrote {\"y\":true}"),
    ],
)
def test_a_reducer_that_cannot_reduce_fails_the_join_and_asks_nobody(
    policy: str, written: tuple[Any, Any], said: str
) -> None:
    graph = {**DIAMOND, "context": {"conflict_resolution": "fail_on_conflict", "merge": {"x": policy}}}
    finish = Play(machine_of(graph), {"a": {"x": written[0]}, "b": {"x": written[1]}}).run()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node) == ("CONFLICT", "j")
    assert said in finish.failure.message
    assert len(finish.failure.message) < 400


def test_a_failure_edge_of_the_join_takes_what_no_reducer_can_reduce() -> None:
    graph = {
        "context": {"merge": {"x": "max"}},
        "nodes": {name: python(reads=("x",)) for name in "sabjh"},
        "edges": [*DIAMOND["edges"], edge("j", "h", outcome="failure")],
    }
    play = Play(machine_of(graph), {"a": {"x": 2}, "b": {"x": None}})
    assert play.run().failure is None
    assert "h" in play.seen


def test_fail_on_conflict_without_time_to_wait_fails_the_join_naming_the_candidates() -> None:
    graph = {**DIAMOND, "context": {"conflict_resolution": "fail_on_conflict", "conflict_timeout": 0}}
    finish = Play(machine_of(graph, {"x": 1}), {"a": {"x": 2}, "b": {"x": 3}}).run()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node) == ("CONFLICT", "j")
    assert "'x'" in finish.failure.message


def test_a_conflict_at_a_join_waits_for_a_choice() -> None:
    graph = {**DIAMOND, "context": {"conflict_resolution": "fail_on_conflict"}}
    play = Play(machine_of(graph, {"x": 1}), {"a": {"x": 2}, "b": {"x": 3}}).start()
    for name in "sab":
        play.answer(name)
    assert list(play.pending) == ["j"]
    play.pending.clear()
    play.take(play.machine.choose("j", {("x",): 3}, 99))
    assert play.seen["j"] == {"x": 3}
    assert play.finish().line.data == {"x": 3}


def test_a_conflict_at_the_end_of_the_graph_is_merged_too() -> None:
    graph = {"nodes": {"a": python(), "b": python()}, "context": {"merge": {"x": "merge_all"}}}
    assert Play(machine_of(graph), {"a": {"x": 1}, "b": {"x": 2}}).run().line.data == {"x": [1, 2]}


def test_a_node_on_a_longer_line_supersedes_its_ancestor_whatever_the_clock_says() -> None:
    play = Play(machine_of(chain("a", "b")), {"a": {"x": 1}, "b": {"x": 2}}, {"a": 500, "b": 5})
    assert play.run().line.data == {"x": 2}


def test_the_trail_names_parents_writer_and_changes() -> None:
    play = Play(machine_of(DIAMOND, {"x": 1}), {"a": {"y": 1}, "b": {"z": 1}, "j": {"w": 1}})
    play.run()
    trail = [(version.kind, version.by, version.parents) for version in play.state.trail.versions]
    assert trail == [("input", "input", ()), ("node", "a", (1,)), ("node", "b", (1,)), ("node", "j", (2, 3))]


def test_cancelling_cancels_what_runs_and_ends_the_run() -> None:
    play = Play(machine_of(chain("a", "b"))).start()
    play.take(play.machine.cancel("stop", 5))
    finish = play.finish()
    assert play.cancelled == ["a"]
    assert finish.failure is not None
    assert finish.failure.code == "CANCELLED"


def test_a_held_run_starts_nothing_new_until_it_is_resumed() -> None:
    play = Play(machine_of(chain("a", "b"))).start()
    play.state.is_paused = True
    play.answer("a")
    assert not play.pending
    play.state.is_paused = False
    play.take(play.machine.resume(7))
    assert list(play.pending) == ["b"]


def test_a_write_from_outside_rejoins_by_three_way_merge_against_its_base() -> None:
    graph = {**chain("a", "b"), "context": {"merge": {"n": "sum"}}}
    play = Play(machine_of(graph, {"n": 10}), {"a": {"n": 12}}).start()
    play.answer("a")
    assert play.machine.write(ChangeSet(base_version=1, set={("n",): 15}, by="crm"), 50) == 3
    finish = play.finish()
    assert finish.line.data == {"n": 17}


def test_a_write_from_outside_does_not_settle_what_somebody_must_settle() -> None:
    graph = {**DIAMOND, "context": {"conflict_resolution": "fail_on_conflict"}}
    play = Play(machine_of(graph, {"x": 1}), {"a": {"x": 2}, "b": {"x": 3}}).start()
    for name in "sab":
        play.answer(name)
    with pytest.raises(ConflictError, match="1 unsettled conflict"):
        play.machine.write(ChangeSet(base_version=3, set={("y",): 1}, by="crm"), 50)
    play.machine.write(ChangeSet(base_version=1, set={("y",): 1}, by="crm"), 50)
    assert list(play.pending) == ["j"]
    play.pending.clear()
    play.take(play.machine.choose("j", {("x",): 3}, 99))
    assert play.finish().line.data == {"x": 3, "y": 1}


def test_two_thousand_nodes_are_skipped_without_deep_recursion() -> None:
    names = [f"n{index}" for index in range(1500)]
    graph = chain(*names)
    edges = graph["edges"]
    assert isinstance(edges, list)
    edges[0] = edge("n0", "n1", when="false")
    assert Play(machine_of(graph)).run().failure is None
