"""Graphs on a real server: as in production, and replayed from the start at every task in the strict sandbox."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from temporalio import activity
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import CancelledError

from anabranch.limits import RunLimits
from anabranch.workflows.temporal.graph_workflow import GraphWorkflow
from tests.integration.graph_kit import (
    MODES,
    PATIENCE,
    Served,
    attempts,
    chain,
    diamond,
    edge,
    error_of,
    events,
    gate,
    leaf,
    put,
    scheduled,
    tasks,
    until,
    until_status,
    worker_for,
)
from tests.workers import worker_on

ONCE: dict[str, Any] = {"retry": {"max_attempts": 1}}
QUICK: dict[str, Any] = {"retry": {"max_attempts": 3, "initial_interval": "10ms", "backoff": 1}}


# results and merges


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_a_chain_returns_session_status_version_and_data(served: Served) -> None:
    result = await served.run(chain(a=put(x=1), b=leaf("add", reads=("x",), args={"key": "x", "amount": 4})), {"y": 0})
    assert result == {
        "session_id": served.started[0],
        "status": "completed",
        "version": 3,
        "data": {"x": 5, "y": 0},
    }


@pytest.mark.parametrize(
    ("policy", "total"),
    [
        ("last_write_wins", 12),
        ("higher_version_wins", 15),
        ("merge_all", [12, 15]),
        ("sum", 17),
        ("min", 12),
        ("max", 15),
    ],
)
async def test_a_conflict_at_a_join_is_settled_by_its_policy(served: Served, policy: str, total: Any) -> None:
    """The left branch writes last; the right one from a higher version."""
    graph = diamond(
        leaf("pass_gate", args={"name": served.task_queue, "total": 12}),
        put(total=15),
        context={"merge": {"total": policy}},
    )
    graph["nodes"]["before"] = put(step=1)
    graph["edges"][1:2] = [edge("start", "before"), edge("before", "right")]
    async with gate(served.task_queue) as left:
        handle = await served.start(graph, {"total": 10})
        await until_status(handle, "right", "succeeded")
        left.set()
        result = await handle.result()
    assert result["data"] == {"total": total, "step": 1}
    (conflict,) = result["conflicts"]
    assert (conflict["path"], conflict["base"], conflict["strategy"]) == ("total", 10, policy)
    assert [(each["by"], each["value"]) for each in conflict["candidates"]] == [("left", 12), ("right", 15)]


async def test_a_conflict_that_nobody_may_settle_fails_the_run_naming_the_candidates(served: Served) -> None:
    graph = diamond(put(x=1), put(x=2), context={"conflict_resolution": "fail_on_conflict", "conflict_timeout": 0})
    error = await served.error(graph)
    assert error.type == "CONFLICT"
    assert "'x'" in error.message
    assert error.details[0]["node"] == "join"


async def test_what_a_reducer_cannot_reduce_fails_the_run_and_asks_nobody(served: Served) -> None:
    error = await served.error(diamond(put(x=2), put(x="10"), context={"merge": {"x": "min"}}))
    assert error.type == "CONFLICT"
    assert "'x': min takes numbers; 'left' wrote 2, 'right' wrote '10'" in error.message
    assert error.details[0]["node"] == "join"


async def test_objects_keep_the_order_of_their_keys_from_input_to_result(served: Served) -> None:
    given = {"o": {"z": 1, "a": {"y": 1, "b": 2}}}
    literal = {"kept": {"z": 1, "a": 2}}
    result = await served.run(chain(a=put(**literal)), given)
    assert json.dumps(result["data"]) == json.dumps({**given, **literal})


async def test_a_conflict_waits_for_the_update_resolve_conflict(served: Served) -> None:
    graph = diamond(put(x=1), put(x=2), context={"conflict_resolution": "fail_on_conflict"})
    handle = await served.start(graph)
    reported = await until_status(handle, "join", "conflict")
    assert [each["path"] for each in reported["conflicts"]["join"]] == ["x"]
    answer = await handle.execute_update("resolve_conflict", {"node": "join", "path": "x", "choose": "right"})
    assert answer == {"node": "join", "path": "x", "open": []}
    assert (await handle.result())["data"] == {"x": 2}


async def test_two_answers_at_once_are_one_answer_and_one_refusal(served: Served) -> None:
    """Both may reach the workflow in one task: neither may break it."""
    approval = {"type": "approval", "prompt": "Ship {{ n }}?", "schema": {"type": "object", "required": ["ok"]}}
    handle = await served.start(chain(ask=approval, after=put(done=True)), {"n": 3})
    await until_status(handle, "ask", "waiting")
    answers = await asyncio.gather(
        *(
            handle.execute_update("complete_task", {"node": "ask", "answer": {"ok": each}}, id=f"answer-{each}")
            for each in range(4)
        ),
        return_exceptions=True,
    )
    assert len([each for each in answers if each == {"node": "ask"}]) == 1
    assert len([each for each in answers if isinstance(each, WorkflowUpdateFailedError)]) == 3
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["data"]["done"] is True


@pytest.mark.parametrize("update", ["complete_task", "resolve_conflict", "write_context", "retry_node", "skip_node"])
async def test_updates_of_the_wrong_shape_are_refused_and_the_run_goes_on(served: Served, update: str) -> None:
    handle = await served.start(chain(ask={"type": "approval", "prompt": "?"}))
    await until_status(handle, "ask", "waiting")
    wrong: list[list[Any]] = [
        [],
        [1],
        [None],
        [[]],
        [{}],
        [{"node": []}],
        [{"node": "ask", "answer": 1}, {}],
        [{"nodes": "ask"}],
    ]
    for args in wrong:
        with pytest.raises(WorkflowUpdateFailedError):
            await asyncio.wait_for(handle.execute_update(update, args=args), PATIENCE)
    await handle.execute_update("complete_task", {"node": "ask", "answer": "yes"})
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["data"] == {"ask": "yes"}


async def test_bodies_and_graphs_write_back_into_the_run(served: Served) -> None:
    served.write("twice", yaml.safe_dump({"name": "twice", **chain(d=put(doubled="{{ n * 2 }}"))}))
    graph = chain(
        each={
            "type": "foreach",
            "items": "[1, 2, 3]",
            "body": chain(square=put(value="{{ item * item }}")),
            "collect": {"into": "squares", "value": "value"},
        },
        loop={"type": "while", "while": "n < 8", "body": {"nodes": {"up": put(n="{{ n * 2 }}")}}},
        inline={"type": "graph", "graph": "twice"},
        child={"type": "graph", "graph": "twice", "mode": "child_workflow", "output": {"from_child": "result.doubled"}},
    )
    result = await served.run(graph, {"n": 1})
    assert result["data"] == {"n": 8, "squares": [1, 4, 9], "doubled": 16, "from_child": 16}


async def test_a_hundred_nodes_run_side_by_side(served: Served) -> None:
    names = [f"n{index}" for index in range(100)]
    nodes = {"first": put(), **{name: put(**{name: 1}) for name in names}, "last": put(end=1)}
    edges = [*(edge("first", name) for name in names), *(edge(name, "last") for name in names)]
    graph = {"nodes": nodes, "edges": edges}
    result = await served.run(graph)
    assert result["data"] == {**dict.fromkeys(names, 1), "end": 1}
    assert result["version"] == 102


async def test_timers_wait_and_the_run_s_time_is_the_workflow_s(served: Served) -> None:
    graph = chain(
        before=put(start="{{ run.time }}"), nap={"type": "wait", "for": "200ms"}, after=put(end="{{ run.time }}")
    )
    result = await served.run(graph)
    start, end = result["data"]["start"], result["data"]["end"]
    assert start < end
    assert start.endswith("Z")


# failures


async def test_a_failed_run_s_error_names_the_code_the_node_and_the_cause(served: Served) -> None:
    graph = chain(
        reserve={**put(reserved=True), "compensate": put(reserved=False)},
        pay=leaf("break", args={"name": served.task_queue, "how": "typed"}, **ONCE),
    )
    handle = await served.start(graph)
    error = await error_of(handle)
    assert (error.type, error.non_retryable) == ("NO_STOCK", True)
    assert error.message == "node 'pay': no stock"
    assert error.details[0] == {
        "node": "pay",
        "outcome": "failure",
        "code": "NO_STOCK",
        "message": "no stock",
        "cause": [{"left": 0}],
        "compensated": ["reserve"],
        "not_compensated": [],
    }
    assert (await handle.query("status"))["status"] == "failed"


async def test_an_error_of_ours_is_not_retried_and_says_what_to_do(served: Served) -> None:
    error = await served.error({"nodes": {"pay": leaf("break", args={"name": served.task_queue}, **QUICK)}})
    assert error.type == "NODE_FAILED"
    assert "it is broken (fix it)" in error.message
    assert error.details[0]["cause"][0]["suggestion"] == "fix it"
    assert attempts[served.task_queue] == 1


@pytest.mark.parametrize("how", ["unavailable", "typed", "other"])
async def test_a_node_is_tried_as_often_as_its_policy_says(served: Served, how: str) -> None:
    arguments = {"name": served.task_queue, "how": how}
    graph = {"nodes": {"pay": leaf("break", args=arguments, **QUICK)}}
    error = await served.error(graph)
    assert error.type == {"unavailable": "UNAVAILABLE", "typed": "NO_STOCK", "other": "RuntimeError"}[how]
    assert attempts[served.task_queue] == 3


async def test_a_node_that_recovers_goes_on(served: Served) -> None:
    graph = {"nodes": {"pay": leaf("break", args={"name": served.task_queue, "how": "other", "until": 3}, **QUICK)}}
    assert (await served.run(graph))["data"] == {"attempt": 3}


async def test_error_types_that_the_yaml_names_are_not_retried(served: Served) -> None:
    retry = {**QUICK["retry"], "non_retryable": ["NO_STOCK"]}
    graph = {
        "defaults": {"retry": retry},
        "nodes": {"pay": leaf("break", args={"name": served.task_queue, "how": "typed"})},
    }
    assert (await served.error(graph)).type == "NO_STOCK"
    assert attempts[served.task_queue] == 1


async def test_a_failure_edge_sees_the_error(served: Served) -> None:
    graph = {
        "nodes": {
            "pay": leaf("break", args={"name": served.task_queue, "how": "typed"}, **ONCE),
            "review": put(why="{{ error.node + ': ' + error.type + ': ' + error.message }}"),
            "ship": put(shipped=True),
        },
        "edges": [edge("pay", "ship"), edge("pay", "review", outcome="failure")],
    }
    handle = await served.start(graph)
    assert (await handle.result())["data"] == {"why": "pay: NO_STOCK: no stock"}
    states = {name: node["status"] for name, node in (await handle.query("status"))["nodes"].items()}
    assert states == {"pay": "failed", "review": "succeeded", "ship": "skipped"}


async def test_a_timeout_takes_the_timeout_edge_and_cancels_the_activity(served: Served) -> None:
    graph = {
        "nodes": {
            "slow": leaf("dawdle", args={"name": served.task_queue}, timeout="1s", heartbeat="500ms", **ONCE),
            "late": put(outcome="{{ error.outcome + ' ' + error.type }}"),
            "failed": put(outcome="failed"),
        },
        "edges": [edge("slow", "late", outcome="timeout"), edge("slow", "failed", outcome="failure")],
    }
    assert (await served.run(graph))["data"] == {"outcome": "timeout TIMEOUT"}
    begun = f"{served.task_queue} begun"  # on a starved machine it times out before it begins
    await until(lambda: attempts[f"{served.task_queue} cancelled"] == attempts[begun])


async def test_a_failing_template_of_an_activity_node_is_that_node_s_failure(served: Served) -> None:
    graph = {
        "nodes": {"ship": {"type": "activity", "activity": "ship", "args": ["{{ context.nothing.there }}"]}},
    }
    error = await served.error(graph)
    assert error.type == "EXPRESSION_FAILED"
    assert error.details[0]["node"] == "ship"


async def test_work_that_is_cancelled_in_the_moment_it_starts_comes_to_rest(served: Served) -> None:
    """`slow` is scheduled and cancelled by the same completion: the next node's items are not a list."""
    graph = {
        "nodes": {
            "first": put(),
            "slow": leaf("dawdle", args={"name": served.task_queue}, heartbeat="3s"),
            "wrong": {"type": "foreach", "items": "1", "body": {"nodes": {"w": put()}}},
        },
        "edges": [edge("first", "slow"), edge("first", "wrong")],
    }
    error = await served.error(graph)
    assert (error.type, error.details[0]["node"]) == ("EXPRESSION_FAILED", "wrong")


