"""Runs that continue as new every few events end as those that never do, and lose no message on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.exceptions import CancelledError

from anabranch.dev.devserver import DevServer
from anabranch.limits import RUN_LIMITS, RunLimits
from anabranch.settings import Settings
from anabranch.transport.client import connect
from tests.integration.graph_kit import (
    BOTH_WAYS,
    MODES,
    PATIENCE,
    SUGGESTED_AT,
    Handle,
    Served,
    attempts,
    chain,
    diamond,
    edge,
    error_of,
    gate,
    halves,
    leaf,
    put,
    runs_of,
    scheduled,
    until,
    until_status,
    worker_for,
)
from tests.json_values import unchecked

ONCE: dict[str, Any] = {"retry": {"max_attempts": 1}}
HeldTo = Callable[[RunLimits], AbstractAsyncContextManager[Served]]


@pytest.fixture
async def impatient(impatient_server: DevServer) -> Client:
    return await connect(
        Settings(), target_host=impatient_server.address, namespace="default", api_key=None, tls=False, rpc_metadata={}
    )


@pytest.fixture
async def served(
    request: pytest.FixtureRequest, impatient: Client, task_queue: str, tmp_path: Path
) -> AsyncIterator[Served]:
    async with worker_for(impatient, task_queue, tmp_path, mode=getattr(request, "param", MODES[0])) as running:
        yield running


@pytest.fixture
def held_to(impatient: Client, task_queue: str, tmp_path: Path) -> HeldTo:
    """A worker whose runs are held to other limits."""
    return lambda limits: worker_for(impatient, task_queue, tmp_path, limits=limits)


@pytest.fixture
async def patient(client: Client, task_queue: str, tmp_path: Path) -> AsyncIterator[Served]:
    """The same on a server on which small runs never continue as new."""
    async with worker_for(client, task_queue, tmp_path) as running:
        yield running


def ticks(count: int, **fields: Any) -> dict[str, Any]:
    """A loop of `count` turns, each an activity; enough to continue as new."""
    body = chain(count=put(n="{{ n + 1 }}"))
    return {"type": "while", "while": f"n < {count}", "body": body, **fields}


def squares(count: int) -> dict[str, Any]:
    return {
        "type": "foreach",
        "items": str(list(range(count))),
        "max_concurrency": 4,
        "body": chain(square=put(s="{{ item * item }}"), add=put(total="{{ item }}")),
    }


def everything() -> tuple[dict[str, Any], dict[str, Any]]:
    """A graph with all that must be carried: bodies, branches, conflicts, reducers, skipped nodes."""
    each = squares(12)
    each["collect"] = {"into": "squares", "value": "s"}
    nodes = {
        "first": put(items=[1]),
        "loop": ticks(8),
        "each": each,
        "merge": squares(9),
        "left": put(items=[1, 2], name="left"),
        "right": put(items=[1, 3], name="right"),
        "never": {**put(never=True), "when": "n > 100"},
        "last": put(end="{{ size(squares) + n }}"),
    }
    pairs = [("first", "loop"), ("first", "each"), ("loop", "left"), ("each", "right"), ("first", "merge")]
    pairs += [("left", "never"), ("never", "last"), ("left", "last"), ("right", "last"), ("merge", "last")]
    merge = {"items": "append", "name": "merge_all", "total": "sum", "s": "max"}
    return {"nodes": nodes, "edges": [edge(*pair) for pair in pairs], "context": {"merge": merge}}, {"n": 0, "total": 0}


@pytest.mark.parametrize("served", BOTH_WAYS, indirect=True)
async def test_the_result_is_that_of_a_run_that_never_continues_as_new(served: Served, patient: Served) -> None:
    graph, data = everything()
    handle = await served.start(graph, data)
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    whole = await patient.run(graph, data)
    assert await runs_of(served.client, handle) >= 4
    assert result["data"] == whole["data"]
    assert result["data"]["items"] == [1, 2, 3]
    assert result["version"] == whole["version"]
    assert [_plain(each) for each in result["conflicts"]] == [_plain(each) for each in whole["conflicts"]]


def _plain(conflict: dict[str, Any]) -> dict[str, Any]:
    sides = [{name: each[name] for name in ("by", "value")} for each in conflict["candidates"]]
    return {**conflict, "candidates": sides}


async def test_batches_and_the_items_that_failed_in_them_go_on(served: Served) -> None:
    handle = await served.start({"nodes": {"each": halves(30, 2, max_concurrency=2)}})
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert await runs_of(served.client, handle) >= 2
    assert result["data"]["halves"] == list(range(15))
    assert [each["item"] for each in result["data"]["odd"]] == list(range(1, 30, 2))
    status = await handle.query("status")
    assert status["nodes"]["each"]["items"] == {"all": 30, "done": 15, "failed": 15, "running": 0}


async def test_the_history_goes_on_with_numbers_and_conflicts(served: Served) -> None:
    graph, data = everything()
    handle = await served.start(graph, data)
    await asyncio.wait_for(handle.result(), PATIENCE)
    history = await handle.query("history")
    assert [entry["number"] for entry in history] == list(range(history[0]["number"], history[-1]["number"] + 1))
    assert all(parent < entry["number"] for entry in history for parent in entry["parents"])
    told = {conflict["path"] for entry in history for conflict in entry.get("conflicts", ())}
    assert {"items", "name"} <= told


async def test_what_people_were_asked_waits_on_across_it(served: Served) -> None:
    """An approval and a conflict wait, one of its two paths settled, while a loop beside them continues as new."""
    graph = diamond(put(x=1, y=1), put(x=2, y=2), context={"conflict_resolution": "fail_on_conflict"})
    graph["nodes"] |= {"ask": {"type": "approval"}, "loop": ticks(16), "end": put(end="{{ [x, y, n] }}")}
    graph["edges"] += [edge(name, "end") for name in ("join", "ask", "loop")]
    handle = await served.start(graph, {"n": 0})
    await until_status(handle, "join", "conflict")
    await handle.execute_update("resolve_conflict", {"node": "join", "path": "x", "choose": "right"})
    await until_status(handle, "loop", "succeeded")
    assert await runs_of(served.client, handle) >= 3
    answer = await handle.execute_update("resolve_conflict", {"node": "join", "path": "y", "choose": "left"})
    assert answer["open"] == []
    await handle.execute_update("complete_task", {"node": "ask", "answer": {"ok": True}})
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["data"] == {"n": 16, "x": 2, "y": 1, "ok": True, "end": [2, 1, 16]}


async def test_answers_reminders_and_an_escalation_are_kept_across_it(served: Served) -> None:
    """One of two people has answered, and is reminded, while a loop beside it continues as new."""
    remind = {"after": "300ms", "every": "300ms", "times": 2, "node": put()}
    escalate = {"after": "200ms", "to": {"groups": ["directors"]}}
    ask = {"type": "approval", "answers": 2, "groups": ["clerks"], "remind": remind, "escalate": escalate}
    graph = {"nodes": {"ask": ask, "loop": ticks(40)}}
    handle = await served.start(graph, {"n": 0})
    await handle.execute_update("complete_task", {"node": "ask", "answer": {"a": 1}, "by": "ann"})
    await until_status(handle, "loop", "succeeded")
    assert await runs_of(served.client, handle) >= 3
    found: dict[str, Any] = {"reminders": {"sent": 0}}
    while found["reminders"]["sent"] < 2:
        found = (await handle.query("status"))["approvals"]["ask"]
    assert (found["groups"], found["answers"]["given"][0]["by"]) == (["directors"], "ann")
    await handle.execute_update("complete_task", {"node": "ask", "answer": {"b": 2}, "by": "bo"})
    data = (await asyncio.wait_for(handle.result(), PATIENCE))["data"]
    assert [(each["by"], each["answer"]) for each in data["answers"]] == [("ann", {"a": 1}), ("bo", {"b": 2})]


async def test_timers_go_on_with_the_time_that_is_left(served: Served) -> None:
    """Each wait is longer than one workflow run; asked anew in full, none of them would end before the loop."""
    late = {"conflict_resolution": "fail_on_conflict", "conflict_timeout": "500ms"}
    graph = diamond(put(x=1), put(x=2), context=late)
    graph["nodes"]["join"] = {**put(), "on_failure": "continue"}
    graph["nodes"] |= {
        "nap": {"type": "wait", "for": "500ms"},
        "ask": {"type": "approval", "timeout": "500ms", "on_failure": "continue"},
        "loop": {
            "type": "while",
            "while": "n < 25",
            "body": chain(pause={"type": "wait", "for": "50ms"}, count=put(n="{{ n + 1 }}")),
        },
    }
    handle = await served.start(graph, {"n": 0})
    told = await until_status(handle, "loop", "succeeded")
    assert await runs_of(served.client, handle) >= 4
    states = {name: told["nodes"][name]["status"] for name in ("nap", "ask", "join")}
    assert states == {"nap": "succeeded", "ask": "timed_out", "join": "failed"}
    assert all(told["nodes"][name]["ended"] - told["nodes"][name]["started"] >= 500 for name in states)
    assert all(told["nodes"][name]["ended"] < told["nodes"]["loop"]["ended"] for name in states)
    assert (await asyncio.wait_for(handle.result(), PATIENCE))["data"]["n"] == 25


@pytest.mark.parametrize("served", BOTH_WAYS, indirect=True)
async def test_no_update_and_no_signal_is_lost_however_many_come(served: Served) -> None:
    """Thirty services write at once, and a run of ten approvals is answered, while a loop continues as new."""
    asks = {f"ask{index}": {"type": "approval"} for index in range(10)}
    graph = {"nodes": {"loop": ticks(30), "stay": {"type": "approval"}, **asks}, "context": {"merge": {"total": "sum"}}}
    handle = await served.start(graph, {"n": 0, "total": 0})
    limit = asyncio.Semaphore(8)  # the server takes ten at a time

    async def tell(update: str, request: dict[str, Any]) -> Any:
        async with limit:
            return await handle.execute_update(update, request)

    await until_status(handle, "ask9", "waiting")
    writes = [tell("write_context", {"changes": {f"w{i}": i, "total": 1}, "base_version": 1}) for i in range(30)]
    answers = [tell("complete_task", {"node": name, "answer": {name: True}}) for name in asks]
    signals = [handle.signal(name) for _ in range(10) for name in ("pause", "resume")]
    numbers = [each["number"] for each in (await asyncio.gather(*writes, *answers, *signals))[:30]]
    await handle.signal("resume")
    await handle.execute_update("complete_task", {"node": "stay", "answer": None})
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert await runs_of(served.client, handle) >= 2  # how often depends on how many messages share a workflow task
    assert len(set(numbers)) == 30
    expected = {"n": 30, "total": 30, **{f"w{i}": i for i in range(30)}, **dict.fromkeys(asks, True)}
    assert result["data"] == expected


async def test_updates_are_heard_that_come_with_the_last_result_before_a_run_continues_as_new(
    impatient: Client, task_queue: str, tmp_path: Path
) -> None:
    """While nobody plays the run the last result comes, and updates: one workflow task brings them all."""
    limits = replace(RUN_LIMITS, drain_seconds=600)  # it waits for the result
    beside = f"{task_queue} beside"
    graph = chain(slow=leaf("pass_gate", args={"name": task_queue}, task_queue=beside), loop=ticks(30))
    graph["edges"] = []
    serving = partial(worker_for, impatient, task_queue, tmp_path, limits=limits)
    async with worker_for(impatient, beside, tmp_path), gate(task_queue) as opened:
        async with serving() as first:
            handle = await first.start(graph, {"n": 0})
            await until_still(handle)
        opened.set()
        await until_told(handle)
        writes = [
            asyncio.create_task(
                handle.execute_update("write_context", {"changes": {f"w{number}": number}, "base_version": 1})
            )
            for number in range(5)
        ]
        await asyncio.sleep(0.5)  # until the server has them; one that comes later is written later
        async with serving():
            numbers = [each["number"] for each in await asyncio.wait_for(asyncio.gather(*writes), PATIENCE)]
            result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert await runs_of(impatient, handle) >= 2
    assert len(set(numbers)) == 5
    assert result["data"].items() >= {"n": 30, **{f"w{number}": number for number in range(5)}}.items()


async def until_still(handle: Handle) -> None:
    """Until nothing has happened to a run for a second: it drains."""
    before = 0
    while (now := len((await handle.fetch_history()).events)) != before or now < SUGGESTED_AT:
        before = now
        await asyncio.sleep(1)


async def until_told(handle: Handle) -> None:
    """Until a workflow task waits for a worker that tells the run of an activity's end."""
    has_ended = False
    async for event in handle.fetch_history_events(wait_new_event=True):
        has_ended = has_ended or event.HasField("activity_task_completed_event_attributes")
        if has_ended and event.HasField("workflow_task_scheduled_event_attributes"):
            described = (await handle.describe()).raw_description
            if described.HasField("pending_workflow_task"):
                return


