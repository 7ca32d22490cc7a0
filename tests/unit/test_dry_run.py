"""The loop that drives a machine without a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from anabranch.context.values import Json
from anabranch.errors import InputError, SizeLimitExceeded
from anabranch.graph.model import Graph
from anabranch.graph.plan import plan_graph
from anabranch.workflows.interpreter.commands import AskConflict, Failure, RunNode, StartTimer
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.simulation import Answer, AnswerOf, Chosen, Done, DryRun, Failed, Work, drive
from anabranch.workflows.interpreter.state import RunState

RUN: dict[str, Json] = {"id": "r", "session_id": "s", "graph": "g", "attempt": 1}
NODE = {"type": "python", "handler": "h", "reads": []}
START = 1_000_000


def driven(nodes: Mapping[str, Any], edges: list[tuple[str, str]], answers: AnswerOf, **more: Any) -> DryRun:
    arrows = [{"from": source, "to": target} for source, target in edges]
    driving = {key: more.pop(key) for key in ("max_steps", "order", "cancel_after") if key in more}
    library = {name: Graph.model_validate(each) for name, each in more.pop("library", {}).items()}
    graph = Graph.model_validate({"name": "g", "nodes": nodes, "edges": arrows, **more})
    return drive(Machine(RunState(plan_graph(graph, library), {}, run=RUN)), answers, at=START, **driving)


def by_address(given: Mapping[str, Answer]) -> AnswerOf:
    def answer(work: Work) -> Answer:
        if isinstance(work, StartTimer):
            return Done(seconds=work.seconds)
        return given.get(work.address, Done({}))

    return answer


def reported(run: DryRun) -> list[tuple[str, float]]:
    return [(entry.work.address, (entry.ended - START) / 1000) for entry in run.timeline]


def failure(code: str = "BROKEN") -> Failed:
    return Failed(Failure("failure", code, "it broke"))


def test_what_takes_longer_ends_later_and_ties_end_in_the_order_of_their_start() -> None:
    nodes = {"slow": NODE, "quick": NODE, "also_slow": NODE}
    run = driven(nodes, [], by_address({"slow": Done({}, 5), "quick": Done({}, 1), "also_slow": Done({}, 5)}))
    assert reported(run) == [("quick", 1), ("slow", 5), ("also_slow", 5)]


def test_timers_fire_in_virtual_time() -> None:
    nodes = {"night": {"type": "wait", "for": "8h"}, "day": NODE}
    assert reported(driven(nodes, [("night", "day")], by_address({}))) == [("night", 28_800), ("day", 28_800)]


def test_a_failure_cancels_what_runs_at_once_and_then_compensates() -> None:
    undoable = {**NODE, "compensate": NODE}
    nodes = {"booked": undoable, "long": undoable, "bad": NODE}
    answers = by_address({"long": Done({}, 60), "bad": Failed(failure().failure, 2)})
    run = driven(nodes, [("booked", "long"), ("booked", "bad")], answers, saga={})
    assert reported(run) == [("booked", 0), ("bad", 2), ("long", 2), ("undo long", 2), ("undo booked", 2)]
    assert run.finish is not None
    assert run.finish.failure is not None
    assert (run.finish.failure.code, run.finish.compensated) == ("BROKEN", ("long", "booked"))


def test_an_answer_after_the_timeout_of_its_question_is_none() -> None:
    nodes = {"ask": {"type": "approval", "prompt": "?", "timeout": "10s"}}
    run = driven(nodes, [], by_address({"ask": Done({"yes": True}, 11)}))
    assert reported(run) == [("ask", 10)]
    assert run.finish is not None
    assert run.finish.failure is not None
    assert run.finish.failure.code == "NO_ANSWER"


def test_a_conflict_is_settled_by_the_answer() -> None:
    rule = {
        "left": {"type": "rule", "rules": [{"then": {"x": 1}}]},
        "right": {"type": "rule", "rules": [{"then": {"x": 2}}]},
    }
    values = {"left": {"x": 1}, "right": {"x": 2}}

    def answer(work: Work) -> Answer:
        if isinstance(work, AskConflict):
            return Chosen({work.conflicts[0].path: 12})
        assert isinstance(work, RunNode)
        return Done(_changes(values.get(work.address, {})))

    context = {"conflict_resolution": "fail_on_conflict"}
    run = driven({**rule, "join": NODE}, [("left", "join"), ("right", "join")], answer, context=context)
    assert run.finish is not None
    assert run.finish.line.data == {"x": 12}


def test_a_paused_node_ends_the_drive_without_an_end_of_the_run() -> None:
    run = driven({"a": {**NODE, "on_failure": "pause"}}, [], by_address({"a": failure()}))
    assert run.finish is None
    assert reported(run) == [("a", 0)]


def test_a_node_whose_total_timeout_is_over_has_timed_out() -> None:
    nodes = {"a": {**NODE, "total_timeout": "10s"}, "b": NODE}
    run = driven(nodes, [("a", "b")], by_address({"a": Done({}, 60)}))
    assert reported(run) == [("a", 10)]
    assert run.finish is not None
    assert run.finish.failure is not None
    assert (run.finish.failure.outcome, run.finish.failure.unknown) == ("timeout", True)


def test_work_can_be_made_to_end_in_an_order_and_each_a_millisecond_later() -> None:
    nodes = {"a": NODE, "b": NODE, "c": NODE, "free": NODE}
    run = driven(nodes, [], by_address({"a": Done({}, 5)}), order=["c", "a", "b"])
    assert reported(run) == [("c", 0.001), ("free", 0.001), ("a", 5), ("b", 5.001)]


def test_an_order_that_no_run_can_have_is_refused() -> None:
    with pytest.raises(InputError, match="'a' would have to end after 'b', which cannot start before"):
        driven({"a": NODE, "b": NODE}, [("a", "b")], by_address({}), order=["b", "a"])


def test_a_run_can_be_cancelled_as_soon_as_a_node_has_ended() -> None:
    nodes = {"a": {**NODE, "compensate": NODE}, "b": NODE}
    run = driven(nodes, [("a", "b")], by_address({"b": Done({}, 60)}), cancel_after="a")
    assert reported(run) == [("a", 0), ("b", 0), ("undo a", 0)]
    assert run.finish is not None
    assert run.finish.failure is not None
    assert run.finish.failure.outcome == "cancelled"


@pytest.mark.parametrize(
    ("inner", "compensated"),
    [
        ({"a": {**NODE, "compensate": NODE}, "b": {"type": "wait", "for": "1h"}}, ()),
        ({"a": {**NODE, "effect": False}}, ()),
        ({"a": NODE}, ("child",)),
        ({"a": {**NODE, "compensate": NODE}, "b": {**NODE, "pivot": True, "compensate": NODE}}, ("child",)),
        ({"a": {"type": "graph", "graph": "innermost", "mode": "child_workflow"}}, ("child",)),
    ],
    ids=["undoes itself", "has no effect", "has an effect without compensation", "has a pivot", "has such a child"],
)
def test_a_child_that_is_cancelled_is_undone_by_its_parent_where_it_may_leave_effects(
    inner: Mapping[str, Any], compensated: tuple[str, ...]
) -> None:
    child = {"type": "graph", "graph": "inner", "mode": "child_workflow", "compensate": NODE}
    library = {"inner": {"name": "inner", "nodes": inner}, "innermost": {"name": "innermost", "nodes": {"x": NODE}}}
    nodes = {"a": {**NODE, "compensate": NODE}, "child": child}
    run = driven(nodes, [("a", "child")], by_address({"child": Done({}, 60)}), cancel_after="a", library=library)
    assert run.finish is not None
    assert run.finish.compensated == (*compensated, "a")


def test_a_run_without_end_is_stopped_after_so_many_pieces_of_work() -> None:
    loop = {"type": "while", "while": "true", "max_iterations": 1_000_000, "body": {"nodes": {"turn": NODE}}}
    with pytest.raises(SizeLimitExceeded, match="not over after 50 pieces of work"):
        driven({"loop": loop}, [], by_address({}), max_steps=50)


def _changes(values: Mapping[str, Any]) -> Any:
    from anabranch.context.changes import ChangeSet

    return ChangeSet(base_version=0, set={(key,): value for key, value in values.items()})


def test_a_run_does_not_outlast_the_year_9999() -> None:
    loop = {"type": "while", "while": "true", "body": {"nodes": {"decade": {"type": "wait", "for": "3650d"}}}}
    with pytest.raises(SizeLimitExceeded, match=r"node 'loop\[803\]/decade': the run would last beyond the year 9999"):
        driven({"loop": loop}, [], by_address({}))
