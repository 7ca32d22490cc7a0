"""Approvals by several people, their reminders and their escalation, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from anabranch.cli.offers import asked
from anabranch.cli.people import people
from anabranch.cli.questions import Asking
from anabranch.cli.show import clock
from anabranch.context.values import Json
from anabranch.errors import InputError, OptionInvalid
from anabranch.graph.drawing.tree import tree
from anabranch.graph.model import Graph
from anabranch.graph.people import is_refusal, verdict_of
from anabranch.graph.plan import Plan, plan_graph
from anabranch.steering.waiting import approvals_of
from anabranch.testkit.given import outcomes_of
from anabranch.testkit.play import Played, Script, play
from anabranch.workflows.interpreter import views
from anabranch.workflows.interpreter.commands import (
    AskPerson,
    Assigned,
    CancelWork,
    Command,
    EventCame,
    Failure,
    RunNode,
    StartTimer,
)
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.people import notice_at
from anabranch.workflows.interpreter.snapshot import dump, load
from anabranch.workflows.interpreter.state import RunState
from tests.unit.machine_kit import RUN, edge, machine_of, python

HOUR = 3_600_000
SCHEMA: dict[str, Json] = {
    "type": "object",
    "required": ["approved"],
    "properties": {"approved": {"type": "boolean"}, "why": {"type": "string"}},
}
YES: Json = {"approved": True}
NO: Json = {"approved": False, "why": "too dear"}
TWO: dict[str, Any] = {"type": "approval", "prompt": "Pay?", "schema": SCHEMA, "answers": 2}
REMIND: dict[str, Any] = {"after": "1h", "every": "2h", "times": 3, "node": python()}
ESCALATE: dict[str, Any] = {"after": "4h", "to": {"assignee": ["boss"], "groups": ["directors"]}, "node": python()}


def asking(**fields: Any) -> dict[str, Any]:
    return {"nodes": {"ask": {**TWO, **fields}}}


def begun(graph: dict[str, Any], data: dict[str, Any] | None = None) -> tuple[Machine, list[Command]]:
    machine = machine_of(graph, data)
    return machine, machine.start(0)


def timers(commands: list[Command]) -> dict[str, float]:
    return {each.address: each.seconds for each in commands if isinstance(each, StartTimer)}


def status_of(machine: Machine) -> Any:
    return views.status(machine.state)


def came(commands: list[Command]) -> Any:
    (found,) = (each.result for each in commands if isinstance(each, EventCame))
    return found


def test_as_many_people_as_are_needed_say_yes() -> None:
    machine, _ = begun(asking())
    assert machine.answer("ask", YES, "ann", 1000) == []
    assert came(machine.answer("ask", {"why": "fine", "approved": True}, "bo", 2000)) == {
        "approved": True,
        "answers": [
            {"by": "ann", "at": "1970-01-01T00:00:01.000Z", "answer": {"approved": True}},
            {"by": "bo", "at": "1970-01-01T00:00:02.000Z", "answer": {"why": "fine", "approved": True}},
        ],
    }


def test_one_who_says_no_decides_for_all() -> None:
    machine, _ = begun(asking(answers=5))
    machine.answer("ask", YES, "ann", 1000)
    result = came(machine.answer("ask", NO, "bo", 2000))
    assert result["approved"] is False
    assert [each["by"] for each in result["answers"]] == ["ann", "bo"]


def test_answers_that_say_neither_yes_nor_no_are_collected() -> None:
    machine, _ = begun(asking(schema={"type": "object", "properties": {"price": {"type": "number"}}}))
    machine.answer("ask", {"price": 3}, "ann", 0)
    result = came(machine.answer("ask", {"price": 4}, "bo", 0))
    assert [*result] == ["answers"]


def test_nobody_is_heard_once_the_question_is_answered() -> None:
    machine, _ = begun(asking())
    machine.answer("ask", NO, "ann", 0)
    with pytest.raises(InputError, match="no approval 'ask' waits"):
        machine.answer("ask", YES, "bo", 0)


def test_what_people_see_of_a_question_to_several() -> None:
    graph = asking(assignee=["ann", "{{ chief }}"], groups="{{ teams }}", timeout="8h", remind=REMIND)
    machine, _ = begun(graph, {"chief": "bo", "teams": ["finance", "legal"]})
    machine.answer("ask", YES, "ann", 1000)
    (told,) = status_of(machine)["approvals"].values()
    assert {name: told[name] for name in ("assignee", "groups", "answers", "reminders", "deadline")} == {
        "assignee": ["ann", "bo"],
        "groups": ["finance", "legal"],
        "answers": {"needed": 2, "given": [{"by": "ann", "at": 1000, "answer": {"approved": True}}]},
        "reminders": {"sent": 0, "times": 3, "next": HOUR},
        "deadline": 8 * HOUR,
    }
    assert [line for line in views.details(machine.state).splitlines() if line.startswith("- ")][1:5] == [
        "- for `ann`, `bo`",
        "- for the groups `finance`, `legal`",
        "- 1 of 2 have answered, `ann`",
        "- 0 of 3 reminders were sent, the next one at 1970-01-01T01:00:00.000Z",
    ]


def test_a_name_that_is_none_fails_the_node() -> None:
    machine, _ = begun(asking(assignee="{{ chief }}"), {"chief": 7})
    assert machine.state.failure is not None
    assert (machine.state.failure.code, machine.state.failure.node) == (OptionInvalid.code, "ask")


def test_reminders_come_at_their_times_and_stop_at_their_number() -> None:
    machine, commands = begun(asking(remind=REMIND))
    seen = []
    for at in (HOUR, 3 * HOUR, 5 * HOUR):
        ((timer, seconds),) = timers(commands).items()
        seen.append((timer.partition(" since ")[0], seconds))
        commands = machine.succeeded(timer, None, at)
        (told,) = (each for each in commands if isinstance(each, RunNode))
        assert (told.is_beside, told.planned.node.type) == (True, "python")
        assert machine.succeeded(told.address, None, at) == []
    assert seen == [("reminder 1 of ask", 3600), ("reminder 2 of ask", 7200), ("reminder 3 of ask", 7200)]
    assert timers(commands) == {}


def test_a_reminder_sees_the_question() -> None:
    machine, commands = begun(asking(remind=REMIND, assignee="ann", timeout="8h"))
    machine.answer("ask", YES, "cy", 1000)
    commands = machine.succeeded(next(iter(timers(commands))), None, HOUR)
    (told,) = (each for each in commands if isinstance(each, RunNode))
    assert told.roots["question"] == {
        "node": "ask",
        "prompt": "Pay?",
        "assignee": ["ann"],
        "groups": [],
        "asked": "1970-01-01T00:00:00.000Z",
        "deadline": "1970-01-01T08:00:00.000Z",
        "reminder": 1,
        "escalated": False,
        "answers": [{"by": "cy", "at": "1970-01-01T00:00:01.000Z", "answer": {"approved": True}}],
        "needed": 2,
        "link": None,
        "command": """anabranch answer order-1 ask --input '{"approved": true, "why": "…"}'""",
    }
    assert told.key == "run-1/ask/reminder 1 since 0"


def test_an_answer_cancels_the_reminders() -> None:
    machine, commands = begun(asking(answers=1, remind=REMIND, escalate=ESCALATE))
    waiting = timers(commands)
    assert [*waiting.values()] == [3600, 4 * 3600]
    commands = machine.succeeded("ask", YES, 1000)
    assert {each.address for each in commands if isinstance(each, CancelWork)} == {*waiting}
    late = Failure("cancelled", "CANCELLED", "")
    assert [machine.failed(timer, late, 1000) for timer in waiting] == [[], []]


def test_a_reminder_that_fails_is_a_warning_and_counts_as_none_that_was_sent() -> None:
    graph = asking(remind=REMIND)
    machine, commands = begun(graph)
    machine.succeeded(next(iter(timers(commands))), None, HOUR)
    assert machine.failed("reminder 1 of ask", Failure("failure", "NODE_FAILED", "no mail"), HOUR) == []
    assert machine.state.trail.warnings == [("ask", "reminder 1 of ask was not sent: NODE_FAILED: no mail")]
    assert machine.state.failure is None

    again = Machine(RunState(plan_graph(Graph.model_validate({"name": "g", **graph})), {}, run=RUN))
    load(again.state, dump(machine.state))
    again.resume_from_snapshot(HOUR)
    for each in (machine, again):
        (told,) = status_of(each)["approvals"].values()
        assert told["reminders"] == {"sent": 0, "times": 3, "failed": 1, "next": 3 * HOUR}
        assert "- 0 of 3 reminders were sent, 1 failed, the next one at" in views.details(each.state)


def test_an_escalation_hands_the_question_to_others_and_leaves_its_deadline() -> None:
    machine, commands = begun(asking(assignee="ann", timeout="8h", escalate=ESCALATE))
    before = machine.state.questions["ask"].deadline
    commands = machine.succeeded(next(iter(timers(commands))), None, 4 * HOUR)
    assert [each.address for each in commands if isinstance(each, RunNode)] == ["escalation of ask"]
    question = machine.state.questions["ask"]
    assert isinstance(question.command, AskPerson)
    assert (question.command.assigned, question.deadline) == (Assigned(("boss",), ("directors",)), before)


def test_what_is_due_while_the_run_is_paused_is_told_when_it_goes_on() -> None:
    machine, commands = begun(asking(remind=REMIND))
    machine.state.is_paused = True
    for at in (HOUR, 3 * HOUR):
        commands = machine.succeeded(next(iter(timers(commands))), None, at)
        assert not [each for each in commands if isinstance(each, RunNode)]
    machine.state.is_paused = False
    assert [each.address for each in machine.resume(4 * HOUR) if isinstance(each, RunNode)] == ["reminder 2 of ask"]


def test_a_reminder_waits_for_the_one_before_it() -> None:
    machine, commands = begun(asking(remind=REMIND))
    first = machine.succeeded(next(iter(timers(commands))), None, HOUR)
    second = machine.succeeded(next(iter(timers(first))), None, 3 * HOUR)
    assert [each.address for each in (*first, *second) if isinstance(each, RunNode)] == [
        "reminder 1 of ask",
        "reminder 2 of ask",
    ]
    assert machine.state.under_way


def test_a_run_that_continues_as_new_keeps_answers_and_times() -> None:
    graph = {"name": "g", **asking(assignee="ann", remind=REMIND, escalate=ESCALATE, timeout="8h")}
    plan = plan_graph(Graph.model_validate(graph))
    machine, commands = begun(asking(assignee="ann", remind=REMIND, escalate=ESCALATE, timeout="8h"))
    machine.answer("ask", YES, "ann", 1000)
    first = machine.succeeded(next(iter(timers(commands))), None, HOUR)
    machine.succeeded("reminder 1 of ask", None, HOUR)
    machine.state.is_draining = True
    machine.succeeded(next(iter(timers(first))), None, 3 * HOUR)
    again = Machine(RunState(plan, {}, run=RUN))
    load(again.state, dump(machine.state))
    commands = again.resume_from_snapshot(3 * HOUR)
    assert timers(commands) == {
        "reminder 3 of ask since 1970-01-01T03:00:00.000Z": 2 * 3600,
        "escalation of ask since 1970-01-01T03:00:00.000Z": 3600,
    }
    assert [each.address for each in commands if isinstance(each, RunNode)] == ["reminder 2 of ask"]
    again.succeeded("escalation of ask since 1970-01-01T03:00:00.000Z", None, 4 * HOUR)
    last = Machine(RunState(plan, {}, run=RUN))
    again.succeeded("reminder 2 of ask", None, 4 * HOUR)
    load(last.state, dump(again.state))
    last.resume_from_snapshot(5 * HOUR)
    question = last.state.questions["ask"].command
    assert isinstance(question, AskPerson)
    assert question.assigned == Assigned(("boss",), ("directors",))
    result = came(last.answer("ask", YES, "bo", 5 * HOUR))
    assert [each["by"] for each in result["answers"]] == ["ann", "bo"]


def test_a_cancelled_run_ends_its_reminders() -> None:
    machine, commands = begun(asking(remind=REMIND))
    (timer,) = timers(commands)
    assert CancelWork("ask") in machine.cancel("enough", 1000)
    commands = machine.failed("ask", Failure("cancelled", "CANCELLED", "enough"), 1000)
    assert CancelWork(timer) in commands
    assert machine.state.finished is not None


@pytest.mark.parametrize(
    ("schema", "where"),
    [
        (None, None),
        ({"type": "boolean"}, ()),
        (SCHEMA, ("approved",)),
        ({"properties": {"a": {"type": "boolean"}, "b": {"type": "boolean"}}}, None),
        ({"properties": {"a": {"type": "boolean"}, "b": {"type": "boolean"}}, "required": ["b"]}, ("b",)),
        ({"properties": [1]}, None),
    ],
)
def test_the_verdict_is_the_one_boolean_of_the_schema(schema: Any, where: tuple[str, ...] | None) -> None:
    assert verdict_of(schema) == where


def test_only_a_plain_no_is_a_refusal() -> None:
    assert is_refusal({"type": "boolean"}, False)
    assert not is_refusal(SCHEMA, {"approved": None})
    assert not is_refusal(None, False)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("reminder 12 of a[3]/ask", ("remind", "a[3]/ask")),
        ("reminder of ask", ("remind", "ask")),
        ("escalation of ask since 1970-01-01T00:00:00.000Z", ("escalate", "ask")),
        ("ask", None),
        ("undo ask", None),
        ("timeout of ask since 1970-01-01T00:00:00.000Z", None),
        ("reminder x of ask", None),
    ],
)
def test_the_address_of_a_notice_names_its_approval(address: str, found: Any) -> None:
    assert notice_at(address) == found


def played(graph: dict[str, Any], **outcomes: Any) -> Played:
    plan: Plan = plan_graph(Graph.model_validate({"name": "g", **graph}))
    return play(plan, Script({}, outcomes_of(outcomes, plan, "the test")), lambda _: pytest.fail("no rule"))


def test_reminders_are_played_in_virtual_time() -> None:
    said = [{"by": "ann", "answer": YES, "after": "2h"}, {"by": "bo", "answer": YES, "after": "4h"}]
    found = played(asking(remind=REMIND, escalate=ESCALATE), ask={"answers": said})
    assert found.notices == ["reminder 1 of ask", "reminder 2 of ask"]
    assert found.data["approved"] is True


def test_too_few_answers_time_out() -> None:
    graph = asking(timeout="8h", escalate=ESCALATE)
    found = played(graph, ask={"answers": [{"by": "ann", "answer": YES}]})
    assert found.failure is not None
    assert (found.failure.code, found.notices) == ("NO_ANSWER", ["escalation of ask"])


def test_one_answer_for_all_is_that_of_those_who_are_asked() -> None:
    found = played(asking(assignee=["ann"]), ask={"answer": YES})
    answers: Any = found.data["answers"]
    assert [each["by"] for each in answers] == ["ann", "person 1"]


def test_approvals_in_a_loop_keep_their_own_reminders() -> None:
    each = {"type": "foreach", "items": "[1, 2]", "max_concurrency": 2, "body": asking(answers=1, remind=REMIND)}
    graph = {"nodes": {"each": each, "end": python()}, "edges": [edge("each", "end")]}
    answers = {"each[0]/ask": {"answer": YES, "after": "90m"}, "each[1]/ask": {"answer": YES, "after": "4h"}}
    found = played(graph, **answers, end={"set": {}})
    assert found.notices == ["reminder 1 of each[0]/ask", "reminder 1 of each[1]/ask", "reminder 2 of each[1]/ask"]


def test_terminals_show_whom_a_question_is_for_and_who_has_answered() -> None:
    machine, _ = begun(asking(assignee="ann", groups="finance", remind=REMIND, escalate=ESCALATE))
    machine.answer("ask", YES, "cy", 1000)
    status = status_of(machine)
    (approval,) = approvals_of(status["approvals"])
    lines = [
        "for ann",
        "for the group finance",
        "1 of 2 have answered: cy",
        "0 of 3 reminders were sent, the next one at 1970-01-01 01:00:00.000Z",
        "escalates at 1970-01-01 04:00:00.000Z",
    ]
    assert [*people(approval, clock)] == lines
    assert [str(each) for each in asked("order-1", approval)][2:7] == lines
    assert str(Asking().lines(status)[1]).startswith(f"  {'; '.join(lines[:3])}; 0 of 3 reminders were sent")


def test_what_a_graph_asks_is_told_in_its_drawing_and_by_why() -> None:
    graph = Graph.model_validate({"name": "g", **asking(assignee=["ann"], groups="finance", escalate=ESCALATE)})
    assert [line.strip() for line in tree(graph, details=True).splitlines()[2:]] == [
        "Pay? (2 answers)",
        "asks ann, finance",
        "told of the escalation by python: h",
        "escalates to boss, directors",
    ]


def test_a_plain_question_keeps_the_time_when_it_was_asked_over_a_continue_as_new() -> None:
    ask = {"type": "approval", "prompt": "Go on?", "timeout": "5h"}
    first = machine_of({"nodes": {"ask": ask, "wait": {"type": "receive", "event": "paid"}}})
    first.start(HOUR)
    asked: list[tuple[int, int | None]] = []
    for hour in (2, 3):
        again = machine_of({"nodes": {"ask": ask, "wait": {"type": "receive", "event": "paid"}}})
        load(again.state, dump(first.state))
        again.resume_from_snapshot(hour * HOUR)
        asked += [(each.asked, each.deadline) for _, each in sorted(again.state.questions.items())]
        first = again
    assert asked == [(HOUR, 6 * HOUR), (HOUR, None)] * 2