async def test_a_run_that_is_paused_stays_paused_and_is_resumed(served: Served) -> None:
    graph = chain(slow=leaf("pass_gate", args={"name": served.task_queue}), loop=ticks(6))
    wide = {f"n{index}": put(**{f"n{index}": 1}) for index in range(8)}
    graph["nodes"] |= wide
    async with gate(served.task_queue) as opened:
        handle = await served.start(graph, {"n": 0})
        await until_status(handle, "slow", "running")
        await handle.signal("pause")
        opened.set()
        told = await until_status(handle, "loop", "ready")
    while await runs_of(served.client, handle) < 2:
        await handle.signal("pause")
    assert (await handle.query("status"))["status"] == "paused"
    await handle.signal("resume")
    assert (await asyncio.wait_for(handle.result(), PATIENCE))["data"]["n"] == 6
    assert told["status"] == "paused"


def undo(what: str) -> dict[str, Any]:
    """A compensation that writes what it undoes."""
    return {**put(undone=what), "output": {"undone": "result.undone"}}


def undoable(**last: Any) -> dict[str, Any]:
    """Steps before the loop, in it and after it."""
    body = chain(count={**put(n="{{ n + 1 }}"), "compensate": undo("{{ string(n) }}")})
    return chain(
        reserve={**put(reserved=True), "compensate": undo("reserve")},
        loop={"type": "while", "while": "n < 10", "body": body},
        pay={**put(paid=True), "compensate": undo("pay")},
        last=leaf(**last),
    )


