"""Sagas on a real server: what is undone, how it is named, and what Temporal's own command can do to a run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecutionStatus

from anabranch.activities import node
from anabranch.context.distributed import DistributedContext
from anabranch.dev.devserver import DevServer, temporal_command
from anabranch.errors import NodeError, Unavailable
from tests.acceptance.worker_process import service
from tests.integration.graph_kit import (
    BOTH_WAYS,
    Served,
    chain,
    edge,
    error_of,
    events,
    gate,
    leaf,
    put,
    scheduled,
    until_status,
    worker_for,
)


@pytest.fixture(params=BOTH_WAYS)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def step(handler: str = "put", *, undo: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return leaf(handler, compensate=undo or put(), **fields)


def broken(name: str, **fields: Any) -> dict[str, Any]:
    return leaf("break", args={"name": name}, **fields)


@node("stumble")
async def stumble(_: DistributedContext) -> None:
    """Be given no answer at first, then a refusal."""
    if activity.info().attempt == 1:
        raise Unavailable("nobody answers")
    raise NodeError("there is one already")


@node("collapse")
async def collapse(_: DistributedContext) -> None:
    """Fail in a way that nobody has foreseen."""
    raise ConnectionResetError("lost")


async def undone(served: Served, handle: Any) -> list[str]:
    found = await scheduled(served.client, handle)
    return [address.removeprefix("undo ") for address in found if address.startswith("undo ")]


async def until_not_compensated(handle: Any) -> dict[str, Any]:
    """The status, once a compensation has failed."""
    status: dict[str, Any] = {}
    for _ in range(2000):
        status = await handle.query("status")
        if "not_compensated" in status:
            return status
        await asyncio.sleep(0.05)
    raise AssertionError(f"no compensation has failed in time: {status}")


async def until_scheduled(served: Served, handle: Any, address: str) -> HistoryEvent:
    """Wait until an activity is scheduled."""
    for _ in range(400):
        if (found := (await scheduled(served.client, handle)).get(address)) is not None:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"{address!r} is not scheduled in time")


async def until_completed(handle: Any, count: int) -> None:
    """Wait until so many activities have completed."""
    for _ in range(2000):
        kinds = [event.event_type for event in await events(handle)]
        if kinds.count(EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED) == count:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{count} activities have not completed in time")


async def test_a_failed_run_is_undone_backwards_and_its_error_says_so(served: Served) -> None:
    graph = chain(a=step(args={"x": 1}), b=step(), c=broken(served.task_queue))
    error = await served.error(graph, {"x": 0})
    assert (error.type, error.details[0]["compensated"], error.details[0]["not_compensated"]) == (
        "NODE_FAILED",
        ["b", "a"],
        [],
    )


async def test_a_step_that_had_no_answer_before_it_was_refused_may_have_happened(served: Served) -> None:
    retry = {"max_attempts": 3, "initial_interval": "10ms"}
    error = await served.error(chain(a=step(), b=step("stumble", retry=retry)))
    assert (error.type, error.details[0]["compensated"]) == ("NODE_FAILED", ["b", "a"])


async def test_a_step_whose_every_attempt_broke_off_may_have_happened(served: Served) -> None:
    twice = {"max_attempts": 2, "initial_interval": "10ms"}
    error = await served.error(chain(a=step(), b=step("collapse", retry=twice)))
    assert (error.type, error.details[0]["compensated"]) == ("ConnectionResetError", ["b", "a"])


async def test_the_timeline_names_a_compensation_after_its_node(served: Served) -> None:
    handle = await served.start(chain(a=step(), b=broken(served.task_queue)))
    await asyncio.wait([asyncio.ensure_future(handle.result())])
    found = await scheduled(served.client, handle)
    (summary,) = await served.client.data_converter.decode([found["undo a"].user_metadata.summary], [str])
    assert summary == "undo a"


async def test_the_context_is_rolled_back_and_keeps_what_compensations_wrote(served: Served) -> None:
    undo = leaf(
        args={"refunded": "{{ x }} after {{ error.type }}"}, reads=("x", "kept"), output={"refunded": "result.refunded"}
    )
    handle = await served.start(chain(a=step(undo=undo, args={"x": 1}), b=broken(served.task_queue)), {"x": 0})
    await asyncio.wait([asyncio.ensure_future(handle.result())])
    assert (await handle.query("context"))["data"] == {"x": 0, "refunded": "1 after NODE_FAILED"}
    trail = await handle.query("history")
    assert [entry["kind"] for entry in trail] == ["input", "node", "compensation", "rollback"]


@pytest.mark.parametrize(
    "undo",
    [
        put(x="undone"),
        leaf("add", args={"key": "n", "amount": 1}, reads=("n",)),
        {"type": "http", "method": "DELETE", "url": "{{ shop }}/a"},
        {"type": "activity", "activity": "record_history", "args": [{"events": 1, "size": 1, "is_suggested": False}]},
    ],
    ids=["python returns", "python changes", "http", "activity"],
)
async def test_a_compensation_without_output_writes_nothing(
    client: Client, task_queue: str, tmp_path: Path, undo: dict[str, Any]
) -> None:
    async with service() as shop, worker_for(client, task_queue, tmp_path, http_allow_private=True) as served:
        shop.opened.set()
        data: dict[str, Any] = {"n": 0, "shop": f"http://127.0.0.1:{shop.port}"}
        handle = await served.start(chain(a=step(args={"x": 1}, undo=undo), b=broken(served.task_queue)), data)
        error = await error_of(handle)
        assert error.details[0]["compensated"] == ["a"]
        assert (await handle.query("context"))["data"] == data


async def test_a_compensation_that_fails_is_named_with_its_reason(served: Served) -> None:
    graph = chain(a=step(), b=step(undo=broken(f"undo {served.task_queue}")), c=broken(served.task_queue))
    error = await served.error(graph)
    reported = error.details[0]
    assert (reported["compensated"], reported["not_compensated"]) == (["a"], ["b"])
    assert reported["reasons"]["b"]["type"] == "NODE_FAILED"


async def test_past_the_deadline_a_compensation_fails_and_the_others_are_tried_once(served: Served) -> None:
    stuck = leaf("break", args={"name": f"undo {served.task_queue}", "how": "unforeseen"})
    graph = chain(a=step(), b=step(undo=stuck), c=broken(served.task_queue))
    error = await served.error({**graph, "saga": {"deadline": "500ms"}})
    reported = error.details[0]
    assert (reported["compensated"], reported["not_compensated"]) == (["a"], ["b"])


async def test_past_the_deadline_a_compensation_waits_for_a_worker_no_longer_than_a_minute(served: Served) -> None:
    lost = put() | {"task_queue": f"{served.task_queue}-nobody"}
    graph = chain(a=step(), b=step(undo=lost), c=step(undo=lost), d=broken(served.task_queue))
    handle = await served.start({**graph, "saga": {"deadline": "300ms"}})
    found = await until_scheduled(served, handle, "undo b")  # that of c is given up at the deadline
    past = found.activity_task_scheduled_event_attributes
    assert (past.schedule_to_close_timeout.seconds, past.retry_policy.maximum_attempts) == (90, 1)
    await handle.terminate()


async def test_a_node_that_no_worker_takes_times_out_without_having_begun(served: Served) -> None:
    waiting = step(task_queue=f"{served.task_queue}-nobody", queue_timeout="200ms")
    error = await served.error(chain(a=step(), b=waiting))
    reported = error.details[0]
    assert (reported["code"], reported["outcome"], reported["compensated"]) == ("QUEUE_TIMEOUT", "timeout", ["a"])
    assert f"no worker took it from the task queue '{served.task_queue}-nobody' in time" in error.message
    assert "effects_left" not in reported


async def test_a_failure_edge_on_a_timeout_is_taken_where_no_worker_takes_a_node(served: Served) -> None:
    waiting = leaf(task_queue=f"{served.task_queue}-nobody", total_timeout="200ms")
    graph = {"nodes": {"a": waiting, "b": put(late=True)}, "edges": [edge("a", "b", outcome="timeout")]}
    assert (await served.run(graph))["data"] == {"late": True}


async def test_a_node_whose_attempt_was_taken_before_is_undone_though_no_worker_takes_the_next(
    client: Client, task_queue: str, tmp_path: Path
) -> None:
    other = f"{task_queue}-other"
    retry = {"max_attempts": 5, "initial_interval": "10ms"}
    waiting = step("dawdle", args={"name": task_queue}, task_queue=other, timeout="1s", queue_timeout="2s", retry=retry)
    async with worker_for(client, task_queue, tmp_path) as served:
        async with worker_for(client, other, tmp_path):
            handle = await served.start(chain(a=step(), b=waiting))
            await until_status(handle, "b", "running")
            for _ in range(400):
                if [each for each in (await handle.describe()).raw_description.pending_activities if each.attempt > 1]:
                    break
                await asyncio.sleep(0.05)
        error = await error_of(handle)
    assert error.details[0]["compensated"] == ["b", "a"]


async def test_all_attempts_together_take_no_longer_than_the_total_timeout(served: Served) -> None:
    retry = {"max_attempts": 0, "initial_interval": "50ms"}
    stuck = step("break", args={"name": served.task_queue, "how": "unavailable"}, total_timeout="500ms", retry=retry)
    error = await served.error(chain(a=step(), b=stuck))
    assert error.details[0]["compensated"] == ["b", "a"]


async def test_an_operator_decides_about_a_failed_compensation(served: Served) -> None:
    graph = chain(a=step(), b=step(undo=broken(f"undo {served.task_queue}")), c=broken(served.task_queue))
    handle = await served.start({**graph, "saga": {"on_compensation_failure": "pause"}})
    status = await until_not_compensated(handle)
    assert (status["status"], list(status["not_compensated"])) == ("compensating", ["b"])
    await handle.execute_update("skip_node", {"node": "undo b"})
    await asyncio.wait([asyncio.ensure_future(handle.result())])
    status = await handle.query("status")
    assert (status["status"], status["compensated"]) == ("failed", ["b", "a"])
    assert "not_compensated" not in status


async def test_what_is_cancelled_before_it_is_scheduled_is_not_undone(served: Served) -> None:
    """`slow` is scheduled and cancelled by the same workflow task: the next node's items are not a list."""
    graph = {
        "nodes": {
            "first": step(),
            "slow": step("dawdle", args={"name": served.task_queue}, heartbeat="3s"),
            "wrong": {"type": "foreach", "items": "1", "body": {"nodes": {"w": put()}}},
        },
        "edges": [edge("first", "slow"), edge("first", "wrong")],
    }
    handle = await served.start(graph)
    await asyncio.wait([asyncio.ensure_future(handle.result())])
    assert list(await scheduled(served.client, handle)) == ["first", "undo first"]


