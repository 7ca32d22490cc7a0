"""Events that are sent to runs on a real server: early, twice, late, broken. Each is taken once, and none is lost."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections import Counter
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.common import RawValue

from anabranch.observe import metrics
from tests.integration import raw
from tests.integration.graph_kit import (
    BOTH_WAYS,
    MODES,
    PATIENCE,
    Handle,
    Served,
    chain,
    edge,
    error_of,
    gate,
    leaf,
    put,
    until_status,
)
from tests.metrics_kit import hearing

PAID: dict[str, Any] = {"type": "receive", "event": "paid", "output": {"ids": "[result.id]"}}


@pytest.fixture(params=BOTH_WAYS)
def mode(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


async def send(handle: Handle, name: str, id: str | int | None = None, data: Any = None) -> None:  # noqa: A002 - as the signal has it
    await handle.signal("event", {"name": name, "id": id, "data": data})


async def result_of(handle: Handle) -> dict[str, Any]:
    return await asyncio.wait_for(handle.result(), PATIENCE)


async def test_events_before_during_twice_and_after_a_timeout_are_taken_once(served: Served, mode: str) -> None:
    late = {"type": "receive", "event": "late", "timeout": "50ms"}
    graph = {
        "nodes": {
            "hold": leaf("pass_gate", args={"name": served.task_queue}),
            "early": {"type": "receive", "event": "paid", "output": {"first": "result.id"}},
            "next": {"type": "receive", "event": "paid", "output": {"second": "result.id"}},
            "late": late,
            "told": put(why="{{ error.code }}"),
            "at_last": {"type": "receive", "event": "late", "output": {"third": "result.data"}},
        },
        "edges": [
            edge("hold", "early"),
            edge("early", "next"),
            edge("next", "late"),
            edge("late", "told", outcome="timeout"),
            edge("told", "at_last"),
        ],
    }
    with hearing() as heard:
        async with gate(served.task_queue) as opened:
            handle = await served.start(graph)
            await send(handle, "paid", "p1")
            await send(handle, "paid", "p1")
            opened.set()
            await until_status(handle, "next", "waiting")
            await send(handle, "paid", "p1")
            await send(handle, "paid", "p2")
        await until_status(handle, "at_last", "waiting")
        await send(handle, "late", 7, {"n": 1})
        result = await result_of(handle)
    assert result["data"] == {"first": "p1", "second": "p2", "why": "NO_EVENT", "third": {"n": 1}}
    assert "warnings" not in result
    outcomes = Counter(labels[1] for _, labels in heard.values(metrics.EVENTS_RECEIVED))
    if mode == MODES[0]:  # the recorder of a test counts what is replayed too
        assert outcomes == {"taken": 3, "repeated": 2}


async def test_what_nobody_receives_is_told_at_the_end(served: Served) -> None:
    handle = await served.start(chain(pay=PAID))
    for number in range(3):
        await send(handle, "paid", number)
    result = await result_of(handle)
    assert result["data"] == {"ids": ["0"]}
    (told,) = result["warnings"]
    assert told == {"by": "(events)", "warning": "2 events were sent that no node has received: paid (2)"}


async def test_no_signal_stops_a_run(served: Served) -> None:
    """Whatever is sent: the run warns of it, and goes on."""
    handle = await served.start(chain(pay=PAID))
    await until_status(handle, "pay", "waiting")
    shapes: list[list[Any]] = [[], [None], [7], ["paid"], [{}], [{"name": ""}], [{"name": "paid"}, {"name": "paid"}]]
    shapes += [[{"name": "nobody's"}], [{"name": "paid", "id": []}], [{"name": "paid", "more": 1}]]
    for shape in shapes:
        await handle.signal("event", args=shape)
    for bad in raw.BAD.values():
        await raw.signal(handle, served.client, "event", bad)
    await handle.signal("event", RawValue(raw.payload(b'{"name": "paid", "data": NaN}')))
    await send(handle, "paid", "p1")
    result = await result_of(handle)
    assert result["data"] == {"ids": ["p1"]}
    assert len(result["warnings"]) == 10
    assert {each["warning"].split(":")[0] for each in result["warnings"]} <= {
        "INPUT_INVALID",
        "WIRE_FORMAT_INVALID",
        "SIZE_LIMIT_EXCEEDED",
    }


async def test_events_that_come_with_the_start_wait_for_the_graph(served: Served) -> None:
    graph = {"name": "g", **chain(pay=PAID)}
    handle: Handle = await served.client.start_workflow(
        "GraphWorkflow",
        {"graph": graph, "data": {}},
        id=served.task_queue,
        task_queue=served.task_queue,
        start_signal="event",
        start_signal_args=[{"name": "paid", "id": "p0"}],
    )
    assert (await result_of(handle))["data"] == {"ids": ["p0"]}


async def test_a_flood_is_bounded_and_what_is_refused_is_told(served: Served) -> None:
    async with gate(served.task_queue) as opened:
        handle = await served.start(chain(hold=leaf("pass_gate", args={"name": served.task_queue}), pay=PAID))
        for number in range(5):
            await send(handle, "paid", number, "x" * 80_000)
        await until_status(handle, "hold", "running")
        opened.set()
        result = await result_of(handle)
    assert result["data"] == {"ids": ["0"]}
    refused, more, left = [each["warning"] for each in result["warnings"]]
    assert refused.startswith("SIZE_LIMIT_EXCEEDED: the mailbox has 3 events of")
    assert more.startswith("SIZE_LIMIT_EXCEEDED: ")
    assert left == "2 events were sent that no node has received: paid (2)"


async def test_a_run_that_is_cancelled_while_it_waits_is_undone(served: Served) -> None:
    graph = chain(reserve={**put(reserved=True), "compensate": put(released=True)}, pay=PAID)
    handle = await served.start(graph)
    await until_status(handle, "pay", "waiting")
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await result_of(handle)
    status = await handle.query("status")
    assert (status["nodes"]["pay"]["status"], status["compensated"]) == ("cancelled", ["reserve"])


async def test_the_command_that_a_run_shows_sends_the_event(served: Served) -> None:
    handle = await served.start(chain(pay={**PAID, "output": {"got": "result.data"}}))
    status = await until_status(handle, "pay", "waiting")
    words = shlex.split(status["events"]["pay"]["send"])
    assert words[:-1] == [*["temporal", "workflow", "signal", "--workflow-id"], handle.id, "--name", "event", "--input"]
    await handle.signal("event", json.loads(words[-1]))
    assert (await result_of(handle))["data"] == {"got": {}}


async def test_a_rerun_keeps_what_was_received_and_takes_what_is_left(served: Served) -> None:
    """A kept node has its event, a node that runs again takes it from the mailbox, and nobody sends one anew."""
    again = {"type": "receive", "event": "paid", "output": {"again": "result.id"}}
    graph = chain(
        kept={**again, "output": {"kept": "result.id"}},
        again=again,
        pay=leaf("break", reads=("tries",), args={"name": "pay", "until": "{{ tries }}"}, retry={"max_attempts": 1}),
    )
    run = await served.start(graph, {"tries": 2})
    for number in (1, 2):
        await send(run, "paid", number)
    await error_of(run)
    request = {"workflow_id": run.id, "from": ["again"], "set": {"tries": 1}, "unchanged": "keep"}
    rerun = await served.start_type("GraphWorkflow", {"rerun": request})
    data = (await result_of(rerun))["data"]
    assert (data["kept"], data["again"], data["attempt"]) == ("1", "2", 1)