@pytest.mark.parametrize("served", BOTH_WAYS, indirect=True)
async def test_a_failure_undoes_the_steps_of_the_runs_before(served: Served) -> None:
    handle = await served.start(
        undoable(handler="break", args={"name": served.task_queue, "how": "typed"}, **ONCE), {"n": 0}
    )
    error = await error_of(handle)
    assert await runs_of(served.client, handle) >= 2
    steps = [f"loop[{index}]/count" for index in range(10)]
    assert error.type == "NO_STOCK"
    assert error.details[0]["compensated"] == ["pay", *reversed(steps), "reserve"]
    told = [entry["set"] for entry in await handle.query("history") if entry["kind"] == "compensation"]
    assert [each["undone"] for each in told] == ["pay", *(str(index) for index in range(10, 0, -1)), "reserve"]
    assert (await handle.query("context"))["data"] == {"n": 0, "undone": "reserve"}


async def test_a_block_in_which_the_run_continued_as_new_is_undone_as_a_whole_when_it_fails(served: Served) -> None:
    block = undoable(handler="break", args={"name": served.task_queue, "how": "typed"}, **ONCE)
    nodes = {"book": {"type": "block", **block}, "caught": put(caught="{{ error.type }}")}
    handle = await served.start({"nodes": nodes, "edges": [edge("book", "caught", outcome="failure")]}, {"n": 0})
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert await runs_of(served.client, handle) >= 2
    assert result["data"] == {"n": 0, "undone": "reserve", "caught": "NO_STOCK"}
    steps = [f"book/loop[{index}]/count" for index in reversed(range(10))]
    assert (await handle.query("status"))["compensated"] == ["book/pay", *steps, "book/reserve"]