async def test_temporal_s_own_command_cancels_and_the_run_is_undone(served: Served, dev_server: DevServer) -> None:
    slow = step("dawdle", args={"name": served.task_queue}, heartbeat="3s")
    handle = await served.start(chain(a=step(args={"x": 1}), b=slow), {"x": 0})
    await until_status(handle, "b", "running")
    command = [temporal_command(), "workflow", "cancel", "--workflow-id", handle.id, "--address", dev_server.address]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0
    await asyncio.wait([asyncio.ensure_future(handle.result())])
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED
    assert await undone(served, handle) == ["b", "a"]
    status = await handle.query("status")
    assert (status["status"], status["compensated"]) == ("cancelled", ["b", "a"])
    assert (await handle.query("context"))["data"] == {"x": 0}


async def test_a_cancelled_run_whose_compensation_failed_ends_as_failed_and_names_it(
    served: Served, dev_server: DevServer
) -> None:
    slow = leaf("dawdle", args={"name": served.task_queue}, heartbeat="3s")
    stuck = step(undo=broken(f"undo {served.task_queue}"))
    handle = await served.start(chain(a=step(args={"x": 1}), b=stuck, c=slow), {"x": 0})
    await until_status(handle, "c", "running")
    await handle.cancel()
    error = await error_of(handle)
    reported = error.details[0]
    assert (error.type, error.message) == ("CANCELLED", "the run was cancelled; not compensated: 'b'")
    assert (reported["node"], reported["outcome"], reported["compensated"], reported["not_compensated"]) == (
        "",
        "cancelled",
        ["a"],
        ["b"],
    )
    assert reported["reasons"]["b"]["type"] == "NODE_FAILED"
    assert (await handle.describe()).status is WorkflowExecutionStatus.FAILED
    status = await handle.query("status")
    assert (status["status"], list(status["not_compensated"])) == ("failed", ["b"])
    command = [temporal_command(), "workflow", "show", "--workflow-id", handle.id, "--address", dev_server.address]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    shown, _ = await process.communicate()
    assert b"not compensated: 'b'" in shown


