"""Task queues and fairness keys that a run makes: where activities, children and compensations go."""

from __future__ import annotations

from typing import Any

import pytest

from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.load import load_text
from anabranch.graph.plan_node import PlanNode
from anabranch.graph.policies import Priority
from anabranch.workflows.interpreter.commands import RunNode, StartChild
from tests.unit.machine_kit import Play, edge, failure, machine_of, python
from tests.unit.test_snapshot import through_json

QUEUE = "labels-{{ tenant }}"
DATA = {"tenant": "acme"}


def planned(play: Play, address: str) -> PlanNode:
    command = play.pending[address]
    assert isinstance(command, RunNode | StartChild)
    return command.planned


def queue_of(play: Play, address: str) -> str | None:
    return planned(play, address).node.task_queue


def started(node: dict[str, Any], data: dict[str, Any] | None = None, **library: Any) -> Play:
    graph = {"nodes": {"a": node, "why": python()}, "edges": [edge("a", "why", outcome="failure")]}
    return Play(machine_of(graph, DATA if data is None else data, **library)).start()


def test_a_node_goes_to_the_queue_and_with_the_fairness_key_that_the_run_makes() -> None:
    play = started(python(task_queue=QUEUE, priority={"key": 2, "fairness_key": "{{ tenant }}"}))
    assert queue_of(play, "a") == "labels-acme"
    assert planned(play, "a").node.priority == Priority.model_validate({"key": 2, "fairness_key": "acme"})


def test_a_child_workflow_goes_to_the_queue_that_the_run_makes() -> None:
    play = started(
        {"type": "graph", "graph": "sub", "mode": "child_workflow", "task_queue": QUEUE},
        sub={"name": "sub", "nodes": {"p": python()}},
    )
    assert queue_of(play, "a") == "labels-acme"


def test_each_item_goes_to_a_queue_of_its_own() -> None:
    body = {"nodes": {"p": python(task_queue="{{ item }}-{{ index }}")}}
    play = started({"type": "foreach", "items": "['x', 'y']", "body": body})
    assert [queue_of(play, f"a[{index}]/p") for index in range(2)] == ["x-0", "y-1"]


@pytest.mark.parametrize(
    ("fields", "data", "message"),
    [
        ({"task_queue": QUEUE}, {"tenant": "x" * 1000}, "`task_queue` has 1007 bytes, over the server's limit of 1000"),
        ({"task_queue": "{{ tenant }}"}, {"tenant": None}, "`task_queue` is empty: ''"),
        ({"task_queue": "{{ tenant }}"}, {"tenant": "/_sys/x"}, "`task_queue` begins with /_sys/"),
        (
            {"priority": {"fairness_key": "{{ tenant }}"}},
            {"tenant": "é" * 33},
            "`priority.fairness_key` has 66 bytes, over the server's limit of 64",
        ),
    ],
)
def test_what_the_server_would_not_take_fails_the_node_before_it_starts(
    fields: dict[str, Any], data: dict[str, Any], message: str
) -> None:
    play = started(python(compensate=python(), **fields), data)
    run = play.state.root.nodes["a"]
    assert run.failure is not None
    assert (run.failure.code, run.failure.outcome) == ("OPTION_INVALID", "failure")
    assert run.failure.message.startswith(f"node 'a': {message}")
    assert list(play.pending) == ["why"]
    assert play.finish().compensated == ()


def test_a_template_that_fails_fails_the_node() -> None:
    play = started(python(task_queue="{{ 1 / 0 }}"))
    run = play.state.root.nodes["a"]
    assert run.failure is not None
    assert run.failure.code == "EXPRESSION_FAILED"


def test_a_compensation_goes_where_its_node_s_start_says_also_in_another_run() -> None:
    undo = python(task_queue=QUEUE, priority={"fairness_key": "{{ tenant }}"})
    nodes = {"a": python(compensate=undo), "nap": {"type": "wait", "for": "1h"}, "b": python()}
    graph = {"nodes": nodes, "edges": [edge("a", "nap"), edge("nap", "b")]}
    play = Play(machine_of(graph, DATA), {"a": {"tenant": "other"}, "b": failure()}).start()
    play.answer("a")
    again = Play(through_json(play.machine, play.state.plan), play.script)
    again.take(again.machine.resume_from_snapshot(play.now))
    for name in ("nap", "b"):
        again.answer(name)
    assert queue_of(again, "undo a") == "labels-acme"
    assert planned(again, "undo a").node.priority == Priority.model_validate({"fairness_key": "acme"})
    assert again.finish().compensated == ("a",)


def test_a_node_whose_compensation_has_nowhere_to_go_does_not_begin() -> None:
    play = started(python(compensate=python(task_queue="{{ tenant }}")), {"tenant": ""})
    run = play.state.root.nodes["a"]
    assert run.failure is not None
    assert run.failure.code == "OPTION_INVALID"
    assert "a" not in play.ran


def test_keys_of_routes_are_inputs_and_do_not_cross_to_the_activity() -> None:
    loaded = load_text(
        "name: g\nnodes:\n  a: {type: http, url: 'https://x', task_queue: 'q-{{ tenant }}',"
        " priority: {fairness_key: '{{ customer.id }}'}}\n"
    )
    assert set(graph_inputs(loaded.graph)) == {"tenant", "customer"}
    assert planned(Play(machine_of({"nodes": {"a": python()}})).start(), "a").is_routed is False


def many(most: Any) -> dict[str, Any]:
    return {"type": "foreach", "items": "[1, 2, 3, 4]", "max_concurrency": most, "body": {"nodes": {"p": python()}}}


@pytest.mark.parametrize("most", ["{{ n }}", "{{ n + 0.0 }}", "{{ int(string(n)) }}"])
def test_as_many_items_run_at_once_as_the_run_says_also_after_continue_as_new(most: str) -> None:
    nap = {"nodes": {"p": {"type": "wait", "for": "1h"}}}
    play = started({**many(most), "body": nap}, {"n": 2})
    assert list(play.pending) == ["a[0]/p", "a[1]/p"]
    again = Play(through_json(play.machine, play.state.plan))
    again.take(again.machine.resume_from_snapshot(play.now))
    again.answer("a[0]/p")
    assert list(again.pending) == ["a[1]/p", "a[2]/p"]
    assert again.finish().failure is None


@pytest.mark.parametrize("value", [0, 501, 2.5, True, "many", None])
def test_a_number_at_once_that_is_out_of_bounds_fails_the_node(value: Any) -> None:
    play = started(many("{{ n }}"), {"n": value})
    run = play.state.root.nodes["a"]
    assert run.failure is not None
    assert run.failure.code == "OPTION_INVALID"
    assert run.failure.message.startswith("node 'a': `max_concurrency` is not a whole number from 1 to 500: ")
    assert list(play.pending) == ["why"]


def test_the_number_at_once_reads_the_context() -> None:
    loaded = load_text(
        "name: g\nnodes:\n  a: {type: foreach, items: '[1]', max_concurrency: '{{ n }}',"
        " body: {nodes: {p: {type: wait, for: 1s}}}}\n"
    )
    assert set(graph_inputs(loaded.graph)) == {"n"}