async def test_a_cancellation_undoes_the_steps_of_the_runs_before(served: Served) -> None:
    handle = await served.start(undoable(handler="dawdle", args={"name": served.task_queue}, heartbeat="3s"), {"n": 0})
    await until_status(handle, "last", "running")
    assert await runs_of(served.client, handle) >= 2
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as ended:
        await asyncio.wait_for(handle.result(), PATIENCE)
    assert isinstance(ended.value.cause, CancelledError)
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED
    assert attempts[f"{served.task_queue} cancelled"] == 1
    compensated = (await handle.query("status"))["compensated"]
    assert (len(compensated), compensated[0], compensated[-1]) == (12, "pay", "reserve")


async def test_an_operator_finds_the_node_that_paused_in_a_run_before(served: Served) -> None:
    broken = {**put(paid="{{ 100 / parts }}"), "on_failure": "pause"}
    graph = {
        "nodes": {"pay": broken, "ship": put(shipped="{{ paid }}"), "loop": ticks(8)},
        "edges": [edge("pay", "ship")],
    }
    handle = await served.start(graph, {"parts": 0, "n": 0})
    await until_status(handle, "loop", "succeeded")
    assert await runs_of(served.client, handle) >= 2
    await handle.execute_update("retry_node", {"node": "pay", "changes": {"parts": 5}})
    assert (await asyncio.wait_for(handle.result(), PATIENCE))["data"] == {
        "parts": 5,
        "n": 8,
        "paid": 20,
        "shipped": 20,
    }