async def test_a_child_that_is_cancelled_and_not_wholly_undone_may_have_happened(served: Served) -> None:
    slow = leaf("dawdle", args={"name": served.task_queue}, heartbeat="3s")
    inner = {"name": "inner", **chain(b=step(undo=broken(f"undo {served.task_queue}")), slow=slow)}
    served.write("inner", yaml.safe_dump(inner))
    child = {"type": "graph", "graph": "inner", "mode": "child_workflow", "compensate": put(released=True)}
    handle = await served.start(chain(a=step(), child=child))
    await until_status(handle, "child", "running")
    await until_status(served.client.get_workflow_handle(f"{handle.id}/child"), "slow", "running")
    await handle.cancel()
    await asyncio.wait([asyncio.ensure_future(handle.result())])
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED
    status = await handle.query("status")
    assert (status["nodes"]["child"]["status"], status["compensated"]) == ("cancelled", ["child", "a"])


@pytest.mark.parametrize(
    ("inner", "undone", "ended"),
    [
        (step(), ["a"], WorkflowExecutionStatus.CANCELED),
        (put(), ["child", "a"], WorkflowExecutionStatus.FAILED),
    ],
    ids=["undid all", "left an effect"],
)
async def test_a_child_that_is_cancelled_is_undone_by_its_parent_where_it_left_effects(
    served: Served, inner: dict[str, Any], undone: list[str], ended: WorkflowExecutionStatus
) -> None:
    served.write("inner", yaml.safe_dump({"name": "inner", **chain(b=inner, wait={"type": "wait", "for": "1h"})}))
    child = {"type": "graph", "graph": "inner", "mode": "child_workflow", "compensate": put(released=True)}
    handle = await served.start(chain(a=step(), child=child))
    await until_status(handle, "child", "running")
    below = served.client.get_workflow_handle(f"{handle.id}/child")
    await until_status(below, "wait", "waiting")
    await handle.cancel()
    await asyncio.wait([asyncio.ensure_future(handle.result())])
    status = await handle.query("status")
    assert (status["nodes"]["child"]["status"], status["compensated"]) == ("cancelled", undone)
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED
    assert (await below.describe()).status is ended