# where and how nodes run


async def test_a_node_runs_on_its_own_task_queue(served: Served, tmp_path: Path) -> None:
    other = f"{served.task_queue}-other"
    made = leaf("place", task_queue="{{ queue }}-other")
    graph = chain(here=leaf("place"), there=leaf("place", task_queue=other), made=made)
    graph["nodes"]["long"] = leaf("place", task_queue="{{ queue }}" * 100, on_failure="continue")
    async with worker_for(served.client, other, tmp_path):
        handle = await served.start(graph, {"queue": served.task_queue})
        result = await handle.result()
    assert result["data"] == {"queue": served.task_queue, "here": served.task_queue, "there": other, "made": other}
    assert (await handle.query("status"))["nodes"]["long"]["error"]["code"] == "OPTION_INVALID"


async def test_priority_and_timeouts_reach_the_server(served: Served) -> None:
    graph = chain(
        a={**put(), "priority": 1, "timeout": "7s", "heartbeat": "2s"},
        b={**put(), "priority": {"key": 5, "fairness_key": "{{ tenant }}", "fairness_weight": 2.0}},
        c={**put(), "timeout": "{{ minutes }}m"},
    )
    handle = await served.start(graph, {"tenant": "acme", "minutes": 2})
    await handle.result()
    found = await scheduled(served.client, handle)
    a, b, c = (found[name].activity_task_scheduled_event_attributes for name in "abc")
    assert (a.priority.priority_key, b.priority.priority_key, b.priority.fairness_key) == (1, 5, "acme")
    assert [each.start_to_close_timeout.seconds for each in (a, b, c)] == [7, 30, 120]
    assert a.heartbeat_timeout.seconds == 2