# what runs for long, and states that are large


async def test_what_runs_for_hours_does_not_hold_back_the_rest(held_to: HeldTo, task_queue: str) -> None:
    graph = {
        "nodes": {
            "slow": leaf("pass_gate", args={"name": task_queue, "slow": True}),
            "loop": ticks(12),
            "each": squares(8),
            "after": {"type": "while", "while": "n < 60", "body": chain(count=put(n="{{ n + 1 }}"))},
        },
        "edges": [edge("loop", "each"), edge("slow", "after"), edge("each", "after")],
        "context": {"merge": {"total": "sum", "s": "max"}},
    }
    async with held_to(RunLimits(drain_seconds=2.0)) as served, gate(task_queue) as opened:
        handle = await served.start(graph, {"n": 0, "total": 0})
        told = await until_status(handle, "each", "succeeded")
        assert told["nodes"]["slow"]["status"] == "running"
        assert (await handle.describe()).history_length > 2 * SUGGESTED_AT
        assert await runs_of(served.client, handle) == 1
        opened.set()
        result = await asyncio.wait_for(handle.result(), PATIENCE)
        assert await runs_of(served.client, handle) >= 2
    assert result["data"] == {"n": 60, "total": sum(range(8)), "s": 49, "slow": True}


async def test_near_the_end_of_its_history_a_run_waits_for_whatever_runs(held_to: HeldTo, task_queue: str) -> None:
    limits = RunLimits(drain_seconds=0.01, history_events=SUGGESTED_AT)
    slow = leaf("pass_gate", args={"name": task_queue})
    async with held_to(limits) as served, gate(task_queue) as opened:
        handle = await served.start({"nodes": {"slow": slow, "loop": ticks(30)}}, {"n": 0})
        await until_status(handle, "slow", "running")
        await until_quiet(handle)
        assert (await handle.query("context"))["data"]["n"] < 12
        opened.set()
        assert (await asyncio.wait_for(handle.result(), PATIENCE))["data"] == {"n": 30}
        assert await runs_of(served.client, handle) >= 3