async def test_before_a_pivot_that_timed_out_nothing_is_undone(served: Served) -> None:
    pay = leaf("dawdle", args={"name": served.task_queue}, timeout="300ms", retry={"max_attempts": 1}, pivot=True)
    handle = await served.start(chain(a=step(args={"x": 1}), pay=pay))
    error = await error_of(handle)
    reported = error.details[0]
    assert (reported["code"], reported["compensated"], reported["effects_left"]) == ("TIMEOUT", [], True)
    assert (await handle.query("context"))["data"] == {"x": 1}


async def test_a_node_whose_output_does_not_fit_what_it_did_is_undone(served: Served) -> None:
    error = await served.error(chain(a=step(), b=step(args={"x": 1}, output={"y": "result.missing"})))
    assert (error.details[0]["node"], error.details[0]["compensated"]) == ("b", ["b", "a"])


@pytest.mark.parametrize(
    ("inner", "undone"),
    [
        ({"b": step(undo=broken("refuse"))}, ["child", "a"]),
        ({"b": put()}, ["child", "a"]),
        ({"b": step(), "pay": leaf(pivot=True)}, ["child", "a"]),
        ({"b": step()}, ["a"]),
        ({}, ["a"]),
    ],
    ids=["a compensation failed", "a step has none", "past a pivot", "all is undone", "nothing was done"],
)
async def test_a_child_that_failed_may_have_happened_where_it_left_effects(
    served: Served, inner: dict[str, Any], undone: list[str]
) -> None:
    served.write("inner", yaml.safe_dump({"name": "inner", **chain(**inner, ship=broken(served.task_queue))}))
    child = {"type": "graph", "graph": "inner", "mode": "child_workflow", "compensate": put(released=True)}
    error = await served.error(chain(a=step(), child=child))
    assert (error.type, error.details[0]["compensated"]) == ("NODE_FAILED", undone)