async def test_a_run_chooses_its_child_workflow_and_how_long_that_may_take(served: Served) -> None:
    served.write("quick", yaml.safe_dump({"name": "quick", **chain(p=put(x="{{ kind }}"))}))
    served.write("napping", yaml.safe_dump({"name": "napping", **chain(nap={"type": "wait", "for": "1h"})}))
    child = {
        "type": "graph",
        "graph": "{{ kind }}",
        "one_of": ["quick", "napping"],
        "mode": "child_workflow",
        "input": {"kind": "{{ kind }}"},
    }
    kinds = {"type": "foreach", "items": "['quick', 'napping', 'other']", "as": "kind"}
    body = chain(child={**child, "timeout": "{{ kind == 'quick' ? 60.0 : 0.3 }}", "output": {"x": "result.x"}})
    each = {**kinds, "body": body, "on_item_failure": "collect", "failed": "failed"}
    result = await (await served.start({"nodes": {"each": {**each, "collect": {"into": "xs", "value": "x"}}}})).result()
    assert result["data"]["xs"] == ["quick"]
    assert [each["error"]["code"] for each in result["data"]["failed"]] == ["TIMEOUT", "OPTION_INVALID"]


async def test_an_activity_node_calls_another_worker_s_activity_with_plain_json(
    served: Served, dev_server: Any
) -> None:
    @activity.defn(name="ship")
    async def ship(order: str, weight: float) -> dict[str, Any]:
        return {"label": f"{order}/{weight}", "carrier": {"name": "post"}}

    @activity.defn(name="weigh")
    async def weigh(order: dict[str, Any]) -> float:
        return float(order["mass"]) * 2.5

    other = f"{served.task_queue}-other"
    plain = await Client.connect(dev_server.address)
    on_other = {"type": "activity", "task_queue": other}
    graph = chain(
        weigh={**on_other, "activity": "weigh", "args": {"mass": "{{ mass }}"}},
        ship={
            **on_other,
            "activity": "ship",
            "args": ["{{ order }}", "{{ weigh }}"],
            "output": {"label": "result.label", "carrier": "result.carrier.name"},
        },
    )
    async with worker_on(plain, other, activities=[ship, weigh]):
        result = await served.run(graph, {"mass": 4, "order": "A1"})
    assert result["data"] == {"mass": 4, "order": "A1", "weigh": 10.0, "label": "A1/10.0", "carrier": "post"}


