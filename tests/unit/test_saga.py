"""What is undone when a run fails, in which order, on which context, and what is left of the data afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError, CancelledError, ChildWorkflowError, TerminatedError

from anabranch.context.changes import ChangeSet
from anabranch.graph.model import Graph
from anabranch.graph.policies import Defaults
from anabranch.workflows.interpreter import views
from anabranch.workflows.interpreter.commands import CancelWork, Failure, RunNode
from anabranch.workflows.temporal.failures import failure_of, run_error
from anabranch.workflows.temporal.node_options import Before, local_options, remote_options
from tests.unit.machine_kit import Play, cancelled, changes, edge, failure, machine_of, python, shuffled, timeout


def step(**fields: Any) -> dict[str, Any]:
    """A leaf that can be undone."""
    return python(compensate=python(), **fields)


def chain(*names: str, last: str = "boom", saga: Mapping[str, Any] | None = None, **nodes: Any) -> dict[str, Any]:
    """Steps one after the other, and a last node for the test to break."""
    order = [*names, last]
    pairs = pairwise(order)
    return {
        "nodes": {**{name: nodes.get(name, step()) for name in names}, last: nodes.get(last, python())},
        "edges": [edge(*pair) for pair in pairs],
        "saga": saga,
    }


DIAMOND = {
    "nodes": {"s": step(), "a": step(), "b": step(), "c": step(), "j": step(), "boom": python()},
    "edges": [edge("s", "a"), edge("s", "b"), edge("b", "c"), edge("a", "j"), edge("c", "j"), edge("j", "boom")],
}
ANCESTORS = {"s": "", "a": "s", "b": "s", "c": "sb", "j": "sabc"}


def undone(play: Play) -> list[str]:
    """The steps in the order in which their compensations were started."""
    return [address.removeprefix("undo ") for address in play.ran if address.startswith("undo ")]


def failed_run(graph: Mapping[str, Any], script: Mapping[str, Any] | None = None, **library: Any) -> Play:
    play = Play(machine_of(graph, **library), {"boom": failure("NO_STOCK"), **(script or {})})
    assert play.run().failure is not None
    return play


def deadline_of(play: Play, address: str) -> float | None:
    command = play.pending[address]
    assert isinstance(command, RunNode)
    return command.deadline


# which steps


def test_a_successful_run_undoes_nothing() -> None:
    play = Play(machine_of(DIAMOND))
    finish = play.run()
    assert (finish.failure, undone(play), finish.compensated) == (None, [], ())


def test_steps_are_undone_once_each_in_the_reverse_order_of_their_completion() -> None:
    play = failed_run(chain("a", "b", "c"))
    assert undone(play) == ["c", "b", "a"]
    assert play.state.finished is not None
    assert play.state.finished.compensated == ("c", "b", "a")


@pytest.mark.parametrize("seed", range(6))
def test_parallel_steps_too_are_undone_in_the_reverse_order_of_their_completion(seed: int) -> None:
    play = Play(machine_of(DIAMOND), {"boom": failure()}, pick=shuffled(seed))
    completed: list[str] = []

    def note(command: RunNode) -> dict[str, Any]:
        completed.append(command.address)
        return {}

    play.script = {**play.script, **dict.fromkeys("sabcj", note)}
    play.run()
    assert undone(play) == completed[::-1]


def test_the_details_say_why_a_run_fails_and_what_was_undone_and_what_was_not() -> None:
    play = failed_run(chain("a", "b", "c"), {"undo b": Failure("failure", "STUCK", "the `door` is shut")})
    assert views.details(play.state).splitlines()[-9:] == [
        "It fails with `NO_STOCK` at `boom`:",
        "",
        "- `it broke`",
        "",
        "Undone: `c`, `a`",
        "",
        "Not undone:",
        "",
        "- `b`: ``the `door` is shut``",
    ]


def test_a_node_without_a_compensation_is_passed_over() -> None:
    assert undone(failed_run(chain("a", "b", "c", b=python()))) == ["c", "a"]


def test_a_definite_failure_did_nothing_and_is_not_undone() -> None:
    assert undone(failed_run(chain("a", boom=step()))) == ["a"]


@pytest.mark.parametrize(
    "outcome", [timeout(), cancelled(), failure("UNAVAILABLE")], ids=["timeout", "cancelled", "UNAVAILABLE"]
)
def test_a_step_whose_outcome_is_unknown_is_undone_first(outcome: Failure) -> None:
    assert undone(failed_run(chain("a", boom=step()), {"boom": outcome})) == ["boom", "a"]


def test_a_failure_that_only_a_later_attempt_met_leaves_open_what_the_earlier_ones_did() -> None:
    for attempt, expected in ((1, ["a"]), (2, ["boom", "a"])):
        met = Failure("failure", "NODE_FAILED", "it broke", "", ({"code": "NODE_FAILED", "attempt": attempt},))
        assert undone(failed_run(chain("a", boom=step()), {"boom": met})) == expected


def test_a_step_that_another_failure_cancels_in_flight_is_undone() -> None:
    play = failed_run({"nodes": {"boom": python(), "a": step()}})
    assert (play.cancelled, undone(play)) == (["a"], ["a"])


def test_a_step_that_completes_in_spite_of_its_cancellation_is_undone_on_what_it_left() -> None:
    machine = machine_of({"nodes": {"a": step(), "boom": python()}})
    machine.start(1)
    assert machine.failed("boom", failure(), 2) == [CancelWork("a")]
    (undo,) = machine.succeeded("a", changes(x=1), 3)
    assert isinstance(undo, RunNode)
    assert (undo.address, undo.undo, undo.line.data) == ("undo a", True, {"x": 1})


def test_nothing_is_undone_before_everything_that_runs_has_come_to_rest() -> None:
    machine = machine_of({"nodes": {"a": step(), "b": step(), "boom": python()}})
    machine.start(1)
    machine.succeeded("a", changes(), 2)
    assert machine.failed("boom", failure(), 3) == [CancelWork("b")]
    assert [each.address for each in machine.failed("b", cancelled(), 4) if isinstance(each, RunNode)] == ["undo b"]


def test_a_step_whose_result_breaks_the_schema_has_happened() -> None:
    graph = chain("a", boom=step()) | {"context": {"schema": {"properties": {"total": {"type": "number"}}}}}
    play = failed_run(graph, {"boom": {"total": "much"}})
    assert undone(play) == ["boom", "a"]
    assert play.seen["undo boom"] == {"total": "much"}


def test_a_step_whose_outgoing_condition_fails_has_happened() -> None:
    graph = {"nodes": {"a": step(), "b": python()}, "edges": [edge("a", "b", when="data.missing > 1")]}
    play = Play(machine_of(graph, {"data": {}}))
    assert play.run().failure is not None
    assert undone(play) == ["a"]


def test_a_failure_that_an_edge_handles_leaves_its_step_out() -> None:
    graph = chain("a", "bad", "boom", last="end", boom=python())
    graph["edges"][1] = edge("bad", "boom", outcome="failure")
    assert undone(failed_run(graph, {"bad": failure()})) == ["a"]


def test_a_timeout_that_an_edge_handles_is_undone_before_what_it_stands_on_and_after_what_stands_on_it() -> None:
    graph = chain("a", "late", "handler", saga={"compensation": "parallel"})
    graph["edges"][1] = edge("late", "handler", outcome="timeout")
    play = failed_run(graph, {"late": timeout()})
    assert undone(play) == ["handler", "late", "a"]


def test_on_failure_continue_leaves_out_a_definite_failure_only() -> None:
    for outcome, expected in ((failure(), ["a"]), (timeout(), ["odd", "a"])):
        assert undone(failed_run(chain("a", "odd", odd=step(on_failure="continue")), {"odd": outcome})) == expected


def test_a_step_that_was_skipped_is_not_undone() -> None:
    graph = chain("a", "b", b=step(when="false"))
    graph["edges"].append(edge("a", "boom"))
    assert undone(failed_run(graph)) == ["a"]


def child_error() -> ChildWorkflowError:
    return ChildWorkflowError(
        "child",
        namespace="n",
        workflow_id="w",
        run_id="r",
        workflow_type="t",
        initiated_event_id=1,
        started_event_id=2,
        retry_state=None,
    )


def test_a_child_that_was_terminated_may_have_done_something() -> None:
    error = child_error()
    error.__cause__ = TerminatedError("stopped")
    assert failure_of(error, "child").unknown is True


@pytest.mark.parametrize(
    "cause",
    [
        ApplicationError("no", type="NO_STOCK"),
        ApplicationError("no", {"effects_left": False}, type="UNAVAILABLE"),
        CancelledError("stop"),
    ],
    ids=["it failed", "a service of its own was unavailable", "it was cancelled"],
)
def test_a_child_that_reports_no_effects_has_undone_them_itself(cause: Exception) -> None:
    error = child_error()
    error.__cause__ = cause
    assert failure_of(error, "child").unknown is False


# the order of parallel compensation


@pytest.mark.parametrize("seed", range(10))
def test_in_parallel_no_step_is_undone_before_those_that_stand_on_it(seed: int) -> None:
    graph = {**DIAMOND, "saga": {"compensation": "parallel"}}
    play = Play(machine_of(graph), {"boom": failure()}, pick=shuffled(seed)).start()
    over: set[str] = set()
    while play.state.finished is None:
        for address in [each for each in play.pending if each.startswith("undo ")]:
            descendants = {name for name, behind in ANCESTORS.items() if address[-1] in behind}
            assert descendants <= over, address
        chosen = play.pick(list(play.pending))
        play.answer(chosen)
        over |= {chosen.removeprefix("undo ")} if chosen.startswith("undo ") else set()
    assert sorted(undone(play)) == ["a", "b", "c", "j", "s"]


def test_in_parallel_independent_steps_are_undone_at_the_same_time() -> None:
    graph = {**DIAMOND, "saga": {"compensation": "parallel"}}
    play = Play(machine_of(graph), {"boom": failure()}).start()
    for name in ("s", "a", "b", "c", "j", "boom", "undo j"):
        play.answer(name)
    assert set(play.pending) == {"undo a", "undo c"}
    play.answer("undo c")
    assert set(play.pending) == {"undo a", "undo b"}


# what a compensation sees and writes


def test_a_compensation_sees_the_context_as_its_node_left_it_and_the_error() -> None:
    play = Play(machine_of(chain("a", "b"), {"n": 0}), {"a": {"n": 1}, "b": {"n": 2}, "boom": failure("NO_STOCK")})
    roots: dict[str, Mapping[str, Any]] = {}

    def note(command: RunNode) -> dict[str, Any]:
        roots[command.address] = command.roots
        return {}

    play.script = {**play.script, "undo a": note, "undo b": note}
    play.run()
    assert (play.seen["undo a"], play.seen["undo b"]) == ({"n": 1}, {"n": 2})
    assert roots["undo a"]["error"] == {
        "node": "boom",
        "code": "NO_STOCK",
        "type": "NO_STOCK",
        "message": "it broke",
        "outcome": "failure",
    }


def test_the_key_of_a_compensation_is_its_node_s_own_with_undo_behind_it() -> None:
    keys: dict[str, str] = {}

    def note(command: RunNode) -> dict[str, Any]:
        keys[command.address] = command.key
        return {}

    failed_run(chain("a"), {"a": note, "undo a": note})
    assert keys == {"a": "run-1/a", "undo a": "run-1/a/undo"}


def test_the_data_is_rolled_back_and_keeps_what_compensations_wrote() -> None:
    play = Play(
        machine_of(chain("a", "b"), {"n": 0, "gone": 1}),
        {"a": {"n": 1}, "b": {"n": 2, "m": 3}, "undo a": {"refund": 10}, "undo b": {"n": 5}, "boom": failure()},
    )
    finish = play.run()
    assert finish.line.data == {"n": 5, "gone": 1, "refund": 10}


def test_the_rollback_is_a_new_version_and_the_history_stays() -> None:
    play = Play(machine_of(chain("a"), {"n": 0}), {"a": {"n": 1}, "undo a": {"refund": 10}, "boom": failure()})
    finish = play.run()
    trail = [(each.number, each.kind, each.by, each.parents) for each in play.state.trail.versions]
    assert trail == [
        (1, "input", "input", ()),
        (2, "node", "a", (1,)),
        (3, "compensation", "undo a", (1,)),
        (4, "rollback", "rollback", (2, 3)),
    ]
    assert play.state.trail.versions[-1].changes.set == {("n",): 0, ("refund",): 10}
    assert finish.line.version == 3


def test_the_rollback_counts_as_a_version_on_top_of_what_services_wrote_meanwhile() -> None:
    play = Play(machine_of(chain("a"), {"n": 0}), {"a": {"n": 1}, "undo a": {"refund": 10}, "boom": failure()}).start()
    play.answer("a")
    for base in (1, 2):
        outside = ChangeSet(base_version=base, set={("note",): base}, by="crm")
        play.machine.write(outside, 50)
    before = play.machine.context().version
    finish = play.finish()
    assert finish.line.data == {"n": 0, "refund": 10}
    assert finish.line.version == before + 1


def test_a_graph_without_compensations_keeps_its_data_when_it_fails() -> None:
    play = Play(machine_of(chain("a", a=python())), {"a": {"n": 1}, "boom": failure()})
    assert play.run().line.data == {"n": 1}


def test_a_compensation_s_result_that_is_no_change_set_is_written_by_its_output() -> None:
    undo = {"type": "activity", "activity": "refund", "output": {"refunded": "result.amount"}}
    machine = machine_of(chain("a", a=python(compensate=undo)))
    machine.start(1)
    machine.succeeded("a", changes(), 2)
    machine.failed("boom", failure(), 3)
    machine.succeeded("undo a", {"amount": 7}, 4)
    assert machine.state.finished is not None
    assert machine.state.finished.line.data == {"refunded": 7}


# compensations that fail


def test_a_compensation_that_fails_is_reported_and_the_others_go_on() -> None:
    play = failed_run(chain("a", "b", "c"), {"undo b": failure("REFUSED")})
    assert undone(play) == ["c", "b", "a"]
    finish = play.state.finished
    assert finish is not None
    assert (finish.compensated, finish.not_compensated) == (("c", "a"), ("b",))
    assert finish.reasons["b"].code == "REFUSED"


def test_a_compensation_whose_output_does_not_fit_its_result_is_reported_and_the_others_go_on() -> None:
    undo = {"type": "activity", "activity": "refund", "output": {"refunded": "result.amount"}}
    machine = machine_of(chain("a", "b", b=python(compensate=undo)))
    machine.start(1)
    for address in ("a", "b"):
        machine.succeeded(address, changes(), 2)
    machine.failed("boom", failure(), 3)
    machine.succeeded("undo b", {}, 4)
    machine.succeeded("undo a", changes(), 5)
    finish = machine.state.finished
    assert finish is not None
    assert (finish.compensated, finish.not_compensated) == (("a",), ("b",))
    assert finish.reasons["b"].code == "EXPRESSION_FAILED"


def test_the_run_s_error_names_node_cause_and_what_was_compensated_and_what_was_not() -> None:
    play = failed_run(
        chain("a", "b"), {"undo b": failure("REFUSED"), "boom": Failure("failure", "NO_STOCK", "none left", "", (3,))}
    )
    finish = play.state.finished
    assert finish is not None
    assert finish.failure is not None
    error = run_error(finish, finish.failure)
    message = "node 'boom': none left; not compensated: 'b'"
    assert (error.type, error.message, error.non_retryable) == ("NO_STOCK", message, True)
    assert error.details[0] == {
        "node": "boom",
        "outcome": "failure",
        "code": "NO_STOCK",
        "message": "none left",
        "cause": [3],
        "compensated": ["a"],
        "not_compensated": ["b"],
        "reasons": {
            "b": {"node": "", "code": "REFUSED", "type": "REFUSED", "message": "it broke", "outcome": "failure"}
        },
    }
    status = views.status(play.state)
    assert (status["status"], status["compensated"]) == ("failed", ["a"])
    assert status["not_compensated"] == error.details[0]["reasons"]


def paused_play(**fields: Any) -> Play:
    """The compensation of `b` failed, and waits; that of `a` is before it."""
    saga = {"on_compensation_failure": "pause", **fields}
    play = Play(machine_of(chain("a", "b", saga=saga)), {"boom": failure(), "undo b": failure("REFUSED")}).start()
    for name in ("a", "b", "boom", "undo b"):
        play.answer(name)
    return play


def test_a_failed_compensation_may_wait_for_an_operator() -> None:
    play = paused_play()
    assert (play.state.waiting_for_operator, play.pending, play.state.finished) == (("undo b",), {}, None)
    assert views.status(play.state)["status"] == "compensating"


def test_an_operator_has_a_compensation_tried_again() -> None:
    play = paused_play()
    play.script = {"boom": failure()}
    play.take(play.machine.retry("undo b", None, 50))
    finish = play.finish()
    assert (undone(play), finish.compensated, finish.reasons) == (["b", "b", "a"], ("b", "a"), {})


def test_an_operator_says_that_a_step_is_undone_by_other_means() -> None:
    play = paused_play()
    play.take(play.machine.skip("undo b", None, 50))
    finish = play.finish()
    assert (undone(play), finish.compensated, finish.not_compensated) == (["b", "a"], ("b", "a"), ())


def test_an_operator_gives_a_compensation_up() -> None:
    play = paused_play()
    play.take(play.machine.give_up("undo b", 50))
    finish = play.finish()
    assert (finish.compensated, finish.not_compensated, finish.reasons["b"].code) == (("a",), ("b",), "REFUSED")


def test_in_parallel_a_paused_compensation_holds_back_only_what_it_stands_on() -> None:
    graph = {**DIAMOND, "saga": {"compensation": "parallel", "on_compensation_failure": "pause"}}
    play = Play(machine_of(graph), {"boom": failure(), "undo a": failure("REFUSED")}).start()
    for name in ("s", "a", "b", "c", "j", "boom", "undo j", "undo a", "undo c", "undo b"):
        play.answer(name)
    assert (play.state.waiting_for_operator, play.pending) == (("undo a",), {})
    play.take(play.machine.skip("undo a", None, 50))
    assert list(play.pending) == ["undo s"]


# the deadline


def test_what_is_left_of_the_deadline_goes_along_with_each_compensation() -> None:
    play = Play(machine_of(chain("a", "b", saga={"deadline": "10s"})), {"boom": failure()}, {"boom": 5_000}).start()
    for name in ("a", "b", "boom"):
        play.answer(name)
    assert deadline_of(play, "undo b") == 10.0
    play.times = {"undo b": 12_500}
    play.answer("undo b")
    assert deadline_of(play, "undo a") == 2.5


def test_past_the_deadline_the_others_are_still_tried_once() -> None:
    script = {"boom": failure(), "undo b": timeout()}
    play = Play(machine_of(chain("a", "b", saga={"deadline": "10s"})), script, {"boom": 5_000, "undo b": 15_001})
    play.start()
    for name in ("a", "b", "boom", "undo b"):
        play.answer(name)
    assert deadline_of(play, "undo a") == 0.0
    finish = play.finish()
    assert (finish.compensated, finish.not_compensated) == (("a",), ("b",))


def test_a_compensation_is_tried_without_limit_until_the_deadline_and_once_past_it() -> None:
    node = Graph.model_validate({"name": "g", "nodes": {"a": step()}}).nodes["a"]
    past = Defaults().timeout + timedelta(minutes=1)
    for deadline, attempts, limit in ((None, 0, None), (8.0, 0, timedelta(seconds=8)), (0.0, 1, past)):
        for options_of in (local_options, remote_options):
            options = options_of(node, Defaults(), undo=True, deadline=deadline)
            assert options["retry_policy"].maximum_attempts == attempts
            assert options.get("schedule_to_close_timeout") == limit
    forward = local_options(node, Defaults(), undo=False, deadline=None)
    assert forward["retry_policy"].maximum_attempts == 5


def test_the_timeouts_of_a_node_are_those_of_its_activity() -> None:
    fields = {"timeout": "5s", "queue_timeout": "7s", "total_timeout": "9s"}
    node = Graph.model_validate({"name": "g", "nodes": {"a": python() | fields}}).nodes["a"]
    found = remote_options(node, Defaults(), undo=False, deadline=None, before=Before(seconds=2.0))
    names = ("start_to_close_timeout", "schedule_to_start_timeout", "schedule_to_close_timeout")
    assert [found[name].total_seconds() for name in names] == [5, 7, 7]
    undone = remote_options(node, Defaults(), undo=True, deadline=3.0)
    assert undone["schedule_to_close_timeout"] == timedelta(seconds=3)
    assert "schedule_to_start_timeout" not in local_options(node, Defaults(), undo=False, deadline=None)


def test_the_defaults_of_a_graph_hold_for_activities_that_do_not_say_it_but_not_for_compensations() -> None:
    node = Graph.model_validate({"name": "g", "nodes": {"a": python()}}).nodes["a"]
    defaults = Defaults.model_validate({"queue_timeout": "7s", "total_timeout": "9s"})
    names = ("schedule_to_start_timeout", "schedule_to_close_timeout")
    found = remote_options(node, defaults, undo=False, deadline=None, before=Before(seconds=2.0))
    assert [found[name].total_seconds() for name in names] == [7, 7]
    undone = remote_options(node, defaults, undo=True, deadline=None)
    assert [undone[name] for name in names] == [None, None]


def test_a_compensation_has_its_own_retry_policy() -> None:
    node = Graph.model_validate({"name": "g", "nodes": {"a": python(retry={"max_attempts": 3})}}).nodes["a"]
    assert local_options(node, Defaults(), undo=True, deadline=9.0)["retry_policy"].maximum_attempts == 3


# the pivot


def test_past_a_pivot_nothing_is_undone_any_more_and_the_data_stays() -> None:
    graph = chain("a", "pay", "b", pay=step(pivot=True))
    play = Play(machine_of(graph, {"n": 0}), {"a": {"n": 1}, "pay": {"paid": True}, "boom": failure()})
    finish = play.run()
    assert (undone(play), finish.compensated) == ([], ())
    assert finish.line.data == {"n": 1, "paid": True}


def test_a_pivot_that_fails_turns_back() -> None:
    play = failed_run(chain("a", boom=step(pivot=True)))
    assert undone(play) == ["a"]


def test_a_pivot_whose_outcome_is_unknown_turns_back_and_is_undone_too() -> None:
    play = failed_run(chain("a", boom=step(pivot=True)), {"boom": timeout()})
    assert undone(play) == ["boom", "a"]


@pytest.mark.parametrize(
    "outcome", [timeout(), cancelled(), failure("UNAVAILABLE")], ids=["timeout", "cancelled", "UNAVAILABLE"]
)
def test_before_a_pivot_that_may_have_happened_nothing_is_undone_and_the_data_stays(outcome: Failure) -> None:
    play = Play(machine_of(chain("a", boom=python(pivot=True)), {"n": 0}), {"a": {"n": 1}, "boom": outcome})
    finish = play.run()
    assert (undone(play), finish.line.data, finish.effects_left) == ([], {"n": 1}, True)


def test_a_pivot_without_an_effect_that_timed_out_has_not_happened() -> None:
    asked = {"type": "approval", "pivot": True}
    play = failed_run(chain("a", boom=asked), {"boom": timeout()})
    assert undone(play) == ["a"]


def pivot_around(inner: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    body = {"nodes": {"inner": dict(inner), "last": python()}, "edges": [edge("inner", "last")]}
    return {"type": "foreach", "items": "[1]", "body": body, "pivot": True, **fields}


@pytest.mark.parametrize(
    ("inner", "fields", "expected"),
    [
        (python(), {}, []),
        (step(), {}, ["boom[0]/inner", "a"]),
        (python(effect=False), {}, ["a"]),
        (python(), {"compensate": python()}, ["boom", "a"]),
    ],
    ids=["nothing undoes it", "it is undone", "it has no effect", "the pivot is undone"],
)
def test_a_pivot_with_a_body_may_have_happened_where_nothing_undoes_what_did_inside(
    inner: Mapping[str, Any], fields: Mapping[str, Any], expected: list[str]
) -> None:
    play = failed_run(chain("a", boom=pivot_around(inner, **fields)), {"boom[0]/last": failure()})
    assert undone(play) == expected


def test_what_runs_beside_a_pivot_is_not_undone_either_once_the_pivot_has_succeeded() -> None:
    play = Play(machine_of({"nodes": {"side": step(), "pay": python(pivot=True)}}), {"side": timeout()}).start()
    play.answer("pay")
    play.answer("side")
    play.finish()
    assert undone(play) == []


# cancellation


def test_cancelling_the_run_undoes_what_is_done_and_what_was_in_flight() -> None:
    play = Play(machine_of(chain("a", "b"), {"n": 0}), {"a": {"n": 1}}).start()
    play.answer("a")
    play.take(play.machine.cancel("stop", 50))
    finish = play.finish()
    assert (play.cancelled, undone(play)) == (["b"], ["b", "a"])
    assert (finish.compensated, finish.line.data) == (("b", "a"), {"n": 0})
    assert finish.failure == Failure("cancelled", "CANCELLED", "stop")
    assert views.run_status(play.state) == "cancelled"


def test_cancelling_a_run_that_is_being_undone_changes_nothing() -> None:
    play = Play(machine_of(chain("a", "b")), {"boom": failure("NO_STOCK")}).start()
    for name in ("a", "b", "boom"):
        play.answer(name)
    assert play.machine.cancel("stop", 50) == []
    finish = play.finish()
    assert undone(play) == ["b", "a"]
    assert finish.failure is not None
    assert finish.failure.code == "NO_STOCK"


def test_cancelling_while_a_node_is_paused_undoes_the_run() -> None:
    play = Play(machine_of(chain("a", "b", b=step(on_failure="pause"))), {"b": timeout()}).start()
    play.answer("a")
    play.answer("b")
    assert list(play.state.paused_nodes) == ["b"]
    play.take(play.machine.cancel("stop", 50))
    play.finish()
    assert undone(play) == ["b", "a"]


def states(play: Play) -> dict[str, str]:
    nodes = views.status(play.state)["nodes"]
    assert isinstance(nodes, dict)
    return {name: str(reported["status"]) for name, reported in nodes.items() if isinstance(reported, dict)}


def test_what_a_cancelled_run_never_started_is_cancelled() -> None:
    graph = {
        "nodes": {name: python() for name in ("a", "b", "next", "later")},
        "edges": [edge("a", "next"), edge("next", "later")],
    }
    play = Play(machine_of(graph)).start()
    play.state.is_paused = True
    play.answer("a")
    assert states(play) == {"a": "succeeded", "b": "running", "next": "ready", "later": "pending"}
    play.take(play.machine.cancel("stop", 50))
    assert states(play) == {"a": "succeeded", "b": "cancelled", "next": "cancelled", "later": "cancelled"}
    assert play.finish().compensated == ()


def test_what_a_failed_run_never_started_is_cancelled_from_the_moment_on_that_it_fails() -> None:
    play = Play(machine_of(chain("a", "boom", last="z")), {"boom": failure()}).start()
    for name in ("a", "boom"):
        play.answer(name)
    assert play.state.finished is None
    assert states(play) == {"a": "succeeded", "boom": "failed", "z": "cancelled"}
    play.finish()
    assert states(play) == {"a": "succeeded", "boom": "failed", "z": "cancelled"}


@pytest.mark.parametrize(("outcome", "state"), [(failure(), "failed"), (timeout(), "timed_out")], ids=str)
def test_the_failure_of_a_paused_node_stands_when_the_run_is_cancelled(outcome: Failure, state: str) -> None:
    play = Play(machine_of(chain("a", "b", b=step(on_failure="pause"))), {"b": outcome}).start()
    play.answer("a")
    play.answer("b")
    play.take(play.machine.cancel("stop", 50))
    play.finish()
    assert states(play)["b"] == state


def test_what_completes_while_the_run_is_being_cancelled_starts_nothing_and_is_told_as_it_was() -> None:
    graph = {"nodes": {name: step() for name in "ab"}, "edges": [edge("a", "b")]}
    machine = machine_of(graph)
    machine.start(1)
    machine.cancel("stop", 2)
    commands = machine.succeeded("a", changes(x=1), 3)
    assert [each.address for each in commands if isinstance(each, RunNode)] == ["undo a"]
    assert [run.status.value for run in machine.state.root.nodes.values()] == ["succeeded", "cancelled"]


# operators and steps


def test_a_step_that_may_have_happened_stays_known_when_its_retry_fails_for_good() -> None:
    play = Play(machine_of(chain("a", "b", b=step(on_failure="pause"))), {"b": timeout()}).start()
    play.answer("a")
    play.answer("b")
    play.script = {"b": failure()}
    play.take(play.machine.retry("b", None, 50))
    play.answer("b")
    play.take(play.machine.give_up("b", 60))
    play.finish()
    assert undone(play) == ["b", "a"]


@pytest.mark.parametrize(("outcome", "expected"), [(failure(), ["a"]), (timeout(), ["b", "a"])])
def test_a_paused_step_that_an_operator_skips_is_undone_if_it_may_have_happened(
    outcome: Failure, expected: list[str]
) -> None:
    play = Play(machine_of(chain("a", "b", b=step(on_failure="pause"))), {"b": outcome, "boom": failure()}).start()
    play.answer("a")
    play.answer("b")
    play.take(play.machine.skip("b", changes(by_hand=1), 50))
    play.finish()
    assert undone(play) == expected


# bodies

PACK = {"nodes": {"p": step(), "q": step()}, "edges": [edge("p", "q")]}


def foreach(**fields: Any) -> dict[str, Any]:
    return {"type": "foreach", "items": "[5, 6]", "max_concurrency": 1, "body": PACK, **fields}


def test_items_of_a_foreach_are_undone_each_on_its_own_context() -> None:
    play = Play(machine_of(chain("a", "each", each=foreach())), {"boom": failure()})
    for index, item in enumerate((5, 6)):
        play.script = {**play.script, f"each[{index}]/p": {"weight": item}}
    seen: dict[str, Any] = {}

    def note(command: RunNode) -> dict[str, Any]:
        seen[command.address] = (command.roots["item"], command.line.data)
        return {}

    play.script = {**play.script, "undo each[0]/p": note, "undo each[1]/p": note}
    play.run()
    assert undone(play) == ["each[1]/q", "each[1]/p", "each[0]/q", "each[0]/p", "a"]
    assert seen == {"undo each[0]/p": (5, {"weight": 5}), "undo each[1]/p": (6, {"weight": 6})}


def test_in_parallel_items_are_undone_at_the_same_time_and_each_backwards() -> None:
    graph = chain("a", "each", "z", each=foreach(max_concurrency=2), saga={"compensation": "parallel"})
    play = Play(machine_of(graph), {"boom": failure()}).start()
    while "undo z" not in play.pending:
        play.answer(next(iter(play.pending)))
    assert list(play.pending) == ["undo z"]
    play.answer("undo z")
    assert set(play.pending) == {"undo each[1]/q", "undo each[0]/q"}
    play.answer("undo each[0]/q")
    assert set(play.pending) == {"undo each[1]/q", "undo each[0]/p"}
    play.finish()
    assert undone(play)[-1] == "a"


@pytest.mark.parametrize("compensation", ["sequential", "parallel"])
def test_turns_of_a_while_are_undone_backwards(compensation: str) -> None:
    loop = {"type": "while", "while": "index < 3", "body": {"nodes": {"t": step()}}}
    play = failed_run(chain("a", "loop", loop=loop, saga={"compensation": compensation}))
    assert undone(play) == ["loop[2]/t", "loop[1]/t", "loop[0]/t", "a"]


def test_steps_of_an_inline_graph_are_undone() -> None:
    play = failed_run(chain("a", "sub", "z", sub={"type": "graph", "graph": "pack"}), pack={"name": "pack", **PACK})
    assert undone(play) == ["z", "sub/q", "sub/p", "a"]


def test_a_composite_s_own_compensation_replaces_those_of_its_body() -> None:
    play = failed_run(chain("a", "each", each=foreach(compensate=python())))
    assert undone(play) == ["each", "a"]


def test_where_a_body_fails_what_it_had_done_is_undone_step_by_step() -> None:
    play = failed_run(chain("a", "each", each=foreach(compensate=python())), {"each[1]/p": failure()})
    assert undone(play) == ["each[0]/q", "each[0]/p", "a"]


@pytest.mark.parametrize("outcome", [timeout(), failure()], ids=["timeout", "failure"])
def test_an_effect_inside_that_has_no_compensation_of_its_own_falls_to_the_composite(outcome: Failure) -> None:
    body = {"nodes": {"p": step(), "q": python()}, "edges": [edge("p", "q")]}
    graph = chain("a", "each", each=foreach(body=body, compensate=python()))
    assert undone(failed_run(graph, {"each[1]/p": outcome})) == ["each", "a"]


SELECT = {"type": "db", "connection": "DB", "query": "select 1"}
WITHOUT_EFFECT = {
    "a select": SELECT,
    "an http GET": {"type": "http", "url": "https://shop.example"},
    "a model": {"type": "ai", "model": "openai:gpt-4", "prompt": "?"},
    "code that says so": python(effect=False),
}
WITH_EFFECT = {
    "an update": {**SELECT, "query": "update t set a = 1"},
    "SQL that nobody understands": {**SELECT, "query": "selec 1"},
    "a select that says so": {**SELECT, "effect": True},
    "an http POST": {"type": "http", "url": "https://shop.example", "method": "POST"},
}


def beside_a_step(node: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """A loop with a compensation of its own, whose turns run a step, then a node without one, then a node to break."""
    body = {"nodes": {"p": step(), "q": dict(node), "r": python()}, "edges": [edge("p", "q"), edge("q", "r")]}
    return chain("a", "each", each=foreach(items="[5]", body=body, compensate=python(), **fields))


@pytest.mark.parametrize("node", WITHOUT_EFFECT.values(), ids=WITHOUT_EFFECT.keys())
def test_what_only_looks_inside_a_body_leaves_its_steps_to_their_own_compensations(node: dict[str, Any]) -> None:
    assert undone(failed_run(beside_a_step(node), {"each[0]/r": failure()})) == ["each[0]/p", "a"]


@pytest.mark.parametrize("node", WITH_EFFECT.values(), ids=WITH_EFFECT.keys())
def test_what_acts_inside_a_body_without_a_compensation_is_undone_by_the_node_around_it(node: dict[str, Any]) -> None:
    assert undone(failed_run(beside_a_step(node), {"each[0]/r": failure()})) == ["each", "a"]


def test_what_a_loop_says_of_effects_holds_for_all_nodes_inside() -> None:
    assert undone(failed_run(beside_a_step(python(), effect=False), {"each[0]/r": failure()})) == ["each[0]/p", "a"]
    assert undone(failed_run(beside_a_step(SELECT, effect=True), {"each[0]/r": failure()})) == ["each", "a"]


def test_what_a_node_says_of_the_effects_of_an_inline_graph_holds_for_all_nodes_inside() -> None:
    library = {"pack": {"name": "pack", "nodes": {"q": python()}}}
    for effect, left in ((None, True), (False, False)):
        graph = chain("sub", sub={"type": "graph", "graph": "pack", "effect": effect})
        play = failed_run(graph, **library)
        assert play.state.saga.effects_left is left


@pytest.mark.parametrize("outcome", [timeout(), None], ids=["timeout", "success"])
def test_a_run_whose_nodes_only_looked_leaves_no_effects_behind(outcome: Failure | None) -> None:
    for nodes, left in ((WITHOUT_EFFECT, False), (WITH_EFFECT, True)):
        for node in nodes.values():
            script = {} if outcome is None else {"look": outcome}
            play = Play(machine_of(chain("look", look=node, boom=SELECT)), {"boom": failure(), **script})
            finish = play.run()
            assert (finish.failure is not None, finish.effects_left) == (True, left)


def test_a_composite_inside_which_nothing_happened_is_not_undone() -> None:
    body = {"nodes": {"r": {"type": "rule", "rules": [{"then": {"x": 1}}]}, "p": python()}, "edges": [edge("r", "p")]}
    graph = chain("a", "each", each=foreach(body=body, compensate=python()))
    assert undone(failed_run(graph, {"each[0]/p": failure()})) == ["a"]


def test_a_composite_that_the_run_s_failure_cuts_off_is_undone_where_something_happened_inside() -> None:
    graph = {
        "nodes": {"each": foreach(body={"nodes": {"p": python()}}, compensate=python()), "boom": python()},
    }
    play = Play(machine_of(graph), {"boom": failure()}).start()
    play.answer("each[0]/p")
    play.answer("boom")
    play.finish()
    assert (play.cancelled, undone(play)) == (["each[1]/p"], ["each"])


def test_a_body_s_failure_that_an_edge_handles_is_undone_when_the_run_fails_later() -> None:
    graph = chain("a", "each", "boom", last="end", each=foreach(), boom=python())
    graph["edges"][1] = edge("each", "boom", outcome="failure")
    assert undone(failed_run(graph, {"each[1]/q": failure()})) == ["each[1]/p", "each[0]/q", "each[0]/p", "a"]