async def test_what_a_child_of_a_child_left_is_told_to_the_outermost(served: Served) -> None:
    served.write("inner", yaml.safe_dump({"name": "inner", **chain(b=put(), ship=broken(served.task_queue))}))
    nested = {"type": "graph", "graph": "inner", "mode": "child_workflow"}
    served.write("middle", yaml.safe_dump({"name": "middle", **chain(nested=nested)}))
    child = {"type": "graph", "graph": "middle", "mode": "child_workflow", "compensate": put(released=True)}
    error = await served.error(chain(a=step(), child=child))
    assert error.details[0]["compensated"] == ["child", "a"]


async def test_a_node_that_waits_at_its_join_when_the_run_is_cancelled_did_nothing(served: Served) -> None:
    steps = {name: step(args={"x": value}) for name, value in (("p", 1), ("q", 2))}
    body = {"nodes": {**steps, "j": put()}, "edges": [edge("p", "j"), edge("q", "j")]}
    each = {"type": "foreach", "items": "[1]", "body": body, "compensate": put()}
    handle = await served.start({"nodes": {"each": each}, "context": {"conflict_resolution": "fail_on_conflict"}})
    await until_status(handle, "each[0]/j", "conflict")
    await handle.cancel()
    await asyncio.wait([asyncio.ensure_future(handle.result())])
    assert sorted(await undone(served, handle)) == ["each[0]/p", "each[0]/q"]


@pytest.mark.parametrize("mode", BOTH_WAYS)
async def test_a_step_that_completes_in_the_very_task_that_cancels_the_run_is_undone(
    client: Client, task_queue: str, tmp_path: Path, mode: str
) -> None:
    other = f"{task_queue}-other"
    waiting = step("pass_gate", args={"name": task_queue}, task_queue=other, timeout="200s")
    async with worker_for(client, other, tmp_path), gate(task_queue) as opened:
        async with worker_for(client, task_queue, tmp_path, mode=mode) as served:
            handle = await served.start(chain(a=step(), b=waiting, c=put()))
            await until_status(handle, "b", "running")
        await handle.cancel()
        opened.set()
        await until_completed(handle, 2)
        async with worker_for(client, task_queue, tmp_path, mode=mode) as served:
            await asyncio.wait([asyncio.ensure_future(handle.result())])
            assert await undone(served, handle) == ["b", "a"]


async def test_terminating_a_run_undoes_nothing(served: Served) -> None:
    slow = step("dawdle", args={"name": served.task_queue}, heartbeat="3s")
    handle = await served.start(chain(a=step(), b=slow))
    await until_status(handle, "b", "running")
    await handle.terminate()
    assert await undone(served, handle) == []
    assert (await events(handle))[-1].HasField("workflow_execution_terminated_event_attributes")


async def test_steps_of_a_foreach_in_parallel_are_undone(served: Served) -> None:
    body = chain(p=step(), q=step())
    each = {"type": "foreach", "items": "[1, 2, 3]", "body": body}
    graph = chain(a=step(), each=each, c=broken(served.task_queue))
    error = await served.error({**graph, "saga": {"compensation": "parallel"}})
    expected = {"a", *(f"each[{index}]/{name}" for index in range(3) for name in "pq")}
    assert set(error.details[0]["compensated"]) == expected