async def test_local_nodes_are_markers_that_read_as_the_graph(served: Served) -> None:
    graph = {
        "defaults": {"local": True},
        **chain(
            decide={"type": "rule", "rules": [{"when": "n > 1", "then": {"big": True}}]},
            note={**put(noted="{{ big }}"), "local": True},
        ),
    }
    handle = await served.start(graph, {"n": 2})
    assert (await handle.result())["data"] == {"n": 2, "big": True, "noted": True}
    markers = [event.marker_recorded_event_attributes for event in await events(handle)]
    reported = [json.loads(each.details["data"].payloads[0].data)["activity_type"] for each in markers if each.details]
    assert reported == ["load_graph", "decide → note"]


async def test_what_crosses_to_a_node_is_what_it_reads(served: Served) -> None:
    graph = chain(
        some=leaf("copy", reads=("b", "nothing"), args={"into": "some"}),
        all={"type": "python", "handler": "copy", "args": {"into": "every"}},
        template=put(sum="{{ a + b }}"),
    )
    handle = await served.start(graph, {"a": 1, "b": 2, "c": 3})
    await handle.result()
    crossed = {address: dict(task.context.data) for address, task in (await tasks(served.client, handle)).items()}
    assert crossed == {
        "some": {"b": 2},
        "all": {"a": 1, "b": 2, "c": 3, "some": {"b": 2}},
        "template": {"a": 1, "b": 2},
    }


