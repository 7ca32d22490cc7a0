"""Local nodes that run together, on a server: one record in the history, and each node is told of by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import CancelledError

from anabranch.activities import node
from anabranch.context.distributed import DistributedContext
from anabranch.limits import RUN_LIMITS
from anabranch.transport.segment import SegmentResult
from tests.integration.graph_kit import (
    BOTH_WAYS,
    PATIENCE,
    Handle,
    Served,
    attempts,
    chain,
    edge,
    error_of,
    events,
    gate,
    leaf,
    put,
    until,
    until_status,
    worker_for,
)


@node("note_activity")
async def note_activity(_: DistributedContext) -> dict[str, Any]:
    """Write under the node's id how it knows itself."""
    info = activity.info()
    attempts[f"{info.workflow_id} {info.activity_id}"] += 1
    return {info.activity_id: [info.activity_type, info.attempt]}


@pytest.fixture(params=BOTH_WAYS)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def local(given: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    return {**given, "local": True, **fields}


def rule(**values: Any) -> dict[str, Any]:
    return {"type": "rule", "local": True, "rules": [{"then": values}]}


async def start(served: Served, graph: Mapping[str, Any]) -> Handle:
    """Start a graph whose workflow tasks last a second: what comes meanwhile is heard while local nodes run."""
    workflow_id = f"{served.task_queue}-{len(served.started)}"
    served.started.append(workflow_id)
    given = {"graph": {"name": "g", **graph}}
    return await served.client.start_workflow(
        "GraphWorkflow", given, id=workflow_id, task_queue=served.task_queue, task_timeout=timedelta(seconds=1)
    )


async def local_activities(handle: Handle) -> list[str]:
    """The types of those that ran the nodes of a graph, in the order of the history."""
    found: list[str] = []
    for event in await events(handle):
        if event.HasField("marker_recorded_event_attributes"):
            (data,) = event.marker_recorded_event_attributes.details["data"].payloads
            found.append(json.loads(data.data)["activity_type"])
    return [each for each in found if each not in {"load_graph", "record_history"}]


async def test_a_chain_of_local_nodes_is_one_activity_and_each_has_its_own_version(served: Served) -> None:
    seen = local(leaf("copy", args={"into": "seen"}, reads=("x", "far")))
    graph = chain(a=local(put(x=1)), b=local(leaf("note_activity")), c=seen, d=rule(x="{{ x + 1 }}"), e=put(done=True))
    handle = await served.start(graph, {"far": 0, "near": 0})
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    known = {"far": 0, "near": 0, "x": 2, "b": ["b (python)", 1], "seen": {"x": 1, "far": 0}, "done": True}
    assert result["data"] == known
    assert await local_activities(handle) == ["a → b → c → d"]
    versions = [(each["by"], each["parents"]) for each in await handle.query("history")]
    assert versions == [("input", []), *((by, [number]) for number, by in enumerate("abcde", start=1))]
    times = [each["at"] for each in await handle.query("history")]
    assert times == sorted(set(times))


async def test_the_record_of_a_segment_tells_of_each_node(served: Served) -> None:
    handle = await served.start(chain(a=local(put(x=1)), b=local(put(y="{{ x }}"))))
    await asyncio.wait_for(handle.result(), PATIENCE)
    (*_, marker) = [each for each in await events(handle) if each.HasField("marker_recorded_event_attributes")]
    payloads = marker.marker_recorded_event_attributes.details["result"].payloads
    (found,) = await served.client.data_converter.decode(payloads, [SegmentResult])
    assert [(each.address, each.version, each.changes.set) for each in found.ran] == [
        ("a", 1, {("x",): 1}),
        ("b", 2, {("y",): 1}),
    ]
    assert 0 <= found.ran[0].started <= found.ran[0].ended <= found.ran[1].started


async def test_a_node_that_fails_in_a_segment_is_tried_again_by_itself(served: Served) -> None:
    name = served.task_queue
    flaky = leaf("break", args={"name": name, "how": "else", "until": 3}, retry={"initial_interval": "10ms"})
    handle = await served.start(chain(a=local(leaf("note_activity")), b=local(flaky), c=local(put(y=2))))
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["data"] == {"a": ["a (python)", 1], "attempt": 3, "y": 2}
    assert attempts[name] == 3
    assert attempts[f"{handle.id} a"] == 1
    assert await local_activities(handle) == ["a → b → c", "b (python)", "c (python)"]


async def test_a_failure_in_a_segment_is_that_of_the_node_alone(served: Served) -> None:
    """What ran before it is undone; what would have followed never ran."""
    broken = leaf("break", args={"name": "broken", "how": "typed"}, retry={"max_attempts": 1})
    undone = local(put(x=1), compensate=put())
    graph = chain(a=undone, b=local(broken), c=local(leaf("note_activity")))
    handle = await served.start({**graph, "saga": {}})
    error = await error_of(handle)
    assert (error.type, error.message) == ("NO_STOCK", "node 'b': no stock")
    (details,) = error.details
    assert (details["node"], details["cause"], details["compensated"]) == ("b", [{"left": 0}], ["a"])
    assert attempts[f"{handle.id} c"] == 0


async def test_a_run_that_is_cancelled_in_a_segment_undoes_all_that_began_there(served: Served) -> None:
    name = served.task_queue
    stuck = local(leaf("dawdle", args={"name": name}), compensate=put())
    graph = chain(a=local(put(x=1), compensate=put()), b=stuck, c=local(leaf("note_activity")))
    handle = await start(served, {**graph, "saga": {}})
    await until(lambda: attempts[f"{name} begun"] > 0)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as failed:
        await asyncio.wait_for(handle.result(), PATIENCE)
    assert isinstance(failed.value.cause, CancelledError)
    status = await handle.query("status")
    assert {name: each["status"] for name, each in status["nodes"].items()} == {
        "a": "succeeded",
        "b": "cancelled",
        "c": "cancelled",
    }
    assert status["compensated"] == ["b", "a"]
    assert attempts[f"{handle.id} c"] == 0


Heard = Literal["activity_task_completed_event_attributes", "workflow_execution_signaled_event_attributes"]


async def until_heard(handle: Handle, what: Heard) -> None:
    """Until a workflow task that has heard of it is over, as far as that can be while local nodes run."""
    has_happened = False
    async for event in handle.fetch_history_events(wait_new_event=True):
        has_happened = has_happened or event.HasField(what)
        if has_happened and event.HasField("workflow_task_completed_event_attributes"):
            return


async def test_a_run_is_cancelled_at_once_while_a_segment_waits_for_another_local_node(
    client: Client, task_queue: str, tmp_path: Path, mode: str
) -> None:
    limits = replace(RUN_LIMITS, task_local_bytes=1)  # so that one local activity is under way at a time
    stuck = local(leaf("pass_gate", args={"name": task_queue, "y": 1}))
    graph = chain(first=put(x=1), a=rule(a=1), b=rule(b=1))
    graph["nodes"]["stuck"] = stuck
    async with worker_for(client, task_queue, tmp_path, mode=mode, limits=limits) as served, gate(task_queue):
        handle = await served.client.start_workflow(
            "GraphWorkflow",
            {"graph": {"name": "g", **graph}},
            id=task_queue,
            task_queue=task_queue,
            task_timeout=timedelta(seconds=1),
        )
        await until(lambda: attempts[task_queue] > 0)
        await until_heard(handle, "activity_task_completed_event_attributes")
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as failed:
            await asyncio.wait_for(handle.result(), PATIENCE)
        assert isinstance(failed.value.cause, CancelledError)
        status = await handle.query("status")
    assert {name: each["status"] for name, each in status["nodes"].items()} == {
        "first": "succeeded",
        "a": "cancelled",
        "b": "cancelled",
        "stuck": "cancelled",
    }
    assert await local_activities(handle) == ["a → b", "stuck (python)"]


@pytest.mark.parametrize("seconds", [0.05, 0], ids=["of two nodes", "of one node"])
async def test_a_run_that_is_paused_in_a_segment_starts_nothing_once_that_is_over(
    served: Served, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    name = served.task_queue
    monkeypatch.setattr("anabranch.activities.segments.SEGMENT_SECONDS", seconds)
    waiting = local(leaf("pass_gate", args={"name": name, "y": 1}))
    graph = chain(a=local(put(x=1)), b=waiting, c=local(put(z=1)))
    async with gate(name) as opened:
        handle = await start(served, graph)
        await until(lambda: attempts[name] > 0)
        writing = asyncio.create_task(
            handle.execute_update("write_context", {"changes": {"w": 1}, "base_version": 1, "by": "service"})
        )
        await handle.signal("pause")
        await until_heard(handle, "workflow_execution_signaled_event_attributes")
        opened.set()
        status = await until_status(handle, "c", "ready")
    assert status["nodes"]["b"]["status"] == "succeeded"
    await asyncio.wait_for(writing, PATIENCE)
    await handle.signal("resume")
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["data"] == {"x": 1, "y": 1, "z": 1, "w": 1}


async def test_the_timeout_of_a_block_ends_a_local_node_in_it_that_others_would_follow(served: Served) -> None:
    name = served.task_queue
    body = chain(a=local(leaf("dawdle", args={"name": name})), b=local(leaf("note_activity")))
    handle = await start(served, {"nodes": {"block": {"type": "block", "timeout": "500ms", **body}}})
    error = await error_of(handle)
    assert (error.type, error.details[0]["node"]) == ("TIMEOUT", "block")
    assert attempts[f"{handle.id} block/b"] == 0


async def test_what_follows_a_local_node_does_not_run_ahead_of_what_waits_for_a_yield(
    client: Client, task_queue: str, tmp_path: Path, mode: str
) -> None:
    """It may end the run: then nothing has run that the run does not know of."""
    limits = replace(RUN_LIMITS, task_nodes=1)
    async with worker_for(client, task_queue, tmp_path, mode=mode, limits=limits) as served, gate(task_queue) as opened:
        ends = {"type": "fail", "code": "NO_STOCK"}
        waits = local(leaf("pass_gate", args={"name": task_queue}))
        graph = {"nodes": {"a": waits, "b": local(leaf("note_activity")), "ends": ends}, "edges": [edge("a", "b")]}
        handle = await start(served, graph)
        await until(lambda: attempts[task_queue] > 0)
        await until_heard(handle, "workflow_execution_signaled_event_attributes")
        opened.set()
        assert (await error_of(handle)).type == "NO_STOCK"
        assert attempts[f"{handle.id} b"] == 0


async def test_a_time_out_in_a_segment_is_that_of_an_attempt(served: Served) -> None:
    """It is tried again whatever codes are not to be, and tells nothing beside its message."""
    name = served.task_queue
    retry = {"max_attempts": 2, "initial_interval": "10ms", "non_retryable": ["TIMEOUT"]}
    slow = local(leaf("dawdle", args={"name": name}), timeout="100ms", retry=retry)
    error = await error_of(await served.start(chain(a=local(put(x=1)), b=slow, c=local(put(y=1)))))
    assert (error.type, error.message) == ("TIMEOUT", "node 'b' timed out (start to close)")
    assert error.details[0]["cause"] == []
    assert attempts[f"{name} begun"] == 2


async def test_rules_that_are_ready_together_are_one_activity(served: Served) -> None:
    """In the body of a `foreach` with what follows them, and beside each other."""
    body = chain(p=rule(q="{{ item }}"), r=rule(z="{{ q + 1 }}"))
    each = {"type": "foreach", "items": "[1, 2, 3]", "body": body, "collect": {"into": "o", "value": "z"}}
    wide = {name: rule(**{name: "{{ o[0] }}"}) for name in "abc"}
    graph = {"nodes": {"each": each, **wide}, "edges": [edge("each", name) for name in wide]}
    handle = await served.start(graph)
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["data"] == {"o": [2, 3, 4], "a": 2, "b": 2, "c": 2}
    assert await local_activities(handle) == ["each/p → each/r", "a, b, c"]


async def test_other_nodes_that_are_ready_together_wait_for_nobody(served: Served) -> None:
    """How long they take nobody knows: what is done first goes on first."""
    name = served.task_queue
    async with gate(name) as opened:
        slow = local(leaf("pass_gate", args={"name": name}))
        graph = {
            "nodes": {"slow": slow, "a": local(put(x=1)), "b": local(leaf("pass_gate", args={"name": f"{name} b"}))},
            "edges": [edge("a", "b")],
        }
        async with gate(f"{name} b") as second:
            handle = await served.start(graph)
            await until(lambda: attempts[f"{name} b"] > 0)
            second.set()
        opened.set()
        await asyncio.wait_for(handle.result(), PATIENCE)
    assert (await local_activities(handle))[0] == "a (python)"


async def test_a_rule_that_fails_beside_others_is_the_only_one_to_fail(served: Served) -> None:
    broken = {"type": "rule", "local": True, "rules": [{"then": {"y": "{{ 1 / n }}"}}]}
    graph = {"nodes": {"a": rule(x=1), "b": {**broken, "on_failure": "continue"}, "c": rule(z=1)}}
    handle = await served.start(graph, {"n": 0})
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["data"] == {"n": 0, "x": 1, "z": 1}
    status = await handle.query("status")
    assert status["nodes"]["b"]["status"] == "failed"
    assert (await local_activities(handle))[0] == "a, b, c"
