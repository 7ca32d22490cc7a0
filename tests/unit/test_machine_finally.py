"""`finally`: when it begins, what it sees, what becomes of what it writes, and that the run ends as it had."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anabranch.errors import SchemaViolation
from anabranch.graph.plan import plan_graph
from anabranch.limits import PAYLOAD_BYTES
from anabranch.workflows.interpreter import snapshot, views
from anabranch.workflows.interpreter.afterwards import MOST_STEPS
from anabranch.workflows.interpreter.commands import Failure, Finish, StartTimer
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.size import json_size
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.temporal.failures import run_error
from tests.unit.machine_kit import RUN, Play, edge, failure, machine_of, python, shuffled
from tests.unit.test_machine_properties import FEW

UNDONE = python(compensate=python(output={"undone": "true"}))
TELL = {"nodes": {"tell": python()}}
TWO = {"nodes": {"a": UNDONE, "b": python()}, "edges": [edge("a", "b")]}


def graph(last: dict[str, Any] = TELL, **fields: Any) -> dict[str, Any]:
    return {**TWO, "finally": last, **fields}


def outcome_of(play: Play) -> Any:
    """What the expressions of the `finally` saw, by its first node."""
    return play.state.root.roots["outcome"]


def failed_at(play: Play, finish: Finish) -> tuple[str, str] | None:
    assert finish.afterwards is not None
    last = finish.afterwards.failure
    return None if last is None else (last.code, last.node)


# when it runs, and what it sees


def test_it_runs_after_success_on_the_context_of_the_end() -> None:
    play = Play(machine_of(graph(), {"n": 1}), {"a": {"x": 1}, "finally/tell": {"told": True}})
    finish = play.run()
    assert (play.ran, play.seen["finally/tell"]) == (["a", "b", "finally/tell"], {"n": 1, "x": 1})
    assert outcome_of(play) == {"status": "completed", "error": None, "compensated": [], "not_compensated": []}
    assert (finish.failure, finish.data) == (None, {"n": 1, "x": 1, "told": True})


def test_it_runs_after_failure_once_all_is_undone_and_rolled_back() -> None:
    script: dict[str, Any] = {
        "a": {"x": 1},
        "b": failure("NO_STOCK"),
        "undo a": {"undone": 1},
        "finally/tell": {"told": True},
    }
    play = Play(machine_of(graph(), {"n": 1}), script)
    finish = play.run()
    assert (play.ran, play.seen["finally/tell"]) == (["a", "b", "undo a", "finally/tell"], {"n": 1, "undone": 1})
    error = {"node": "b", "code": "NO_STOCK", "type": "NO_STOCK", "message": "it broke", "outcome": "failure"}
    assert outcome_of(play) == {"status": "failed", "error": error, "compensated": ["a"], "not_compensated": []}
    assert finish.failure is not None
    assert (finish.failure.code, finish.compensated, finish.line.data) == (
        "NO_STOCK",
        ("a",),
        {"n": 1, "undone": 1, "told": True},
    )


def test_it_sees_what_could_not_be_undone() -> None:
    play = Play(machine_of(graph()), {"b": failure(), "undo a": failure("REFUSED")})
    finish = play.run()
    assert (outcome_of(play)["compensated"], outcome_of(play)["not_compensated"]) == ([], ["a"])
    assert finish.not_compensated == ("a",)


def test_it_runs_after_cancellation_and_no_further_cancellation_ends_it() -> None:
    play = Play(machine_of(graph(), {"n": 1}), {"finally/tell": {"told": True}}).start()
    play.answer("a")
    play.take(play.machine.cancel("enough", 2))
    play.answer("undo a")
    assert (outcome_of(play)["status"], list(play.pending)) == ("cancelled", ["finally/tell"])
    play.take(play.machine.cancel("really", 3))
    play.take(play.machine.fail(failure(), 4))
    assert list(play.pending) == ["finally/tell"]
    finish = play.finish()
    assert (finish.cancelled, finish.line.data, views.run_status(play.state)) == (
        True,
        {"n": 1, "told": True},
        "cancelled",
    )


@pytest.mark.parametrize(("refused", "status"), [(False, "cancelled"), (True, "failed")])
def test_the_status_that_it_sees_is_that_with_which_the_run_ends(refused: bool, status: str) -> None:
    play = Play(machine_of(graph()), {"undo a": failure()} if refused else {}).start()
    play.answer("a")
    play.take(play.machine.cancel("enough", 2))
    play.finish()
    assert (outcome_of(play)["status"], views.run_status(play.state)) == (status, status)


def test_a_cancellation_while_the_run_is_undone_does_not_hurry_it() -> None:
    play = Play(machine_of(graph()), {"b": failure()}).start()
    play.answer("a")
    play.answer("b")
    play.take(play.machine.cancel("enough", 2))
    finish = play.finish()
    assert (play.ran, finish.cancelled) == (["a", "b", "undo a", "finally/tell"], False)


def test_its_expressions_and_those_of_its_bodies_see_the_outcome() -> None:
    body = {"nodes": {"each": python(when="outcome.error.code == 'NO_STOCK' && item == 'a'")}}
    last = {
        "nodes": {
            "completed": python(when="outcome.status == 'completed'"),
            "failed": {"type": "foreach", "items": "outcome.compensated + ['x']", "body": body},
            "late": python(),
        },
        "edges": [edge("failed", "late", when="outcome.status == 'failed'")],
    }
    play = Play(machine_of(graph(last)), {"b": failure("NO_STOCK")})
    play.run()
    assert play.ran == ["a", "b", "undo a", "finally/failed[0]/each", "finally/late"]


def test_it_names_only_the_first_of_very_many_steps() -> None:
    nodes = {f"n{index}": UNDONE for index in range(MOST_STEPS + 1)}
    graph = {"nodes": {**nodes, "b": python()}, "finally": TELL, "edges": [edge(name, "b") for name in nodes]}
    play = Play(machine_of(graph), {"b": failure()})
    finish = play.run()
    assert (len(finish.compensated), len(outcome_of(play)["compensated"])) == (MOST_STEPS + 1, MOST_STEPS)


def test_a_run_whose_input_is_refused_has_not_begun_and_has_no_end_to_follow() -> None:
    machine = machine_of(graph(context={"schema": {"required": ["n"]}}))
    with pytest.raises(SchemaViolation) as refused:
        machine.start(1)
    assert machine.refuse(refused.value).afterwards is None


def test_it_runs_where_the_result_of_the_graph_cannot_be_evaluated_too() -> None:
    play = Play(machine_of(graph(result={"r": "missing"})))
    finish = play.run()
    assert finish.failure is not None
    assert (finish.failure.code, play.ran) == ("EXPRESSION_FAILED", ["a", "b", "undo a", "finally/tell"])


# what becomes of what it writes


def told(finish: Finish) -> dict[str, Any]:
    assert finish.failure is not None
    details: dict[str, Any] = run_error(finish, finish.failure).details[0]
    return details


def test_what_it_writes_is_beside_the_result_of_the_graph() -> None:
    play = Play(machine_of(graph(result={"r": "x"})), {"a": {"x": 1}, "finally/tell": {"told": [1]}})
    result = views.result(play.state, play.run(), "s")
    assert (result["data"], result["finally"]) == ({"r": 1}, {"told": [1]})


def test_what_it_writes_beside_a_result_is_only_as_much_as_the_server_takes() -> None:
    text = "x" * (PAYLOAD_BYTES // 5 * 2)
    script: dict[str, Any] = {"a": {"x": text}, "finally/tell": {"small": 1, "large": text}}
    play = Play(machine_of(graph(result={"r": "[x, x]"})), script)
    result = views.result(play.state, play.run(), "s")
    assert (result["finally"], result["finally_left_out"]) == ({"small": 1}, {"large": len(text) + 2})
    assert json_size(result) < PAYLOAD_BYTES


def test_what_it_writes_is_in_the_data_of_a_completed_run_without_a_result() -> None:
    play = Play(machine_of(graph()), {"finally/tell": {"told": 1}})
    result = views.result(play.state, play.run(), "s")
    assert (result["data"], result["version"], "finally" in result) == ({"told": 1}, 2, False)


def test_what_it_writes_is_in_the_details_of_the_error_as_far_as_there_is_room() -> None:
    script: dict[str, Any] = {"b": failure(), "finally/tell": {"told": 1, "long": "x" * 70_000}}
    play = Play(machine_of(graph()), script)
    details = told(play.run())
    assert (details["finally"], details["finally_left_out"]) == ({"told": 1}, {"long": 70_002})
    assert "finally_failed" not in details


def test_its_writes_are_versions_on_top_of_the_rollback_and_known_as_its_own() -> None:
    play = Play(machine_of(graph()), {"a": {"x": 1}, "b": failure(), "finally/tell": {"told": 1}})
    play.run()
    last = play.state.trail.versions[-2:]
    assert [(each.kind, each.by, each.parents) for each in last] == [
        ("rollback", "rollback", (2, 1)),
        ("node", "finally/tell", (3,)),
    ]


def test_its_first_version_has_the_ends_of_all_branches_as_parents() -> None:
    nodes = {"a": python(), "b": python()}
    play = Play(machine_of({"nodes": nodes, "finally": TELL}), {"a": {"x": 1}, "b": {"y": 1}, "finally/tell": {"z": 1}})
    play.run()
    assert play.state.trail.versions[-1].parents == (2, 3)


def test_a_reserved_name_that_it_writes_is_its_failure() -> None:
    play = Play(machine_of(graph()), {"finally/tell": {"outcome": 1}})
    finish = play.run()
    assert (finish.failure, failed_at(play, finish)) == (None, ("NAME_RESERVED", "finally/tell"))


# its own failure


def test_its_failure_changes_nothing_of_how_the_run_ended_and_is_told() -> None:
    last = {"nodes": {"note": python(), "tell": python()}, "edges": [edge("note", "tell")]}
    script: dict[str, Any] = {"finally/note": {"noted": 1}, "finally/tell": failure("NO_ROUTE")}
    play = Play(machine_of(graph(last)), script)
    finish = play.run()
    assert (finish.failure, finish.data, failed_at(play, finish)) == (
        None,
        {"noted": 1},
        ("NO_ROUTE", "finally/tell"),
    )
    error = {"node": "finally/tell", "code": "NO_ROUTE", "type": "NO_ROUTE", "message": "it broke"}
    failed = {**error, "outcome": "failure"}
    assert views.result(play.state, finish, "s")["finally_failed"] == failed
    status = views.status(play.state)
    assert (status["status"], status["finally_failed"], "failure" in status) == ("completed", failed, False)


def test_of_a_failed_run_both_failures_are_told() -> None:
    play = Play(machine_of(graph()), {"b": failure("NO_STOCK"), "finally/tell": failure("NO_ROUTE")})
    finish = play.run()
    details = told(finish)
    assert (details["code"], details["finally_failed"]["code"], details["compensated"]) == (
        "NO_STOCK",
        "NO_ROUTE",
        ["a"],
    )
    assert finish.failure is not None
    assert run_error(finish, finish.failure).message.endswith("; its `finally` failed too")
    status: Any = views.status(play.state)
    assert (status["failure"]["code"], status["compensated"]) == ("NO_STOCK", ["a"])


def test_a_failure_edge_in_it_takes_a_failure() -> None:
    last = {"nodes": {"tell": python(), "other": python()}, "edges": [edge("tell", "other", outcome="failure")]}
    play = Play(machine_of(graph(last)), {"finally/tell": failure()})
    finish = play.run()
    assert (failed_at(play, finish), play.ran[-1]) == (None, "finally/other")


def test_a_paused_node_in_it_waits_for_an_operator() -> None:
    play = Play(machine_of(graph({"nodes": {"tell": python(on_failure="pause")}})), {"finally/tell": failure()}).start()
    for address in ("a", "b", "finally/tell"):
        play.answer(address)
    assert (views.run_status(play.state), play.state.waiting_for_operator) == ("paused", ("finally/tell",))
    play.take(play.machine.give_up("finally/tell", 9))
    finish = play.finish()
    assert (finish.failure, failed_at(play, finish)) == (None, ("NODE_FAILED", "finally/tell"))


@pytest.mark.parametrize(
    ("end", "expected"),
    [({"type": "stop"}, None), ({"type": "fail", "code": "MINE"}, ("MINE", "finally/end"))],
)
def test_a_stop_ends_it_early_and_a_fail_node_fails_it(end: dict[str, Any], expected: object) -> None:
    last = {"nodes": {"tell": python(), "slow": python(), "end": end}, "edges": [edge("tell", "end")]}
    play = Play(machine_of(graph(last)))
    finish = play.run()
    assert (finish.failure, failed_at(play, finish), play.cancelled) == (None, expected, ["finally/slow"])


def test_a_body_in_it_is_tried_again() -> None:
    retry = {"max_attempts": 2, "initial_interval": "1s"}
    body = {"nodes": {"p": python(), "q": python()}, "edges": [edge("p", "q")]}
    each = {"type": "foreach", "items": "[1]", "body": body, "retry": retry}
    play = Play(machine_of(graph({"nodes": {"each": each}})), {"finally/each[0]/q": failure("NO_STOCK")})
    finish = play.run()
    assert failed_at(play, finish) is None
    assert play.ran[2:] == [
        *("finally/each[0]/p", "finally/each[0]/q", "finally/each"),
        *("finally/each~2[0]/p", "finally/each~2[0]/q"),
    ]


# its time


def start_slow() -> Play:
    last = {"timeout": "5s", "nodes": {"tell": python(), "more": python()}, "edges": [edge("tell", "more")]}
    play = Play(machine_of(graph(last)), {"finally/tell": {"told": 1}}).start()
    for address in ("a", "b"):
        play.answer(address)
    return play


def test_where_its_time_is_up_what_runs_in_it_is_cancelled_and_the_run_ends_as_it_had() -> None:
    play = start_slow()
    timer, first = play.pending
    assert (timer, first) == ("timeout of finally since 1970-01-01T00:00:01.002Z", "finally/tell")
    play.answer("finally/tell")
    play.answer(timer)
    finish = play.finish()
    assert (finish.failure, failed_at(play, finish), finish.data) == (None, ("TIMEOUT", "finally"), {"told": 1})
    assert play.cancelled == ["finally/more"]


def test_where_it_is_over_in_time_its_timer_is_nothing_to_wait_for() -> None:
    play = start_slow()
    play.answer("finally/tell")
    play.answer("finally/more")
    finish = play.state.finished
    assert finish is not None
    assert (failed_at(play, finish), len(play.cancelled), play.pending) == (None, 1, {})
    assert play.machine.succeeded(play.cancelled[0], None, 9) == []


def test_a_timer_that_fires_while_it_fails_already_changes_nothing() -> None:
    last = {"timeout": "5s", "nodes": {"tell": python(), "slow": python()}}
    machine = machine_of(graph(last))
    commands = machine.start(1)
    for address in ("a", "b"):
        commands = machine.succeeded(address, None, 2)
    (timer,) = [each.address for each in commands if isinstance(each, StartTimer)]
    machine.failed("finally/tell", failure("NO_ROUTE"), 3)
    assert machine.succeeded(timer, None, 4) == []
    machine.failed("finally/slow", Failure("cancelled", "CANCELLED", "cancelled"), 5)
    finish = machine.state.finished
    assert finish is not None
    assert finish.afterwards is not None
    assert finish.afterwards.failure is not None
    assert finish.afterwards.failure.code == "NO_ROUTE"


# what was under way


def test_what_still_ran_when_the_run_ended_is_cancelled_and_its_end_concerns_nobody() -> None:
    nodes = {"near": python(), "far": python(), "first": python(join="first")}
    machine = machine_of(
        {"nodes": nodes, "edges": [edge("near", "first"), edge("far", "first")], "finally": TELL}, {"n": 1}
    )
    machine.start(1)
    machine.succeeded("near", None, 2)
    commands = machine.succeeded("first", None, 3)
    assert [getattr(each, "address", "") for each in commands] == ["far", "finally/tell"]
    assert machine.succeeded("far", None, 4) == []
    assert machine.choose("far", {}, 5) == []
    (finish,) = machine.succeeded("finally/tell", None, 6)
    assert isinstance(finish, Finish)
    assert finish.failure is None


def test_a_run_that_was_paused_when_it_was_cancelled_does_not_wait_with_its_end() -> None:
    play = Play(machine_of(graph())).start()
    play.answer("a")
    play.state.is_paused = True
    play.take(play.machine.cancel("enough", 2))
    assert play.finish().cancelled
    assert play.ran == ["a", "b", "undo a", "finally/tell"]


def test_a_pause_holds_it_back_once_it_has_begun() -> None:
    last = {"nodes": {"tell": python(), "more": python()}, "edges": [edge("tell", "more")]}
    play = Play(machine_of(graph(last))).start()
    play.answer("a")
    play.answer("b")
    play.state.is_paused = True
    play.answer("finally/tell")
    assert (play.pending, views.run_status(play.state)) == ({}, "paused")
    play.state.is_paused = False
    play.take(play.machine.resume(9))
    play.finish()
    assert play.ran[-1] == "finally/more"


def test_a_run_that_was_to_continue_as_new_when_it_failed_stays_where_it_is() -> None:
    play = Play(machine_of(graph()), {"b": failure()}).start()
    play.answer("a")
    play.state.is_draining = True
    play.finish()
    assert (play.ran, play.state.is_draining) == (["a", "b", "undo a", "finally/tell"], False)


def test_a_run_that_continues_as_new_just_before_its_end_has_its_finally_in_the_next_one() -> None:
    play = Play(machine_of(graph()), {"a": {"x": 1}}).start()
    play.answer("a")
    play.state.is_draining = True
    play.answer("b")
    assert play.pending == {}
    dumped = json.loads(json.dumps(snapshot.dump(play.state)))
    state = RunState(plan_graph(play.state.plan.graph), {}, run=RUN)
    snapshot.load(state, dumped)
    later = Play(Machine(state), {"finally/tell": {"told": 1}})
    later.take(later.machine.resume_from_snapshot(2_000))
    assert later.finish().data == {"x": 1, "told": 1}


def test_a_pivot_that_has_succeeded_leaves_the_data_to_it() -> None:
    nodes = {"a": UNDONE, "pay": python(pivot=True), "b": python()}
    graph = {"nodes": nodes, "edges": [edge("a", "pay"), edge("pay", "b")], "finally": TELL}
    play = Play(machine_of(graph), {"a": {"x": 1}, "b": failure()})
    finish = play.run()
    assert (play.seen["finally/tell"], outcome_of(play)["compensated"], finish.pivoted) == ({"x": 1}, [], True)


def test_views_show_it_beside_the_graph_s_own_nodes() -> None:
    play = Play(machine_of(graph())).start()
    play.answer("a")
    play.answer("b")
    status: Any = views.status(play.state)
    shown = {name: node["status"] for name, node in status["nodes"].items()}
    assert (status["status"], shown) == (
        "finishing",
        {"a": "succeeded", "b": "succeeded", "finally/tell": "running"},
    )
    assert "| `finally/tell` | running |" in views.details(play.state)
    assert "class n3 running" in views.diagram(play.state)


# however it ends


@FEW
@given(
    ends=st.lists(st.sampled_from(["succeeds", "fails", "is cancelled"]), min_size=4, max_size=4),
    last=st.sampled_from(["succeeds", "fails"]),
    cancel_at=st.integers(0, 8),
    seed=st.integers(0, 10_000),
    budget=st.sampled_from([1, 2, 100]),
)
def test_however_a_run_ends_its_finally_runs_once_and_last_and_changes_nothing_of_it(
    ends: list[str], last: str, cancel_at: int, seed: int, budget: int
) -> None:
    nodes = {f"n{index}": python(compensate=python()) for index in range(4)}
    own = {"nodes": nodes, "edges": [edge("n0", "n1"), edge("n0", "n2", outcome="always"), edge("n2", "n3")]}
    outcomes = {"succeeds": {}, "fails": failure("ODD"), "is cancelled": Failure("cancelled", "CANCELLED", "it was")}
    script: dict[str, Any] = {f"n{index}": outcomes[end] for index, end in enumerate(ends)}
    script["finally/tell"] = {"told": 1} if last == "succeeds" else failure("NO_ROUTE")

    def play(graph: dict[str, Any]) -> Play:
        played = Play(machine_of(graph, {"n": 1}, budget=budget), script, pick=shuffled(seed)).start()
        for _ in range(cancel_at):
            if played.state.finished is None and played.pending and played.state.ending is None:
                played.answer(played.pick(list(played.pending)))
        if played.state.ending is None:
            played.take(played.machine.cancel("enough", 900))
        played.finish()
        return played

    without, followed = play(own), play({**own, "finally": TELL})
    expected, finish = without.state.finished, followed.state.finished
    assert expected is not None
    assert finish is not None
    assert replace(finish, line=expected.line, afterwards=None) == expected
    assert [*without.ran, "finally/tell"] == followed.ran
    assert finish.line.data == {**expected.line.data, **({"told": 1} if last == "succeeds" else {})}
    assert failed_at(followed, finish) == (None if last == "succeeds" else ("NO_ROUTE", "finally/tell"))
    assert (followed.state.work, followed.state.bodies, followed.pending) == ({}, {}, {})


def test_what_is_held_back_when_its_time_is_up_never_starts() -> None:
    last = {"timeout": "5s", "nodes": {"tell": python(), "more": python()}}
    play = Play(machine_of(graph(last), budget=1)).start()
    while "finally/tell" not in play.pending:
        play.answer(next(each for each in play.pending if not each.startswith("timeout of")))
    assert "(yield)" in play.pending
    play.answer(next(each for each in play.pending if each.startswith("timeout of finally")))
    finish = play.finish()
    assert (failed_at(play, finish), [*play.pending]) == (("TIMEOUT", "finally"), ["(yield)"])
    play.answer("(yield)")
    assert "finally/more" not in play.ran