async def until_quiet(handle: Handle) -> None:
    """Wait until nothing has been added to the history for half a second."""
    length = 0
    for _ in range(100):
        before, length = length, (await handle.describe()).history_length or 0
        if before == length > SUGGESTED_AT:
            return
        await asyncio.sleep(0.5)
    raise AssertionError("the run does not come to rest in time")


def heavy(turns: int, last: dict[str, Any] | None = None) -> dict[str, Any]:
    """Steps whose contexts, all of which must be carried, are 400 KB each and do not compress to less than half."""
    return steps(turns, {"key": "k", "size": 400_000, "seed": "{{ index }}"}, last)


def steps(turns: int, args: dict[str, Any], last: dict[str, Any] | None = None) -> dict[str, Any]:
    body = {"nodes": {"b": leaf("fill", args=args, compensate=put())}}
    return chain(
        loop={"type": "while", "while": f"index < {turns}", "body": body}, last=leaf(**last) if last else put()
    )


@pytest.mark.parametrize("served", BOTH_WAYS, indirect=True)
async def test_a_run_whose_state_is_too_large_to_be_handed_on_goes_on(served: Served) -> None:
    handle = await served.start(heavy(14))
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert len(result["data"]["k"]) == 400_000
    assert await runs_of(served.client, handle) == 1
    assert (await handle.describe()).history_length > 2 * SUGGESTED_AT


async def test_near_the_end_of_its_history_such_a_run_fails_and_is_undone(held_to: HeldTo) -> None:
    async with held_to(RunLimits(history_events=3 * SUGGESTED_AT)) as served:
        handle = await served.start(heavy(100))
        error = await error_of(handle)
        assert await runs_of(served.client, handle) == 1
        assert (await handle.query("context"))["data"] == {}
    assert error.type == "SIZE_LIMIT_EXCEEDED"
    assert "the largest part is key 'k' with" in error.message
    compensated = error.details[0]["compensated"]
    assert compensated == [f"loop[{index}]/b" for index in reversed(range(len(compensated)))]
    assert len(compensated) > 8


@pytest.mark.parametrize(("limits", "renewed"), [(RunLimits(), True), (RunLimits(decoded_bytes=2**21), False)])
async def test_a_state_that_compresses_well_is_handed_on_if_it_can_be_unfolded_again(
    held_to: HeldTo, limits: RunLimits, renewed: bool
) -> None:
    async with held_to(limits) as served:
        handle = await served.start(steps(14, {"key": "k", "size": "{{ 400000 + index }}"}))
        assert len((await asyncio.wait_for(handle.result(), PATIENCE))["data"]["k"]) == 400_013
        assert (await runs_of(served.client, handle) > 1) is renewed


async def test_with_a_payload_store_a_large_state_is_handed_on(
    impatient_server: DevServer, valkey_url: str, task_queue: str, tmp_path: Path
) -> None:
    client = await connect(Settings(payload_store_url=valkey_url), target_host=impatient_server.address)
    async with worker_for(client, task_queue, tmp_path, payload_store_url=valkey_url) as served:
        handle = await served.start(heavy(14, leaf("break", args={"name": task_queue, "how": "typed"}, **ONCE)))
        error = await error_of(handle)
        assert await runs_of(served.client, handle) >= 2
    storage = client.data_converter.external_storage
    assert storage is not None
    await unchecked(storage.drivers[0])._redis.aclose()
    assert error.details[0]["compensated"] == [f"loop[{index}]/b" for index in reversed(range(14))]


