"""`ai` nodes with tools: questions and calls are turns, what tools write is told to the model and to nobody else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from anabranch.context.changes import ChangeSet, Usage
from anabranch.graph.kinds.tools import TALK
from anabranch.graph.model import Graph
from anabranch.graph.plan import plan_graph
from anabranch.limits import TALK_BYTES, TOOL_RESULT_BYTES
from anabranch.workflows.interpreter import snapshot, views
from anabranch.workflows.interpreter.commands import Failure, RunNode
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.state import RunState
from tests.unit.machine_kit import RUN, Play, edge, failure, machine_of, python, timeout

LOOKUP = {
    "description": "Finds a customer.",
    "inputs": {"email": {"type": "string"}},
    "node": {"type": "http", "url": "https://crm.example/{{ args.email }}"},
}
SCHEMA = {"type": "object", "properties": {"verdict": {"type": "string"}}}


def judge(**fields: Any) -> dict[str, Any]:
    node = {"type": "ai", "model": "openai:gpt-4", "prompt": "{{ who }}?", "output_schema": SCHEMA, **fields}
    return {"tools": {"lookup": LOOKUP}, **node}


def calling(*calls: tuple[str, str, dict[str, Any]], **more: Any) -> dict[str, Any]:
    """What the activity of a question gives back where the model calls tools."""
    said = {"calls": [list(each) for each in calls], "refused": [], "messages": ["…"], "spent": [], "model": 0}
    return {TALK: {**said, **more}}


def looking(*emails: str) -> dict[str, Any]:
    return calling(*((f"c{index}", "lookup", {"email": each}) for index, each in enumerate(emails)))


def play(script: dict[str, Any], graph: dict[str, Any] | None = None, **library: Any) -> Play:
    machine = machine_of(graph or {"nodes": {"judge": judge()}}, {"who": "Ann"}, **library)
    return Play(machine, script)


def asked(playing: Play, address: str) -> Any:
    """What the question at an address is told."""
    command = playing.pending[address]
    assert isinstance(command, RunNode)
    return command.roots[TALK]


def test_each_question_and_each_call_is_a_node_of_its_own_and_the_answer_alone_enters_the_context() -> None:
    script = {
        "judge[0]/judge": looking("a@b.c"),
        "judge[1]/lookup": {"lookup": {"name": "Ann"}},
        "judge[2]/judge": {"verdict": "fine"},
    }
    playing = play(script)
    finish = playing.run()
    assert playing.ran == ["judge[0]/judge", "judge[1]/lookup", "judge[2]/judge"]
    assert finish.data == {"who": "Ann", "verdict": "fine"}
    trail = [(each.by, each.changes.set) for each in playing.state.trail.versions[1:]]
    assert trail == [
        ("judge[0]/judge", {("calls",): [{"tool": "lookup", "args": {"email": "a@b.c"}}]}),
        ("judge[1]/lookup", {("lookup",): {"name": "Ann"}}),
        ("judge[2]/judge", {("verdict",): "fine"}),
        ("judge", {("verdict",): "fine"}),
    ]


def test_calls_of_one_question_run_beside_each_other_and_the_model_is_asked_when_all_have_ended() -> None:
    playing = play({"judge[0]/judge": looking("a", "b"), "judge[1]/lookup": {"lookup": 1}, "judge[2]/lookup": {"x": 2}})
    playing.start().answer("judge[0]/judge")
    assert list(playing.pending) == ["judge[1]/lookup", "judge[2]/lookup"]
    playing.answer("judge[2]/lookup")
    assert list(playing.pending) == ["judge[1]/lookup"]
    playing.answer("judge[1]/lookup")
    told = asked(playing, "judge[3]/judge")
    assert told["results"] == {"c0": {"value": 1}, "c1": {"value": {"x": 2}}}
    assert told["said"]["messages"] == ["…"]


def test_a_model_is_told_what_a_tool_writes_even_where_the_context_has_it_already() -> None:
    playing = play({"judge[0]/judge": looking("a"), "judge[1]/lookup": {"who": "Ann"}})
    playing.start()
    playing.answer("judge[0]/judge")
    playing.answer("judge[1]/lookup")
    assert asked(playing, "judge[2]/judge")["results"] == {"c0": {"value": {"who": "Ann"}}}
    assert playing.state.trail.versions[-1].changes.set == {("who",): "Ann"}


def test_a_tool_s_node_sees_the_arguments_and_the_context_of_the_ai_node() -> None:
    playing = play({"judge[0]/judge": looking("a@b.c")})
    playing.start().answer("judge[0]/judge")
    command = playing.pending["judge[1]/lookup"]
    assert isinstance(command, RunNode)
    assert command.roots["args"] == {"email": "a@b.c"}
    assert command.key == "run-1/judge[1]/lookup"
    assert command.line.data == {"who": "Ann"}
    assert command.planned.reads == ()


@pytest.mark.parametrize("failed", [failure("NO_SUCH_USER"), timeout()])
def test_a_tool_that_fails_is_told_to_the_model_with_its_code_and_the_trail_has_a_warning(failed: Failure) -> None:
    script = {
        "judge[0]/judge": looking("a"),
        "judge[1]/lookup": failed,
        "judge[2]/judge": {"verdict": "unknown"},
    }
    playing = play(script)
    playing.start()
    playing.answer("judge[0]/judge")
    playing.answer("judge[1]/lookup")
    assert asked(playing, "judge[2]/judge")["results"] == {"c0": {"error": f"{failed.code}: {failed.message}"}}
    finish = playing.finish()
    assert finish.failure is None
    assert finish.data["verdict"] == "unknown"
    warned = views.result(playing.state, finish, "s")["warnings"]
    said = f"the tool 'lookup' failed ({failed.code}), and the model was told"
    assert warned == [{"by": "judge", "warning": said}]


def test_with_on_error_fail_the_node_fails_as_the_tool_did_and_its_other_calls_are_cancelled() -> None:
    strict = judge(tools={"lookup": {**LOOKUP, "on_error": "fail"}})
    graph = {"nodes": {"judge": strict, "late": python()}, "edges": [edge("judge", "late", outcome="failure")]}
    playing = play({"judge[0]/judge": looking("a", "b"), "judge[1]/lookup": failure("DOWN")}, graph)
    playing.start()
    playing.answer("judge[0]/judge")
    playing.answer("judge[1]/lookup")
    assert playing.cancelled == ["judge[2]/lookup"]
    finish = playing.finish()
    assert finish.failure is None
    assert playing.ran[-1] == "late"
    run = playing.state.root.nodes["judge"]
    assert run.failure is not None
    assert (run.failure.code, run.failure.node) == ("DOWN", "judge[1]/lookup")


def test_a_question_that_fails_fails_the_node() -> None:
    finish = play({"judge[0]/judge": failure("BUDGET_SPENT")}).run()
    assert finish.failure is not None
    assert (finish.failure.code, finish.failure.node) == ("BUDGET_SPENT", "judge[0]/judge")


def test_a_model_that_calls_again_after_the_last_question_fails_the_node() -> None:
    script = {f"judge[{turn}]/judge": looking("a") for turn in range(0, 10, 2)}
    playing = play(script, {"nodes": {"judge": judge(max_turns=3)}})
    finish = playing.run()
    assert finish.failure is not None
    assert finish.failure.code == "TURNS_SPENT"
    assert "max_turns = 3" in finish.failure.message
    assert playing.ran == [
        *("judge[0]/judge", "judge[1]/lookup", "judge[2]/judge"),
        *("judge[3]/lookup", "judge[4]/judge", "judge[5]/lookup"),
    ]


def test_a_call_that_was_refused_starts_nothing_and_is_in_the_trail() -> None:
    refused = {"id": "c0", "tool": "lookup", "refused": "$.email: 7 is not of type 'string'"}
    playing = play({"judge[0]/judge": calling(refused=[refused]), "judge[1]/judge": {"verdict": "x"}})
    assert playing.run().data["verdict"] == "x"
    assert playing.ran == ["judge[0]/judge", "judge[1]/judge"]
    assert playing.state.trail.versions[1].changes.set == {("calls",): [refused]}


def test_a_result_that_is_too_large_is_not_told_but_that_it_is() -> None:
    playing = play({"judge[0]/judge": looking("a"), "judge[1]/lookup": {"lookup": "x" * TOOL_RESULT_BYTES}})
    playing.start()
    playing.answer("judge[0]/judge")
    playing.answer("judge[1]/lookup")
    (came,) = asked(playing, "judge[2]/judge")["results"].values()
    assert came["error"].startswith("SIZE_LIMIT_EXCEEDED: the result has 65")


def test_a_talk_that_grows_too_large_fails_the_node() -> None:
    finish = play({"judge[0]/judge": calling(("c", "lookup", {"email": "a"}), messages=["x" * TALK_BYTES])}).run()
    assert finish.failure is not None
    assert finish.failure.code == "SIZE_LIMIT_EXCEEDED"
    assert finish.failure.node == "judge"


@pytest.mark.parametrize(
    "said",
    [
        "all",
        {"calls": [["c", "lookup"]]},
        {"calls": [["c", "judge", {}]]},
        {"calls": [["c", "drop_all", {}]]},
        {"calls": [[1, "lookup", {}]]},
    ],
)
def test_what_is_no_call_fails_the_node_and_not_the_run_s_workflow_task(said: Any) -> None:
    finish = play({"judge[0]/judge": {TALK: said}}).run()
    assert finish.failure is not None
    assert finish.failure.code == "WIRE_FORMAT_INVALID"


def test_what_questions_cost_is_summed_once_over_all_turns() -> None:
    def spending(**keys: Any) -> ChangeSet:
        changed: dict[tuple[str, ...], Any] = {(key,): value for key, value in keys.items()}
        return ChangeSet(0, changed, usage=(Usage("openai:gpt-4", 1, 100, 10, 0.5),))

    playing = play({"judge[1]/lookup": {"lookup": 1}})
    playing.start()
    playing.take(playing.machine.succeeded("judge[0]/judge", spending(**looking("a")), 2_000))
    del playing.pending["judge[0]/judge"]
    playing.answer("judge[1]/lookup")
    del playing.pending["judge[2]/judge"]
    playing.take(playing.machine.succeeded("judge[2]/judge", spending(verdict="fine"), 3_000))
    assert playing.state.finished is not None
    told = {"model": "openai:gpt-4", "requests": 2, "input_tokens": 200, "output_tokens": 20, "cost": 1.0}
    assert views.result(playing.state, playing.state.finished, "s")["usage"] == [told]


REFUND = {
    "name": "refund",
    "nodes": {
        "charge": python(compensate=python(), effect=True),
        "mail": python(effect=False),
    },
    "edges": [edge("charge", "mail")],
    "result": {"done": "true"},
}
REFUNDS = {
    "tools": {
        "refund": {
            "description": "Refunds.",
            "inputs": {"sum": {"type": "number"}},
            "node": {"type": "graph", "graph": "refund", "input": {"sum": "{{ args.sum }}"}},
        }
    }
}


def test_a_graph_as_a_tool_gets_its_input_from_the_model_and_its_result_is_told() -> None:
    script = {"judge[0]/judge": calling(("c", "refund", {"sum": 12}))}
    playing = play(script, {"nodes": {"judge": judge(**REFUNDS)}}, refund=REFUND)
    playing.start().answer("judge[0]/judge")
    assert list(playing.pending) == ["judge[1]/refund/charge"]
    assert playing.seen["judge[1]/refund/charge"] == {"sum": 12}
    playing.answer("judge[1]/refund/charge")
    playing.answer("judge[1]/refund/mail")
    assert asked(playing, "judge[2]/judge")["results"] == {"c": {"value": {"done": True}}}


def test_what_a_tool_has_done_is_undone_before_the_model_hears_that_it_failed() -> None:
    script = {"judge[0]/judge": calling(("c", "refund", {"sum": 12})), "judge[1]/refund/mail": failure("NO_MAIL")}
    playing = play(script, {"nodes": {"judge": judge(**REFUNDS)}, "saga": {}}, refund=REFUND)
    playing.start()
    playing.answer("judge[0]/judge")
    playing.answer("judge[1]/refund/charge")
    playing.answer("judge[1]/refund/mail")
    assert list(playing.pending) == ["undo judge[1]/refund/charge"]
    playing.answer("undo judge[1]/refund/charge")
    told = asked(playing, "judge[2]/judge")["results"]
    assert told == {"c": {"error": "NO_MAIL: it broke"}}


def test_what_tools_have_done_is_undone_with_the_run_unless_the_node_s_own_compensation_does_it() -> None:
    script: dict[str, Any] = {
        "judge[0]/judge": calling(("c", "refund", {"sum": 12})),
        "judge[2]/judge": {"verdict": "x"},
        "late": failure(),
    }
    for undoing, undone in (({}, "judge[1]/refund/charge"), ({"compensate": python()}, "judge")):
        nodes = {"judge": judge(**REFUNDS, **undoing), "late": python()}
        graph = {"nodes": nodes, "edges": [edge("judge", "late")], "saga": {}}
        finish = play(script, graph, refund=REFUND).run()
        assert finish.compensated == (undone,)


def test_a_run_that_is_cancelled_during_a_call_cancels_it_and_undoes_the_others() -> None:
    script = {"judge[0]/judge": calling(("c", "refund", {"sum": 1}), ("d", "refund", {"sum": 2}))}
    playing = play(script, {"nodes": {"judge": judge(**REFUNDS)}, "saga": {}}, refund=REFUND)
    playing.start()
    playing.answer("judge[0]/judge")
    playing.answer("judge[1]/refund/charge")
    playing.answer("judge[1]/refund/mail")
    playing.take(playing.machine.cancel("enough", 9_000))
    finish = playing.finish()
    assert playing.cancelled == ["judge[2]/refund/charge"]
    assert finish.status == "cancelled"
    assert set(finish.compensated) == {"judge[1]/refund/charge", "judge[2]/refund/charge"}


def test_retry_and_timeout_of_the_node_are_those_of_each_question() -> None:
    node = judge(retry={"max_attempts": 5}, timeout="9s", task_queue="gpu")
    playing = play({}, {"nodes": {"judge": node}})
    playing.start()
    assert list(playing.pending) == ["judge[0]/judge"]
    command = playing.pending["judge[0]/judge"]
    assert isinstance(command, RunNode)
    own = command.planned.node
    assert own.retry is not None
    assert (own.retry.max_attempts, own.task_queue, str(own.timeout)) == (5, "gpu", "0:00:09")


@pytest.mark.parametrize("until", range(1, 5))
def test_a_run_continues_as_new_between_any_two_turns(until: int) -> None:
    script: dict[str, Any] = {
        "judge[0]/judge": looking("a", "b"),
        "judge[1]/lookup": {"lookup": 1},
        "judge[2]/lookup": failure("DOWN"),
        "judge[3]/judge": {"verdict": "fine"},
    }
    graph = {"name": "g", "nodes": {"judge": judge()}}
    playing = play(script)
    playing.start()
    for _ in range(until):
        playing.state.is_draining = True
        while playing.pending:
            playing.answer(next(iter(playing.pending)))
        if playing.state.finished is not None:
            break
        carried = json.loads(json.dumps(snapshot.dump(playing.state)))
        state = RunState(plan_graph(Graph.model_validate(graph)), {}, run=RUN)
        snapshot.load(state, carried)
        playing = Play(Machine(state), script, ran=playing.ran, now=playing.now)
        playing.take(playing.machine.resume_from_snapshot(playing.now))
    finish = playing.finish()
    assert finish.data == {"who": "Ann", "verdict": "fine"}
    assert playing.ran == ["judge[0]/judge", "judge[1]/lookup", "judge[2]/lookup", "judge[3]/judge"]
    said = "the tool 'lookup' failed (DOWN), and the model was told"
    assert views.result(playing.state, finish, "s")["warnings"] == [{"by": "judge", "warning": said}]


def test_without_tools_an_ai_node_is_one_activity_at_its_own_address() -> None:
    node = {key: value for key, value in judge().items() if key != "tools"}
    playing = play({"judge": {"verdict": "fine"}}, {"nodes": {"judge": node}})
    assert playing.run().data["verdict"] == "fine"
    assert playing.ran == ["judge"]
