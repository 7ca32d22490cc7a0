"""`finally` on a real server: after success, failure and cancellation; in children; in the hands of the next worker."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import CancelledError

from tests.integration.graph_kit import (
    MODES,
    PATIENCE,
    Served,
    attempts,
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

ONCE: dict[str, Any] = {"retry": {"max_attempts": 1}}
UNDONE = {**put(x=1), "compensate": put()}


@pytest.fixture
def mode() -> str:
    return MODES[1]


def ended(status: dict[str, Any]) -> dict[str, str]:
    return {name: node["status"] for name, node in status["nodes"].items()}


async def test_it_tells_of_a_failure_once_all_is_undone_and_the_error_says_what_it_did(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "anabranch")
    served.write("page", yaml.safe_dump({"name": "page", **chain(p=put(paged="{{ outcome.error.code }}"))}))
    page = {"type": "graph", "graph": "page", "mode": "child_workflow", "input": {"outcome": "{{ outcome }}"}}
    body = {"nodes": {"line": put(line="{{ step }} of {{ outcome.status }}")}}
    each = {"type": "foreach", "items": "outcome.compensated", "as": "step", "body": body}
    last = chain(
        note={"type": "rule", "rules": [{"then": {"seen": "{{ has(context.x) }}"}}]},
        page={**page, "output": {"paged": "result.paged"}},
        log={**each, "collect": {"into": "lines", "value": "line"}},
        lost=leaf("break", args={"name": f"{served.task_queue} lost", "how": "typed"}, **ONCE),
    )
    own = chain(reserve=UNDONE, pay=leaf("break", args={"name": served.task_queue, "how": "definite"}, **ONCE))
    handle = await served.start({**own, "saga": {}, "finally": last}, {"n": 1})
    error = await error_of(handle)
    details = error.details[0]
    assert (error.type, details["node"], details["compensated"]) == ("NODE_FAILED", "pay", ["reserve"])
    assert details["finally"] == {"seen": False, "paged": "NODE_FAILED", "lines": ["reserve of failed"]}
    assert (details["finally_failed"]["code"], details["finally_failed"]["node"]) == ("NO_STOCK", "finally/lost")
    assert error.message.endswith("; its `finally` failed too")
    status = await handle.query("status")
    assert (status["status"], status["failure"]["code"], status["finally_failed"]["code"]) == (
        *("failed", "NODE_FAILED"),
        "NO_STOCK",
    )
    logged = [(each.getMessage(), vars(each).get("code")) for each in caplog.records if each.name == "anabranch.run"]
    assert logged[-2:] == [("Finally failed", "NO_STOCK"), ("Run failed", "NODE_FAILED")]
    order = [each.activity_task_scheduled_event_attributes.activity_id for each in await events(handle)]
    assert [each for each in order if each] == [
        *("reserve", "pay", "undo reserve", "finally/note", "finally/log[0]/line", "finally/lost")
    ]


async def test_a_cancelled_run_is_undone_and_no_second_cancellation_ends_its_finally(served: Served) -> None:
    async with gate(served.task_queue) as opened:
        held = leaf("pass_gate", args={"name": served.task_queue, "told": "{{ outcome.status }}"}, timeout="200s")
        last = chain(tell=held, after=put(after="{{ told }}"))
        slow = leaf("dawdle", args={"name": f"{served.task_queue} slow"}, heartbeat="3s")
        handle = await served.start({**chain(reserve=UNDONE, slow=slow), "finally": last})
        await until_status(handle, "slow", "running")
        await handle.cancel()
        status = await until_status(handle, "finally/tell", "running")
        assert (status["status"], status["compensated"]) == ("finishing", ["reserve"])
        await handle.cancel()
        number = (await handle.query("context"))["number"]
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await handle.execute_update("write_context", {"changes": {"x": 1}, "base_version": number})
        assert "the run is over" in str(refused.value.cause)
        opened.set()
        await asyncio.wait([asyncio.ensure_future(handle.result())])
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED
    status = await handle.query("status")
    assert ended(status) == {
        "reserve": "succeeded",
        "slow": "cancelled",
        "finally/tell": "succeeded",
        "finally/after": "succeeded",
    }
    assert (await handle.query("context"))["data"] == {"told": "cancelled", "after": "cancelled"}


async def test_a_cancellation_while_it_runs_leaves_a_completed_run_completed(served: Served) -> None:
    async with gate(served.task_queue) as opened:
        held = leaf("pass_gate", args={"name": served.task_queue, "told": "{{ outcome.status }}"}, timeout="200s")
        graph = {**chain(a=put(x=1)), "result": {"twice": "x * 2"}, "finally": chain(tell=held, more=put(more=1))}
        handle = await served.start(graph)
        await until_status(handle, "finally/tell", "running")
        await handle.cancel()
        await handle.signal("pause")
        await handle.signal("resume")
        opened.set()
        result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert (result["status"], result["data"], result["finally"], result["version"]) == (
        *("completed", {"twice": 2}, {"told": "completed", "more": 1}),
        4,
    )


async def test_its_time_runs_out_its_bodies_are_tried_again_and_people_are_asked_in_it(served: Served) -> None:
    trip = chain(hotel=put(), flight=leaf("break_first", **ONCE))
    again = {"retry": {"max_attempts": 2, "initial_interval": "100ms"}}
    last = chain(
        trip={"type": "foreach", "items": "[1]", "body": trip, **again},
        ask={"type": "approval", "prompt": "{{ outcome.status }}?", "output": {"who": "result"}},
        slow={"type": "wait", "for": "1h"},
        never=put(never=True),
    )
    handle = await served.start({**chain(a=put(x=1)), "finally": {**last, "timeout": "20s"}})
    status = await until_status(handle, "finally/ask", "waiting")
    assert status["approvals"]["finally/ask"]["prompt"] == "completed?"
    await handle.execute_update("complete_task", {"node": "finally/ask", "answer": "Ada"})
    stopped = leaf("dawdle", args={"name": served.task_queue}, heartbeat="3s")
    late = await served.start({**chain(a=put(x=1)), "finally": {**chain(slow=stopped), "timeout": "300ms"}})
    result = await asyncio.wait_for(late.result(), PATIENCE)
    error = result["finally_failed"]
    assert (result["status"], error["code"], error["node"]) == ("completed", "TIMEOUT", "finally")
    assert error["message"] == "the `finally` did not end within its `timeout` of 0.3 s"
    assert attempts[f"{served.task_queue} cancelled"] == 1
    await until_status(handle, "finally/slow", "waiting")
    assert (await handle.query("context"))["data"] == {"x": 1, "arrived": "finally/trip~2[0]/flight", "who": "Ada"}
    await handle.terminate()
    assert "finally/never" not in await scheduled(served.client, handle)


async def test_children_have_each_their_own_and_are_awaited_with_it(served: Served) -> None:
    inner = {
        **chain(p={**put(x="{{ n }}"), "compensate": put()}, odd={"type": "fail", "code": "ODD", "when": "n % 2 == 1"}),
        "finally": chain(tell=put(told="{{ outcome.status }} {{ n }}")),
    }
    served.write("inner", yaml.safe_dump({"name": "inner", **inner}))
    child = {"type": "graph", "graph": "inner", "mode": "child_workflow", "input": {"n": "{{ item }}"}}
    each = {
        "type": "foreach",
        "items": "[1, 2, 4]",
        "body": {"nodes": {"child": {**child, "output": {"told": "result.told"}}}},
        "collect": {"into": "told", "value": "told"},
        "on_item_failure": "collect",
        "failed": "bad",
    }
    waits = {**chain(nap={"type": "wait", "for": "1h"}), "finally": chain(nap={"type": "wait", "for": "200ms"})}
    served.write("waits", yaml.safe_dump({"name": "waits", **waits}))
    late = {"type": "graph", "graph": "waits", "mode": "child_workflow", "timeout": "300ms"}
    graph = chain(each=each, late={**late, "on_failure": "continue"})
    handle = await served.start(graph)
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["data"]["told"] == ["completed 2", "completed 4"]
    assert [bad["error"]["code"] for bad in result["data"]["bad"]] == ["ODD"]
    odd = served.client.get_workflow_handle(f"{handle.id}/each[0]/child")
    assert (await odd.query("context"))["data"] == {"n": 1, "told": "failed 1"}
    napped = served.client.get_workflow_handle(f"{handle.id}/late")
    assert ended(await napped.query("status")) == {"nap": "cancelled", "finally/nap": "succeeded"}
    assert (await napped.describe()).status is WorkflowExecutionStatus.CANCELED


async def test_another_worker_goes_on_with_it_as_if_nothing_had_happened(
    client: Client, task_queue: str, tmp_path: Path
) -> None:
    last = chain(tell=put(told="{{ outcome.error.code }}"), ask={"type": "approval"}, more=put(more="{{ told }}"))
    broken = leaf("break", args={"name": task_queue, "how": "typed"}, **ONCE)
    async with worker_for(client, task_queue, tmp_path) as served:
        handle = await served.start({**chain(a=UNDONE, b=broken), "finally": last})
        await until_status(handle, "finally/ask", "waiting")
    async with worker_for(client, task_queue, tmp_path, mode=MODES[1]):
        await handle.execute_update("complete_task", {"node": "finally/ask", "answer": {"yes": True}})
        error = await error_of(handle)
    assert error.details[0]["finally"] == {"told": "NO_STOCK", "yes": True, "more": "NO_STOCK"}


async def test_what_lost_a_race_is_cancelled_when_it_begins(served: Served) -> None:
    slow = leaf("dawdle", args={"name": served.task_queue}, heartbeat="3s")
    nodes = {"near": put(x=1), "far": slow, "first": {**put(y=1), "join": "first"}}
    own = {"nodes": nodes, "edges": [edge("near", "first"), edge("far", "first")]}
    last = chain(nap={"type": "wait", "for": "1s"}, tell=put(told="{{ outcome.status }}"))
    handle = await served.start({**own, "finally": last})
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["data"] == {"x": 1, "y": 1, "told": "completed"}
    assert attempts[f"{served.task_queue} cancelled"] == 1


async def test_that_of_a_block_runs_behind_its_failure_and_a_cancelled_run_waits_for_it(served: Served) -> None:
    broken = leaf("break", args={"name": served.task_queue, "how": "typed"}, **ONCE)
    tell, ask = put(told="{{ outcome.status }}"), {"type": "approval"}
    nodes = {
        "trip": {"type": "block", **chain(book=UNDONE, pay=broken), "finally": chain(tell=tell)},
        "stay": {"type": "block", **chain(note=UNDONE, ask=ask), "finally": chain(tell=tell, held=ask)},
    }
    handle = await served.start({"nodes": nodes, "edges": [edge("trip", "stay", outcome="failure")]})
    await until_status(handle, "stay/ask", "waiting")
    assert (await handle.query("context"))["data"]["told"] == "failed"
    await handle.cancel()
    await until_status(handle, "stay/finally/held", "waiting")
    await handle.cancel()
    await handle.execute_update("complete_task", {"node": "stay/finally/held", "answer": {}})
    with pytest.raises(WorkflowFailureError) as failed:
        await asyncio.wait_for(handle.result(), PATIENCE)
    assert isinstance(failed.value.cause, CancelledError)
    order = [each.activity_task_scheduled_event_attributes.activity_id for each in await events(handle)]
    assert [each for each in order if each] == [
        *("trip/book", "trip/pay", "undo trip/book", "trip/finally/tell"),
        *("stay/note", "stay/finally/tell", "undo stay/note"),
    ]


async def test_the_span_of_a_block_that_failed_covers_its_finally(
    client: Client, task_queue: str, tmp_path: Path, exported: InMemorySpanExporter
) -> None:
    block: dict[str, Any] = {"type": "block", "retry": {"max_attempts": 2, "initial_interval": "10ms"}}
    block |= {"nodes": {"pay": leaf("break", args={"name": task_queue, "how": "unavailable"}, **ONCE)}}
    block |= {"finally": chain(tell=put(told=True))}
    async with worker_for(client, task_queue, tmp_path) as served:
        assert (await served.error(chain(trip=block))).type == "UNAVAILABLE"
    found = exported.get_finished_spans()
    first, second = sorted((each for each in found if each.name == "trip"), key=lambda span: span.start_time or 0)
    (tell,) = [each for each in found if each.name == "tell"]
    assert tell.parent is not None
    assert tell.parent.span_id == id_of(second)
    assert (tell.end_time or 0) <= (second.end_time or 0)
    assert (first.end_time or 0) <= (second.end_time or 0)
    assert (first.end_time or 0) < (tell.start_time or 0)
    pays = [each.parent.span_id for each in found if each.name == "pay" and each.parent is not None]
    assert sorted(pays) == sorted(map(id_of, (first, second)))


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)