async def test_a_run_that_is_reset_goes_on_with_the_state_that_it_began_with(served: Served) -> None:
    """The reset run has an id of its own; the state names the run before, which is the same."""
    handle = await served.start(chain(loop=ticks(12), ask={"type": "approval"}), {"n": 0})
    await until_status(handle, "ask", "waiting")
    assert await runs_of(served.client, handle) >= 2
    described = await handle.describe()
    await served.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=WorkflowExecution(workflow_id=handle.id, run_id=described.run_id),
            workflow_task_finish_event_id=4,
            request_id=handle.id,
        )
    )
    reset: Handle = served.client.get_workflow_handle(handle.id)
    await until_status(reset, "ask", "waiting")
    assert (await reset.describe()).run_id != described.run_id
    await reset.execute_update("complete_task", {"node": "ask", "answer": {"ok": True}})
    assert (await asyncio.wait_for(reset.result(), PATIENCE))["data"] == {"n": 12, "ok": True}


async def test_a_retry_with_the_state_of_a_run_that_has_ended_is_refused(served: Served) -> None:
    """The server gives a retry the input of the last run: that is a state by now."""
    graph = {"name": "g", **chain(loop=ticks(12), ask={"type": "approval"})}
    handle: Handle = await served.client.start_workflow(
        "GraphWorkflow",
        {"graph": graph, "data": {"n": 0}},
        id=served.task_queue,
        task_queue=served.task_queue,
        run_timeout=timedelta(seconds=5),
        retry_policy=RetryPolicy(),
    )
    # Nobody answers, so that each run that waits times out; one that has continued as new is retried with its state.
    assert (await error_of(handle)).type == "INPUT_INVALID"


async def test_a_cron_schedule_ends_with_a_run_that_continues_as_new(served: Served) -> None:
    """The SDK does not pass it on. (Temporal's own schedules are not of a run.)"""
    handle: Handle = await served.client.start_workflow(
        "GraphWorkflow",
        {"graph": {"name": "g", **chain(loop=ticks(12))}, "data": {"n": 0}},
        id=served.task_queue,
        task_queue=served.task_queue,
        cron_schedule="@every 1s",
    )
    assert (await asyncio.wait_for(handle.result(), PATIENCE))["data"] == {"n": 12}
    assert await runs_of(served.client, handle) >= 2
    assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED


async def test_a_run_continues_as_new_before_its_finally_and_never_in_it(served: Served) -> None:
    down = {"type": "while", "while": "m < 15", "body": chain(up=put(m="{{ m + 1 }}"))}
    own = chain(reserve={**put(), "compensate": put()}, loop=ticks(15), end={"type": "fail", "code": "ENOUGH"})
    handle = await served.start({**own, "finally": chain(set=put(m=0), down=down)}, {"n": 0})
    error = await error_of(handle)
    assert (error.type, error.details[0]["compensated"], error.details[0]["finally"]) == (
        "ENOUGH",
        ["reserve"],
        {"m": 15},
    )
    assert await runs_of(served.client, handle) > 1
    history = served.client.get_workflow_handle(handle.id).fetch_history_events()
    assert len([event async for event in history]) > 3 * SUGGESTED_AT


async def test_a_run_that_goes_on_has_the_rest_of_its_time(served: Served) -> None:
    graph = chain(loop=ticks(12), ask={"type": "approval", "prompt": "Well?"})
    handle = await served.start({**graph, "timeout": "1h"}, {"n": 0})
    await until_status(handle, "ask", "waiting")
    assert await runs_of(served.client, handle) > 1
    newest = served.client.get_workflow_handle(handle.id).fetch_history_events()
    of_run = [each async for each in newest if b"timeout of the run since" in each.user_metadata.summary.data]
    (rest,) = [each.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta() for each in of_run]
    assert timedelta(0) < rest < timedelta(hours=1)
    await handle.execute_update("complete_task", {"node": "ask", "answer": {}})
    assert (await asyncio.wait_for(handle.result(), PATIENCE))["data"]["n"] == 12