async def test_large_contexts_are_compressed_in_the_history(served: Served) -> None:
    handle = await served.start(
        chain(a={"type": "python", "handler": "copy", "args": {"into": "b"}}), {"text": "x" * 60_000}
    )
    result = await handle.result()
    assert len(result["data"]["b"]["text"]) == 60_000
    (event,) = (await scheduled(served.client, handle)).values()
    (payload,) = event.activity_task_scheduled_event_attributes.input.payloads
    assert payload.metadata["encoding"] == b"binary/zstd"
    assert len(payload.data) < 2_000


async def test_no_more_activities_are_pending_than_the_server_takes(
    client: Client, task_queue: str, tmp_path: Path
) -> None:
    limits = RunLimits(pending_activities=3)
    names = [f"n{index}" for index in range(8)]
    graph = {"nodes": {name: leaf("pass_gate", args={"name": task_queue, name: 1}) for name in names}}
    async with worker_for(client, task_queue, tmp_path, limits=limits) as served, gate(task_queue) as opened:
        handle = await served.start(graph)
        await until(lambda: attempts[task_queue] == 3)
        assert len((await handle.describe()).raw_description.pending_activities) == 3
        opened.set()
        assert (await asyncio.wait_for(handle.result(), PATIENCE))["data"] == dict.fromkeys(names, 1)


async def test_what_is_too_much_for_one_task_leaves_in_several(client: Client, task_queue: str, tmp_path: Path) -> None:
    """Eighty times 75 KB that hardly compress: the server would end a workflow that sends them at once."""
    text = base64.b64encode(random.Random(1).randbytes(56_000)).decode()
    graph = {"nodes": {f"n{index}": leaf(reads=("text",), args={f"n{index}": 1}) for index in range(80)}}
    async with worker_for(client, task_queue, tmp_path) as served:
        handle = await served.start(graph, {"text": text})
        assert (await asyncio.wait_for(handle.result(), PATIENCE))["version"] == 81
        # So much history makes the run continue as new.
        first = client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)
        timers = [event.timer_started_event_attributes for event in await events(first)]
    assert len([timer for timer in timers if timer.start_to_fire_timeout.nanos == 1_000_000]) == 2


# how runs are started


ORDER = """
name: order
context: {schema: {required: [total], properties: {total: {type: number}, customer: {type: string}}}}
nodes:
  check:
    type: rule
    rules: [{when: total > 10 && customer != "", then: {checked: true}}]
  note: {type: python, handler: put, reads: [], args: {noted: "{{ checked }}"}}
edges: [{from: check, to: note}]
"""


async def test_the_workflow_type_is_the_graph_s_name(served: Served) -> None:
    served.write("order", ORDER)
    handle = await served.start_type("order", {"total": 11, "customer": "Ada"})
    assert (await handle.result())["data"] == {"total": 11, "customer": "Ada", "checked": True, "noted": True}
    assert (await handle.describe()).workflow_type == "order"


