"""Graphs in graphs, loops, joins, timers and requests on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_httpserver import HTTPServer
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import CancelledError

from anabranch.activities import node
from anabranch.context.distributed import DistributedContext
from tests.integration.graph_kit import (
    PATIENCE,
    Handle,
    Served,
    attempts,
    chain,
    edge,
    error_of,
    events,
    leaf,
    put,
    scheduled,
    until_status,
    worker_for,
)

ONCE: dict[str, Any] = {"retry": {"max_attempts": 1}}
running: dict[str, int] = {}
most: dict[str, int] = {}


@node("count_running")
async def count_running(_: DistributedContext, name: str) -> dict[str, Any]:
    """Note how many run at once."""
    running[name] = running.get(name, 0) + 1
    most[name] = max(most.get(name, 0), running[name])
    await asyncio.sleep(0.02)
    running[name] -= 1
    return {"counted": True}


@pytest.fixture
async def served(client: Client, task_queue: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with worker_for(client, task_queue, tmp_path, http_allow_private=True) as running_worker:
        yield running_worker


def save(served: Served, name: str, graph: dict[str, Any]) -> None:
    served.write(name, yaml.safe_dump({"name": name, **graph}))


RACE: dict[str, Any] = {
    "nodes": {
        "near": put(quote="near"),
        "far": {"type": "wait", "for": "1h"},
        "late": put(quote="far", late=True),
        "answer": put(answered="{{ quote }}"),
    },
    "edges": [edge("near", "answer"), edge("far", "late"), edge("late", "answer")],
}


def hours_cancelled(history: list[HistoryEvent]) -> int:
    """How many timers of an hour were cancelled."""
    started = {e.event_id: e.timer_started_event_attributes.start_to_fire_timeout.seconds for e in history}
    cancelled = [e.timer_canceled_event_attributes.started_event_id for e in history]
    return sum(started.get(number) == 3600 for number in cancelled)


@pytest.mark.parametrize(("losers", "expected"), [("drop", 0), ("cancel", 1)])
async def test_a_run_does_not_wait_for_a_branch_that_lost(served: Served, losers: str, expected: int) -> None:
    # The end of the run may come before the cancellation of the timer: so a person ends it.
    nodes = {**RACE["nodes"], "hold": {"type": "approval"}}
    nodes["answer"] = {**nodes["answer"], "join": "first", "losers": losers}
    handle = await served.start({"nodes": nodes, "edges": [*RACE["edges"], edge("answer", "hold")]})
    await until_status(handle, "hold", "waiting")
    for _ in range(2000):
        if hours_cancelled(await events(handle)) == expected:
            break
        await asyncio.sleep(0.05)
    await handle.execute_update("complete_task", {"node": "hold", "answer": None})
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["data"] == {"quote": "near", "answered": "near"}
    assert hours_cancelled(await events(handle)) == expected
    status = await handle.query("status")
    assert [status["nodes"][name]["status"] for name in ("far", "late")] == ["cancelled", "cancelled"]


@pytest.mark.parametrize("losers", ["drop", "cancel"])
async def test_a_child_that_lost_is_cancelled(served: Served, losers: str) -> None:
    save(served, "slow", {"nodes": {"nap": {"type": "wait", "for": "1h"}}})
    graph = {**RACE, "nodes": {**RACE["nodes"], "far": child("slow")}}
    graph["nodes"]["answer"] = {**graph["nodes"]["answer"], "join": "first", "losers": losers}
    graph["nodes"]["near"] = {"type": "wait", "for": "1s"}
    graph["nodes"]["answer"]["args"] = {"answered": True}
    handle = await served.start(graph)
    await asyncio.wait_for(handle.result(), PATIENCE)
    with pytest.raises(WorkflowFailureError) as failed:
        await asyncio.wait_for(child_of(served, handle, "far").result(), PATIENCE)
    assert isinstance(failed.value.cause, CancelledError)


LANGUAGE = Path(__file__).parents[1] / "fixtures" / "language"


@pytest.mark.parametrize("name", ["foreach_timeout", "graph_timeout_inline", "graph_timeout_child_workflow"])
async def test_a_node_with_nodes_inside_that_is_not_over_in_time_is_timed_out(served: Served, name: str) -> None:
    for each in ("slowg", f"bug_{name}"):
        served.write(each, (LANGUAGE / f"{each}.yaml").read_text().replace("8s", "1h").replace("2s", "200ms"))
    handle = await served.start(f"bug_{name}")
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["data"] == {"timed_out": True}
    told = await handle.query("status")
    assert told["nodes"]["a"]["error"]["message"] == "node 'a' did not end within its `timeout` of 0.2 s"
    if name.endswith("child_workflow"):
        with pytest.raises(WorkflowFailureError) as failed:
            await asyncio.wait_for(child_of(served, handle, "a").result(), PATIENCE)
        assert isinstance(failed.value.cause, CancelledError)


async def test_steps_of_a_body_that_timed_out_are_undone_with_the_run(served: Served) -> None:
    body = chain(step={**put(x=1), "compensate": put()}, nap={"type": "wait", "for": "1h"})
    graph = {"nodes": {"each": {"type": "foreach", "items": "[1]", "timeout": "500ms", "body": body}}}
    error = await served.error(graph)
    assert (error.type, error.details[0]["node"]) == ("TIMEOUT", "each")
    assert error.details[0]["compensated"] == ["each[0]/step"]


def child(graph: str, **fields: Any) -> dict[str, Any]:
    return {"type": "graph", "graph": graph, "mode": "child_workflow", **fields}


def child_of(served: Served, handle: Handle, address: str) -> Handle:
    return served.client.get_workflow_handle(f"{handle.id}/{address}")


async def until_started(parent: Handle) -> None:
    """Wait until a child of the run has started."""
    for _ in range(2000):
        if any(event.HasField("child_workflow_execution_started_event_attributes") for event in await events(parent)):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{parent.id} has no child in time")


# graphs


@pytest.mark.parametrize("mode", ["inline", "child_workflow"])
async def test_a_graph_sees_only_its_mapped_input_and_writes_only_its_mapped_output(served: Served, mode: str) -> None:
    see = {"type": "python", "handler": "copy", "args": {"into": "seen"}}
    save(served, "twice", chain(d=put(doubled="{{ n * 2 }}"), see=see))
    mapped = {"input": {"n": "{{ total + 1 }}"}, "output": {"result_of": "result.doubled", "seen": "result.seen"}}
    graph = chain(inner={"type": "graph", "graph": "twice", "mode": mode, **mapped}, after=put(end="{{ result_of }}"))
    result = await served.run(graph, {"total": 4, "secret": "x"})
    assert result["data"] == {"total": 4, "secret": "x", "result_of": 10, "seen": {"n": 5, "doubled": 10}, "end": 10}


async def test_a_child_runs_the_graphs_that_its_parent_pinned(served: Served) -> None:
    """The child names a graph that names another; none of the files is there any more when the child runs."""
    save(served, "inmost", chain(a=put(depth="{{ depth + 1 }}")))
    save(
        served,
        "middle",
        chain(a=put(depth="{{ depth + 1 }}"), b=child("inmost"), c={"type": "graph", "graph": "inmost"}),
    )
    graph = chain(wait={"type": "approval"}, outer=child("middle"))
    handle = await served.start(graph, {"depth": 0})
    await until_status(handle, "wait", "waiting")
    for path in served.graphs.iterdir():
        path.unlink()
    await handle.execute_update("complete_task", {"node": "wait", "answer": None})
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["data"] == {"depth": 3}
    inner = await child_of(served, handle, "outer/b").describe()
    assert (inner.workflow_type, inner.status) == ("inmost", WorkflowExecutionStatus.COMPLETED)


async def test_a_child_is_given_its_graph_and_those_that_it_leads_to_and_no_others(served: Served) -> None:
    for name in ("inmost", "body", "other", "beside"):
        save(served, name, chain(a=put(x=1)))
    each = {"type": "foreach", "items": "[1]", "body": {"graph": "body"}}
    save(served, "deep", chain(each=each, inner=child("inmost")))
    save(served, "middle", chain(deep={"type": "graph", "graph": "deep"}))
    handle = await served.start(chain(outer=child("middle"), other=child("other"), beside=child("beside")))
    await asyncio.wait_for(handle.result(), PATIENCE)

    async def given_to(address: str) -> list[str]:
        first, *_ = await events(child_of(served, handle, address))
        payloads = first.workflow_execution_started_event_attributes.input.payloads
        _, more = await served.client.data_converter.decode(payloads)
        name, _, _, graphs, *_ = more["pinned"]
        return [name, *sorted(graphs)]

    assert await given_to("outer") == ["middle", "body", "deep", "inmost"]
    assert await given_to("other") == ["other"]
    assert await given_to("outer/deep/inner") == ["inmost"]


async def test_nobody_but_a_parent_can_pin_a_definition(served: Served) -> None:
    error = await error_of(await served.start_type("g", {}, {"pinned": ["g", "", "{}", {}]}))
    assert (error.type, error.message) == ("INPUT_INVALID", "a graph takes one JSON object: the context's data")


async def test_a_child_s_failure_is_its_node_s_with_the_child_s_code(served: Served) -> None:
    broken = leaf("break", args={"name": served.task_queue, "how": "typed"}, **ONCE)
    save(served, "sub", chain(step={**put(x=1), "compensate": put(x=0)}, broken=broken))
    graph = {
        "nodes": {"inner": child("sub"), "review": put(why="{{ error.type + ' ' + error.node }}"), "after": put()},
        "edges": [edge("inner", "after"), edge("inner", "review", outcome="failure")],
    }
    handle = await served.start(graph)
    assert (await asyncio.wait_for(handle.result(), PATIENCE))["data"] == {"why": "NO_STOCK inner"}
    error = await error_of(child_of(served, handle, "inner"))
    assert error.details[0]["compensated"] == ["step"]


async def test_cancelling_a_run_cancels_its_child_which_undoes_what_it_did(served: Served) -> None:
    slow = leaf("dawdle", args={"name": served.task_queue}, heartbeat="3s", effect=False)
    save(served, "sub", chain(step={**put(x=1), "compensate": put(x=0)}, slow=slow))
    handle = await served.start(chain(inner=child("sub")))
    await until_started(handle)
    inner = child_of(served, handle, "inner")
    await until_status(inner, "slow", "running")
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), PATIENCE)
    assert (await inner.describe()).status is WorkflowExecutionStatus.CANCELED
    assert (await inner.query("status"))["compensated"] == ["step"]
    assert attempts[f"{served.task_queue} cancelled"] == 1


async def test_a_child_that_succeeded_is_undone_by_its_node_s_compensation(served: Served) -> None:
    save(served, "sub", chain(step=put(booked="{{ trip }}")))
    graph = chain(
        inner=child("sub", compensate={**put(undone="{{ booked }}"), "output": {"undone": "result.undone"}}),
        broken=leaf("break", args={"name": served.task_queue}, **ONCE),
    )
    handle = await served.start(graph, {"trip": "Rome"})
    assert (await error_of(handle)).details[0]["compensated"] == ["inner"]
    assert (await handle.query("context"))["data"] == {"trip": "Rome", "undone": "Rome"}


async def test_a_child_that_is_terminated_has_an_unknown_outcome(served: Served) -> None:
    save(served, "sub", chain(ask={"type": "approval"}))
    graph = {
        "nodes": {"inner": child("sub"), "late": put(why="{{ error.type }}"), "after": put()},
        "edges": [edge("inner", "after"), edge("inner", "late", outcome="timeout")],
    }
    handle = await served.start(graph)
    await until_started(handle)
    inner = child_of(served, handle, "inner")
    await until_status(inner, "ask", "waiting")
    await inner.terminate()
    assert (await asyncio.wait_for(handle.result(), PATIENCE))["data"] == {"why": "TERMINATED"}


# foreach


def foreach(items: str, body: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "foreach", "items": items, "body": body, **fields}


async def test_never_more_items_run_than_max_concurrency_and_the_window_slides(served: Served) -> None:
    body = chain(one=leaf("count_running", args={"name": served.task_queue}))
    graph = chain(each=foreach("xs", body, max_concurrency=3))
    handle = await served.start(graph, {"xs": list(range(12))})
    await asyncio.wait_for(handle.result(), PATIENCE)
    assert most[served.task_queue] == 3
    assert list(await scheduled(served.client, handle)) == [f"each[{index}]/one" for index in range(12)]


async def test_the_items_changes_merge_as_those_of_branches_do(served: Served) -> None:
    body = chain(add=put(total="{{ total + x }}", tags="{{ [string(x)] }}", last="{{ x }}", **{"seen.all": True}))
    merge = {"total": "sum", "tags": "append", "last": "max"}
    graph = {**chain(each=foreach("xs", body, **{"as": "x"})), "context": {"merge": merge}}
    result = await served.run(graph, {"xs": [3, 1, 2], "total": 10, "tags": []})
    assert result["data"]["total"] == 16
    assert result["data"]["tags"] == ["3", "1", "2"]
    assert result["data"]["last"] == 3
    conflicts = {each["path"]: each for each in result["conflicts"]}
    assert [each["by"] for each in conflicts["total"]["candidates"]] == ["each[0]", "each[1]", "each[2]"]


async def test_collect_keeps_the_items_changes_local_and_their_order(served: Served) -> None:
    body = chain(square=put(square="{{ x * x }}"))
    each = foreach("xs", body, collect={"into": "out", "value": "[index, square]"}, **{"as": "x"})
    result = await served.run(chain(each=each, after=put(n="{{ size(out) }}")), {"xs": [4, 2, 3]})
    assert result["data"] == {"xs": [4, 2, 3], "out": [[0, 16], [1, 4], [2, 9]], "n": 3}


@pytest.mark.parametrize(("collect", "data"), [(None, {}), ({"into": "out", "value": "item"}, {"out": []})])
async def test_an_empty_list_runs_nothing_and_the_graph_goes_on(
    served: Served, collect: Any, data: dict[str, Any]
) -> None:
    each = foreach("[]", chain(one=put(x=1)), **({"collect": collect} if collect else {}))
    handle = await served.start(chain(each=each, after=put(done=True)))
    assert (await asyncio.wait_for(handle.result(), PATIENCE))["data"] == {**data, "done": True}
    assert list(await scheduled(served.client, handle)) == ["after"]


@pytest.mark.parametrize("items", ["3", "{'a': 1}", "'abc'"])
async def test_items_that_are_no_list_fail_the_node(served: Served, items: str) -> None:
    error = await served.error(chain(each=foreach(items, chain(one=put(x=1)))))
    assert (error.type, error.details[0]["node"]) == ("EXPRESSION_FAILED", "each")
    assert "not a list" in error.message


async def test_an_item_that_fails_fails_the_node_whose_failure_edge_is_taken(served: Served) -> None:
    body = chain(one=put(value="{{ 10 / x }}"))
    nodes = {"each": foreach("[1, 0, 2]", body, **{"as": "x"}), "after": put(), "fallback": put(why="{{ error.node }}")}
    graph = {"nodes": nodes, "edges": [edge("each", "after"), edge("each", "fallback", outcome="failure")]}
    assert (await served.run(graph))["data"] == {"why": "each[1]/one"}


async def test_a_foreach_in_a_foreach_sees_both_items(served: Served) -> None:
    inner = foreach("row", chain(put=put(v="{{ row_no * 10 + cell }}")), collect={"into": "cells", "value": "v"})
    inner["as"] = "cell"
    body = chain(note=put(row_no="{{ index }}"), inner=inner)
    outer = foreach("rows", body, collect={"into": "out", "value": "cells"}, **{"as": "row"})
    result = await served.run(chain(outer=outer), {"rows": [[1, 2], [], [3]]})
    assert result["data"]["out"] == [[1, 2], [], [23]]


# while, joins, timers


async def test_changes_flow_from_turn_to_turn_and_the_turn_is_counted(served: Served) -> None:
    body = chain(grow=put(n="{{ n * 2 }}", turns="{{ index + 1 }}"))
    loop = {"type": "while", "while": "n < 100 && index < 10", "body": body}
    assert (await served.run(chain(loop=loop), {"n": 3}))["data"] == {"n": 192, "turns": 6}


async def test_a_loop_that_does_not_end_is_an_error_at_max_iterations(served: Served) -> None:
    loop = {"type": "while", "while": "true", "body": chain(grow=put(n="{{ n + 1 }}")), "max_iterations": 3}
    handle = await served.start(chain(loop=loop), {"n": 0})
    error = await error_of(handle)
    assert (error.type, error.details[0]["node"]) == ("NODE_FAILED", "loop")
    assert "max_iterations = 3" in error.message
    assert len(await scheduled(served.client, handle)) == 3


@pytest.mark.parametrize(
    ("join", "left", "ran"),
    [("any", True, True), ("any", False, True), ("all", True, True), ("all", False, False)],
)
async def test_a_join_runs_on_any_or_all_of_its_edges(served: Served, join: str, left: bool, ran: bool) -> None:
    nodes = {"start": put(go=left), "left": put(l=1), "right": put(r=1), "join": {**put(j=1), "join": join}}
    pairs = [edge("start", "left", when="go"), edge("start", "right"), edge("left", "join"), edge("right", "join")]
    data = (await served.run({"nodes": nodes, "edges": pairs}))["data"]
    assert data == {"go": left, "r": 1, **({"l": 1} if left else {}), **({"j": 1} if ran else {})}


async def test_join_first_runs_at_the_first_edge_and_sees_that_branch_alone(served: Served) -> None:
    nodes = {
        "quick": put(quick=1),
        "slow": {"type": "approval"},
        "late": put(late=1),
        "join": {**leaf("copy", args={"into": "seen"}), "join": "first", "reads": ["quick", "late"]},
    }
    nodes["after"] = {"type": "approval"}
    pairs = [edge("quick", "join"), edge("slow", "late"), edge("late", "join"), edge("join", "after")]
    handle = await served.start({"nodes": nodes, "edges": pairs})
    reported = await until_status(handle, "after", "waiting")
    assert reported["nodes"]["slow"]["status"] == "waiting"
    await handle.execute_update("complete_task", {"node": "slow", "answer": None})
    await until_status(handle, "late", "succeeded")
    await handle.execute_update("complete_task", {"node": "after", "answer": None})
    assert (await asyncio.wait_for(handle.result(), PATIENCE))["data"] == {"quick": 1, "seen": {"quick": 1}}


@pytest.mark.parametrize(
    ("fields", "data"),
    [
        ({"for": "{{ pause }}"}, {"pause": "1h"}),
        ({"for": "{{ pause }}"}, {"pause": 3600}),
        ({"until": "timestamp(run.time) + duration('1h')"}, {}),
    ],
)
async def test_a_wait_takes_a_duration_or_a_time(served: Served, fields: dict[str, Any], data: dict[str, Any]) -> None:
    handle = await served.start(chain(nap={"type": "wait", **fields}), data)
    await until_status(handle, "nap", "waiting")
    (seconds,) = await timers(handle)
    assert seconds == 3600 if "for" in fields else 0 < seconds <= 3600
    await handle.terminate()


@pytest.mark.parametrize("due", ["2001-01-01T00:00:00Z", 1_000_000_000_000])
async def test_a_wait_until_a_time_that_is_over_ends_at_once(served: Served, due: object) -> None:
    handle = await served.start(chain(nap={"type": "wait", "until": "due"}), {"due": due})
    await asyncio.wait_for(handle.result(), PATIENCE)
    assert sum(await timers(handle)) <= 0.001


async def timers(handle: Handle) -> list[float]:
    """Seconds of each timer that a run has started."""
    started = [each for each in await events(handle) if each.HasField("timer_started_event_attributes")]
    return [each.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta().total_seconds() for each in started]


@pytest.mark.parametrize("value", ["'soon'", "'2030-01-01T00:00:00'", "true", "[1]"])
async def test_a_wait_until_what_is_no_time_fails_its_node(served: Served, value: str) -> None:
    error = await served.error(chain(nap={"type": "wait", "until": value}))
    assert (error.type, error.details[0]["node"]) == ("EXPRESSION_FAILED", "nap")
    assert "ISO 8601" in error.message


# http


async def test_an_http_node_calls_maps_and_sends_its_idempotency_key(served: Served, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/orders", method="POST", json={"total": 12}).respond_with_json({"id": "A1"}, status=201)
    call = {"type": "http", "method": "POST", "url": httpserver.url_for("/orders"), "body": {"total": "{{ total }}"}}
    graph = chain(
        call={**call, "output": {"order": "result.body.id", "status": "result.status"}}, after=put(got="{{ order }}")
    )
    handle = await served.start(graph, {"total": 12})
    assert (await asyncio.wait_for(handle.result(), PATIENCE))["data"] == {
        "total": 12,
        "order": "A1",
        "status": 201,
        "got": "A1",
    }
    ((request, _),) = httpserver.log
    assert request.headers["Idempotency-Key"] == f"{handle.first_execution_run_id}/call"


async def test_a_refused_request_is_the_node_s_failure_at_once(served: Served, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/orders").respond_with_data("no such order", status=404)
    nodes = {"call": {"type": "http", "url": httpserver.url_for("/orders")}, "fallback": put(why="{{ error.message }}")}
    result = await served.run({"nodes": nodes, "edges": [edge("call", "fallback", outcome="failure")]})
    assert "404" in result["data"]["why"]
    assert len(httpserver.log) == 1