async def test_a_rerun_takes_over_what_a_run_knew_before_it_continued(served: Served) -> None:
    """Its beginning is in an earlier history. The rerun continues as new itself, and so does a rerun of that."""
    steps = {f"step{index}": put(**{f"s{index}": index}) for index in range(12)}
    pay = leaf("break", reads=("tries",), args={"name": "pay", "until": "{{ tries }}"}, **ONCE)
    rest = {f"rest{index}": put(**{f"r{index}": index}) for index in range(12)}
    run = await served.start(chain(**steps, pay=pay, **rest), {"tries": 2})
    assert (await error_of(run)).type == "NODE_FAILED"
    assert await runs_of(served.client, run) > 1
    request = {"workflow_id": run.id, "from": ["pay"], "set": {"tries": 1}}
    rerun = await served.start_type("GraphWorkflow", {"rerun": request})
    done = (await asyncio.wait_for(rerun.result(), PATIENCE))["data"]
    written = {f"s{index}": index for index in range(12)} | {f"r{index}": index for index in range(12)}
    assert done == {"tries": 1, "attempt": 1, **written}
    assert await runs_of(served.client, rerun) > 1

    request = {"workflow_id": rerun.id, "from": ["step3", "rest10"], "unchanged": "keep"}
    second = await served.start_type("GraphWorkflow", {"rerun": request})
    assert (await asyncio.wait_for(second.result(), PATIENCE))["data"] == done
    (loaded, *ran) = await scheduled(served.client, served.client.get_workflow_handle(second.id))
    assert (loaded, set(ran)) == ("1", {"step3", "rest10"})


async def test_events_are_taken_once_and_in_order_while_a_run_continues_as_new(served: Served) -> None:
    """Each is sent twice, some before their turn; the run continues as new several times on the way."""
    pay = {"type": "receive", "event": "paid", "output": {"id": "result.id"}}
    body = chain(pay=pay, up=put(n=1))
    loop = {"type": "while", "until": "turn == 30", "body": body, "collect": {"into": "ids", "value": "id"}}
    handle = await served.start(chain(loop=loop))
    for number in range(30):
        for _ in range(2):
            await served.client.get_workflow_handle(handle.id).signal("event", {"name": "paid", "id": number})
        if number % 7 == 0:
            await asyncio.sleep(0.2)
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["data"] == {"ids": [str(number) for number in range(30)]}
    assert await runs_of(served.client, handle) > 2


async def test_a_node_that_waits_for_its_turn_keeps_its_place_in_the_line(
    impatient: Client, task_queue: str, tmp_path: Path, valkey_url: str
) -> None:
    slot = {"limit": 1, "name": task_queue}
    holding = leaf("pass_gate", args={"name": task_queue}, concurrency=slot)
    async with worker_for(impatient, task_queue, tmp_path, redis_url=valkey_url) as served:
        async with gate(task_queue):
            holder = await served.start({"nodes": {"a": holding}})
            await until_status(holder, "a", "running")
            await until(lambda: attempts[task_queue] == 1)
            handle = await served.start(
                {"nodes": {"w": {**put(x=1), "concurrency": slot}, "loop": ticks(24)}}, {"n": 0}
            )
            await until_status(handle, "loop", "succeeded")
            assert await runs_of(served.client, handle) > 1
            assert task_queue in (await until_status(handle, "w", "waiting"))["limited"]["w"]
        result = await asyncio.wait_for(handle.result(), PATIENCE)
        assert (result["data"]["x"], result["data"]["n"]) == (1, 24)
        await holder.result()
