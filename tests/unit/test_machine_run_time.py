"""`timeout` of a graph: what becomes of a run whose time is up, and what counts into that time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from anabranch.errors import OptionInvalid
from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.load import load_text, written_out
from anabranch.graph.model import Graph
from anabranch.workflows.interpreter.commands import DEADLINE, Finish, StartTimer
from anabranch.workflows.interpreter.run_time import TIMED_OUT
from tests.unit.machine_kit import Play, edge, failure, machine_of, python
from tests.unit.test_finally import codes
from tests.unit.test_machine_blocks import carried, deadline
from tests.unit.test_machine_finally import outcome_of

UNDONE = python(compensate=python(output={"undone": "true"}))
TWO = {"nodes": {"a": UNDONE, "b": python()}, "edges": [edge("a", "b")]}
TELL = {"nodes": {"tell": python()}}


def played(*, timeout: Any = "90s", data: dict[str, Any] | None = None, **fields: Any) -> Play:
    return Play(machine_of({**TWO, "timeout": timeout, **fields}, data or {})).start()


def timer(play: Play) -> StartTimer:
    command = play.pending[deadline(play)]
    assert isinstance(command, StartTimer)
    return command


def ended(play: Play) -> Finish:
    finish = play.finish()
    assert finish.failure is not None
    return finish


def test_a_run_whose_time_is_up_is_cancelled_undone_and_has_failed() -> None:
    play = played()
    assert (timer(play).seconds, deadline(play).startswith(f"{DEADLINE}the run since 1970-")) == (90, True)
    play.answer("a")
    play.answer(deadline(play))
    assert play.cancelled == ["b"]
    finish = ended(play)
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.outcome, finish.failure.node) == (TIMED_OUT, "timeout", "")
    assert finish.failure.message == "the run did not end within its `timeout` of 90 s"
    assert (finish.status, finish.compensated) == ("failed", ("a",))


def test_a_run_that_ends_in_time_is_as_one_without() -> None:
    play = played()
    play.answer("a")
    play.answer("b")
    assert play.state.finished is not None
    assert (play.state.finished.status, play.ran) == ("completed", [deadline(play), "a", "b"])


def test_a_graph_without_it_has_no_timer() -> None:
    play = played(timeout=None)
    assert (list(play.pending), play.state.until, play.state.timers) == (["a"], None, {})


def test_undoing_does_not_count_and_is_not_ended() -> None:
    play = Play(machine_of({**TWO, "timeout": "90s"}), {"b": failure()}).start()
    play.answer("a")
    play.answer("b")
    assert [each for each in play.cancelled if each.startswith(DEADLINE)] != []
    assert list(play.pending) == ["undo a"]
    finish = ended(play)
    assert finish.failure is not None
    assert (finish.failure.code, finish.compensated) == ("NODE_FAILED", ("a",))


@pytest.mark.parametrize("is_late", [True, False])
def test_its_finally_runs_with_a_time_of_its_own(is_late: bool) -> None:
    last: dict[str, Any] = {"finally": {**TELL, "timeout": "5m"}}
    play = played(**last)
    play.answer("a")
    play.answer(deadline(play) if is_late else "b")
    if is_late:
        play.answer("undo a")
    (of_finally,) = [each for each in play.pending if each.startswith(DEADLINE)]
    assert of_finally.startswith(f"{DEADLINE}finally since")
    error = outcome_of(play)["error"]
    assert (error and error["code"], "finally/tell" in play.pending) == (TIMED_OUT if is_late else None, True)
    play.answer("finally/tell")
    assert play.state.finished is not None
    assert play.state.finished.status == ("failed" if is_late else "completed")


def test_the_next_workflow_run_has_the_rest_of_it() -> None:
    nap: dict[str, Any] = {"nodes": {"nap": {"type": "wait", "for": "1h"}}, "edges": []}
    play = played(timeout="{{ run.time < '1970-01-01T00:01:00Z' ? 90 : 9999 }}", **nap)
    assert timer(play).seconds == 90
    play.now += 60_000
    again = carried(play)
    assert timer(again).seconds == 30
    again.now += 40_000
    late = carried(again)
    assert timer(late).seconds == 0
    late.answer(deadline(late))
    finish = ended(late)
    assert finish.failure is not None
    assert finish.failure.code == TIMED_OUT


def test_a_template_of_it_sees_the_input_with_its_defaults() -> None:
    inputs = {"minutes": {"type": "integer", "default": 5}}
    assert timer(played(timeout="{{ minutes }}m", inputs=inputs)).seconds == 300
    assert timer(played(timeout="{{ minutes }}m", inputs=inputs, data={"minutes": 2})).seconds == 120


def test_what_its_template_reads_the_run_must_be_started_with() -> None:
    graph = Graph.model_validate({"name": "g", **TWO, "timeout": "{{ minutes }}m"})
    assert graph_inputs(graph)["minutes"] == ("timeout",)


@pytest.mark.parametrize("value", ["soon", "0s", "{{ 1 }} fortnight"])
def test_a_template_that_yields_no_time_refuses_the_run(value: str) -> None:
    play = Play(machine_of({**TWO, "timeout": "{{ limit }}"}, {"limit": value}))
    with pytest.raises(OptionInvalid, match="the graph: `timeout` is not a duration above zero"):
        play.start()
    assert play.state.trail.count == 0


def test_a_failure_at_the_same_time_is_the_one_that_counts() -> None:
    play = Play(machine_of({**TWO, "timeout": "90s"}), {"b": failure()}).start()
    play.answer("a")
    late = deadline(play)
    play.answer("b")
    play.take(play.machine.succeeded(late, None, 2))
    finish = ended(play)
    assert finish.failure is not None
    assert finish.failure.code == "NODE_FAILED"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0s", "2:10 DURATION_NOT_POSITIVE"),
        ('"{{ 1 + }}"', "2:17 EXPRESSION_INVALID"),
        ("soon", "2:10 VALUE_INVALID"),
    ],
)
def test_validate_finds_what_is_wrong_with_it_in_its_place(text: str, found: str) -> None:
    assert codes(f"name: g\ntimeout: {text}\nnodes:\n  a: {{type: stop}}\n") == [found]


def test_what_a_run_is_held_to_has_it() -> None:
    loaded = load_text("name: g\ntimeout: 90s\nnodes:\n  a: {type: stop}\n")
    assert Graph.model_validate_json(written_out(loaded.graph)).timeout == timedelta(seconds=90)