async def test_graph_workflow_runs_a_graph_by_name_as_an_object_and_as_yaml_text(served: Served) -> None:
    served.write("order", ORDER)
    for graph in ("order", yaml.safe_load(ORDER), ORDER):
        result = await served.run(graph, {"total": 11, "customer": "Ada"})
        assert result["data"]["noted"] is True


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ([{"total": 1}, {"graph": {}}, {}], "INPUT_INVALID", "one JSON object"),
        ([{"total": 1, "customer": "Ada"}, {"total": 2}], "INPUT_INVALID", "one JSON object"),
        ([{"total": 1, "customer": "Ada"}, {"carried": {}}], "INPUT_INVALID", "one JSON object"),
        ([[1, 2]], "INPUT_INVALID", "one JSON object, not list"),
        (["{}"], "INPUT_INVALID", "one JSON object, not str"),
        ([], "INPUT_MISSING", "lacks 'customer', 'total'"),
        ([{}], "INPUT_MISSING", "lacks 'customer', 'total'"),
        ([{"customer": "Ada"}], "INPUT_MISSING", "lacks 'total'"),
        ([{"customer": "Ada", "total": "much"}], "SCHEMA_VIOLATION", "total"),
        ([{"customer": "Ada", "total": 2**70}], "WIRE_FORMAT_INVALID", "total"),
        ([{"customer": "Ada" * 800_000, "total": 1}], "SIZE_LIMIT_EXCEEDED", "largest key is 'customer'"),
    ],
)
async def test_an_input_that_does_not_fit_fails_the_run_at_once(
    served: Served, args: list[Any], code: str, message: str
) -> None:
    served.write("order", ORDER)
    error = await error_of(await served.start_type("order", *args))
    assert (error.type, error.non_retryable) == (code, True)
    assert message in error.message


async def test_the_status_of_a_run_whose_input_does_not_fit_says_that_it_failed(served: Served) -> None:
    served.write("order", ORDER)
    handle = await served.start_type("order", {"customer": "Ada"})
    await error_of(handle)
    status = await handle.query("status")
    assert (status["status"], status["failure"]["type"]) == ("failed", "INPUT_MISSING")
    assert {node["status"] for node in status["nodes"].values()} == {"cancelled"}


@pytest.mark.parametrize(
    "args",
    [[], ["order"], [{"graph": "order"}, {}], [{"data": {}}], [{"graph": "order", "dat": {}}]],
)
async def test_graph_workflow_says_what_it_takes(served: Served, args: list[Any]) -> None:
    error = await error_of(await served.start_type("GraphWorkflow", *args))
    assert error.type == "INPUT_INVALID"
    assert '{"graph": name or definition, "data": {…}}' in error.message


@pytest.mark.parametrize("name", ["nowhere", "../secret", "Nowhere Land"])
async def test_an_unknown_graph_fails_the_run(served: Served, name: str) -> None:
    served.write("order", ORDER)
    error = await error_of(await served.start_type(name, {}))
    assert (error.type, error.non_retryable) == ("GRAPH_UNKNOWN", True)
    assert f"neither a graph nor a workflow that is named {name!r}" in error.message
    assert error.details[0]["problems"][0].endswith("help: it has graphs: order")


async def test_an_invalid_graph_fails_the_run_with_every_problem(served: Served) -> None:
    graph = {
        "nodes": {"a": {**put(), "tiemout": "3s"}, "b": {"type": "rule", "rules": [{"when": "x >", "then": {"y": 1}}]}},
        "edges": [edge("a", "nowhere")],
    }
    error = await served.error(graph)
    assert error.type == "GRAPH_INVALID"
    problems = "\n".join(error.details[0]["problems"])
    assert "tiemout" in problems
    assert "timeout" in problems


# what people see


def exactly(value: Any) -> str:
    """A text in which 2 and 2.0 differ, and 1 and true."""
    return json.dumps(value, sort_keys=True)


async def test_a_typed_client_gets_numbers_as_they_are(served: Served) -> None:
    """By its type hints, the SDK would make another type of a number that fits into it."""
    values = {"half": 1.5, "two": 2.0, "whole": 2, "yes": True, "nothing": None, "nested": [{"deep": [2.0, 3]}]}
    given = {"graph": {"name": "g", **chain(ask={"type": "approval"}, write=put(written=values))}, "data": values}
    handle = await served.client.start_workflow(
        GraphWorkflow.run, given, id=served.task_queue, task_queue=served.task_queue
    )
    await until_status(handle, "ask", "waiting")
    await handle.execute_update(GraphWorkflow.complete_task, {"node": "ask", "answer": values})
    expected = exactly({**values, "written": values})
    assert exactly((await handle.result())["data"]) == expected
    assert exactly((await handle.query(GraphWorkflow.context))["data"]) == expected
    (first, *_) = await handle.query(GraphWorkflow.history)
    assert exactly(first["set"]) == exactly(values)
    assert (await handle.query(GraphWorkflow.status))["nodes"]["write"]["status"] == "succeeded"
    assert "write" in await handle.query(GraphWorkflow.diagram)


async def test_queries_tell_context_status_history_and_diagram_during_a_run_and_after_it(served: Served) -> None:
    graph = chain(a=put(x=1), b=leaf("pass_gate", args={"name": served.task_queue, "y": 2}), c=put(z=3))
    async with gate(served.task_queue) as opened:
        handle = await served.start(graph, {"w": 0})
        status = await until_status(handle, "b", "running")
        assert {name: node["status"] for name, node in status["nodes"].items()} == {
            "a": "succeeded",
            "b": "running",
            "c": "pending",
        }
        assert (status["graph"], status["status"]) == ("g", "running")
        context = await handle.query("context")
        assert context == {"session_id": handle.id, "version": 2, "number": 2, "data": {"w": 0, "x": 1}}
        assert [entry["by"] for entry in await handle.query("history")] == ["input", "a"]
        assert "running" in await handle.query("diagram")
        opened.set()
        await handle.result()
    assert (await handle.query("status"))["status"] == "completed"
    assert (await handle.query("context"))["data"] == {"w": 0, "x": 1, "y": 2, "z": 3}
    history = await handle.query("history")
    assert [(entry["number"], entry["by"], entry["set"], entry["parents"]) for entry in history] == [
        (1, "input", {"w": 0}, []),
        (2, "a", {"x": 1}, [1]),
        (3, "b", {"y": 2}, [2]),
        (4, "c", {"z": 3}, [3]),
    ]
    assert (await handle.query("diagram")).startswith("flowchart")


async def test_the_timeline_reads_as_the_graph(served: Served) -> None:
    graph = chain(first=put(), nap={"type": "wait", "for": "20ms"}, second=put())
    handle = await served.start(graph)
    await handle.result()
    reported = []
    for event in await events(handle):
        if event.HasField("activity_task_scheduled_event_attributes") or event.HasField(
            "timer_started_event_attributes"
        ):
            (summary,) = await served.client.data_converter.decode([event.user_metadata.summary])
            reported.append(summary)
    assert reported == ["first", "nap", "second"]
    assert list(await scheduled(served.client, handle)) == ["first", "second"]


async def test_current_details_list_the_nodes_and_their_states(served: Served) -> None:
    async with gate(served.task_queue) as opened:
        handle = await served.start(chain(a=put(), b=leaf("pass_gate", args={"name": served.task_queue})))
        await until_status(handle, "b", "running")
        metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
        opened.set()
        await handle.result()
    assert metadata.current_details.splitlines() == [
        "**`g 1.0.0`** running: 1 succeeded, 1 running",
        "",
        "| node | state |",
        "| --- | --- |",
        "| `a` | succeeded |",
        "| `b` | running |",
    ]
    assert {query.name for query in metadata.definition.query_definitions} >= {
        "context",
        "status",
        "history",
        "diagram",
    }


async def test_cancelling_a_run_cancels_its_activities_and_compensates(served: Served) -> None:
    graph = chain(
        reserve={
            **put(reserved=True),
            "compensate": {**put(released=True), "output": {"released": "result.released"}},
        },
        slow=leaf("dawdle", args={"name": served.task_queue}, heartbeat="3s"),
        never=put(),
    )
    handle = await served.start(graph)
    await until_status(handle, "slow", "running")
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as ended:
        await asyncio.wait_for(handle.result(), PATIENCE)
    assert isinstance(ended.value.cause, CancelledError)
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED
    assert attempts[f"{served.task_queue} cancelled"] == 1
    status = await handle.query("status")
    assert (status["status"], status["compensated"]) == ("cancelled", ["reserve"])
    states = {name: node["status"] for name, node in status["nodes"].items()}
    assert states == {"reserve": "succeeded", "slow": "cancelled", "never": "cancelled"}
    assert (await handle.query("context"))["data"] == {"released": True}
