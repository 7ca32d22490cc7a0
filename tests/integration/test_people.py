"""People and services in a run: conflicts, answers, writes from outside, operators."""

from __future__ import annotations

import asyncio
import os
import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WithStartWorkflowOperation, WorkflowQueryFailedError, WorkflowUpdateFailedError
from temporalio.common import WorkflowIDConflictPolicy
from typer.testing import CliRunner

from anabranch.cli.main import app
from tests.integration.graph_kit import (
    PATIENCE,
    Handle,
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
    until_status,
)

ONCE: dict[str, Any] = {"retry": {"max_attempts": 1}}
ASK = {"context": {"conflict_resolution": "fail_on_conflict"}}
AGREE = {
    "type": "approval",
    "prompt": "Price {{ price }}?",
    "schema": {"type": "object", "required": ["agreed"], "properties": {"agreed": {"type": "boolean"}}},
}


async def refused(handle: Handle, update: str, *request: Any) -> tuple[str, str]:
    """The code and the message with which an update is refused; nothing of it enters the history."""
    before = await accepted(handle)
    with pytest.raises(WorkflowUpdateFailedError) as failed:
        await handle.execute_update(update, args=request)
    assert await accepted(handle) == before
    cause: Any = failed.value.cause
    return cause.type, cause.message


def deep(levels: int) -> Any:
    return {"k": deep(levels - 1)} if levels else 1


async def accepted(handle: Handle) -> int:
    kind = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED
    return len([event for event in await events(handle) if event.event_type == kind])


async def result_of(handle: Handle) -> dict[str, Any]:
    return await asyncio.wait_for(handle.result(), PATIENCE)


# conflicts


@pytest.mark.parametrize(
    ("choice", "value"),
    [
        ({"choose": "left"}, {"x": 1}),
        ({"choose": 1}, {"x": 2}),
        ({"value": {"both": [1, 2]}}, {"x": {"both": [1, 2]}}),
        ({"value": None}, {"x": None}),
        ({"remove": True}, {}),
    ],
)
async def test_a_conflict_is_settled_by_writer_index_value_or_removal(
    served: Served, choice: dict[str, Any], value: dict[str, Any]
) -> None:
    handle = await served.start(diamond(put(x=1), put(x=2), **ASK))
    await until_status(handle, "join", "conflict")
    await handle.execute_update("resolve_conflict", {"node": "join", "path": "x", **choice})
    result = await result_of(handle)
    assert result["data"] == value
    (conflict,) = result["conflicts"]
    assert (conflict["strategy"], conflict.get("choice")) == ("fail_on_conflict", value.get("x"))
    (merge,) = [entry for entry in await handle.query("history") if entry["kind"] == "merge"]
    assert (merge["by"], merge["conflicts"], sorted(merge["parents"])) == ("join", [conflict], [2, 3])


@pytest.mark.parametrize(
    ("request_", "reported"),
    [
        ({"node": "left", "path": "x", "choose": 0}, "no conflict waits at node 'left' (waiting are: join)"),
        (
            {"node": "join", "path": "z", "choose": 0},
            "no conflict waits at path 'z' of node 'join' (waiting are: x, y)",
        ),
        ({"node": "join", "path": "x", "choose": "start"}, "'start' is none of the candidates"),
        ({"node": "join", "path": "x", "choose": 2}, "2 is none of the candidates"),
        ({"node": "join", "path": "x", "choose": True}, "True is none of the candidates"),
        ({"node": "join", "path": "x", "chose": 1}, "unknown field 'chose'"),
        ({"node": "join", "choose": 1}, "`path` is missing"),
        ({"node": "join", "path": "x", "choose": 0, "value": 1}, "`choose` and `value` contradict each other"),
        ({"node": "join", "path": "x", "remove": "yes"}, "`remove` can only be true"),
        ({"node": "join", "path": "x", "value": deep(70)}, "the value at 'x.k.k"),
    ],
)
async def test_an_answer_that_fits_no_conflict_is_refused_before_it_enters_the_history(
    served: Served, request_: dict[str, Any], reported: str
) -> None:
    handle = await served.start(diamond(put(x=1, y=1), put(x=2, y=2), **ASK))
    await until_status(handle, "join", "conflict")
    code, message = await refused(handle, "resolve_conflict", request_)
    assert code in {"INPUT_INVALID", "WIRE_FORMAT_INVALID"}
    assert reported in message
    await handle.terminate()


async def test_a_join_goes_on_when_all_of_its_conflicts_are_settled(served: Served) -> None:
    handle = await served.start(diamond(put(x=1, y=1), put(x=2, y=2), **ASK))
    await until_status(handle, "join", "conflict")
    first = await handle.execute_update("resolve_conflict", {"node": "join", "path": "x", "choose": 0})
    assert first["open"] == ["y"]
    await handle.execute_update("resolve_conflict", {"node": "join", "path": "x", "choose": "right"})
    assert (await handle.query("status"))["nodes"]["join"]["status"] == "conflict"
    await handle.execute_update("resolve_conflict", {"node": "join", "path": "y", "choose": "left"})
    assert (await result_of(handle))["data"] == {"x": 2, "y": 1}


def hurried(**fields: Any) -> dict[str, Any]:
    """Two branches that conflict at `x`, and nobody to settle it; what else they write merges by its own policies."""
    context = {"conflict_resolution": "fail_on_conflict", "conflict_timeout": "50ms", "merge": {"n": "sum"}}
    graph = diamond(put(x=1, n=12), put(x=2, n=15), context=context)
    graph["nodes"]["join"] = {**put(joined=True), **fields}
    return graph


@pytest.mark.parametrize("limit", ["50ms", 0])
async def test_a_conflict_that_nobody_settles_in_time_fails_the_join(served: Served, limit: Any) -> None:
    graph = hurried()
    graph["context"]["conflict_timeout"] = limit
    error = await served.error(graph, {"n": 10})
    assert error.type == "CONFLICT"
    assert "'x'" in error.message
    assert (error.details[0]["node"], error.details[0]["outcome"]) == ("join", "failure")


async def test_behind_a_join_that_failed_the_last_writes_are_visible_and_conflict_no_more(served: Served) -> None:
    graph = hurried()
    graph["nodes"] |= {"after": put(), "review": put(seen="{{ [x, n] }}", why="{{ error.type }}")}
    graph["edges"] += [edge("join", "after"), edge("join", "review", outcome="failure")]
    handle = await served.start(graph, {"n": 10})
    result = await result_of(handle)
    assert (result["data"]["why"], result["data"]["n"]) == ("CONFLICT", 17)
    assert result["data"]["seen"] == [result["data"]["x"], 17]
    assert {each["path"]: each["choice"] for each in result["conflicts"]} == {"x": result["data"]["x"], "n": 17}


async def test_a_join_that_fails_and_may_be_passed_is_passed_on_the_last_writes(served: Served) -> None:
    graph = hurried(on_failure="continue")
    graph["nodes"]["after"] = put(seen="{{ [x, n] }}")
    graph["edges"].append(edge("join", "after"))
    result = await served.run(graph, {"n": 10})
    assert result["data"]["seen"] == [result["data"]["x"], 17]
    assert "joined" not in result["data"]


async def test_an_operator_may_settle_a_conflict_for_which_it_was_too_late(served: Served) -> None:
    handle = await served.start(hurried(on_failure="pause"), {"n": 10})
    await until_status(handle, "join", "paused")
    await handle.execute_update("retry_node", {"node": "join", "changes": {"x": 3}, "by": "ada"})
    assert (await result_of(handle))["data"] == {"x": 3, "n": 17, "joined": True}


# approvals


async def test_an_answer_must_fit_its_schema_and_becomes_keys(served: Served) -> None:
    handle = await served.start(chain(ask=AGREE, after=put(noted="{{ agreed }}")), {"price": 80})
    await until_status(handle, "ask", "waiting")
    assert await refused(handle, "complete_task", {"node": "ask", "answer": {"agreed": "yes"}}) == (
        "SCHEMA_VIOLATION",
        "node 'ask': agreed: 'yes' is not of type 'boolean' (the answer must match the schema in the graph)",
    )
    assert (await refused(handle, "complete_task", {"node": "after", "answer": 1}))[1] == (
        "node 'after' is not an approval (waiting are: ask)"
    )
    await handle.execute_update("complete_task", {"node": "ask", "answer": {"agreed": True}})
    assert (await result_of(handle))["data"] == {"price": 80, "agreed": True, "noted": True}


async def test_an_approval_that_nobody_answers_takes_its_timeout_edge(served: Served) -> None:
    nodes = {"ask": {**AGREE, "timeout": "50ms"}, "yes": put(went="on"), "late": put(why="{{ error.type }}")}
    edges = [edge("ask", "yes"), edge("ask", "late", outcome="timeout")]
    handle = await served.start({"nodes": nodes, "edges": edges}, {"price": 80})
    assert (await result_of(handle))["data"] == {"price": 80, "why": "NO_ANSWER"}


async def test_an_approval_that_nobody_answers_fails_the_run_where_no_edge_leads_on(served: Served) -> None:
    error = await served.error({"nodes": {"ask": {**AGREE, "timeout": "50ms"}}}, {"price": 80})
    assert (error.type, error.details[0]["outcome"]) == ("NO_ANSWER", "timeout")


async def test_who_answers_too_late_hears_how_and_when_the_approval_ended(served: Served) -> None:
    ask = {"type": "approval", "timeout": "50ms", "on_failure": "continue"}
    body = {"nodes": {"inner": {"type": "approval"}}}
    nodes = {"late": ask, "done": {"type": "approval"}, "last": {"type": "approval"}, "end": {"type": "approval"}}
    graph = {
        "nodes": {**nodes, "each": {"type": "foreach", "items": "[1]", "body": body}},
        "edges": [edge("last", "end")],
    }
    handle = await served.start(graph)
    await handle.execute_update("complete_task", {"node": "done", "answer": None})
    ended = (await until_status(handle, "late", "timed_out"))["nodes"]
    times = {
        name: datetime.fromtimestamp(ended[name]["ended"] / 1000, UTC).isoformat()[:19] for name in ("late", "done")
    }
    for node, said in {
        "late": f"the approval 'late' is over: it timed out at {times['late']}",
        "done": f"the approval 'done' is over: it was answered at {times['done']}",
        "end": "the approval 'end' has not asked yet: it is pending",
        "each": "node 'each' is not an approval",
        "each[7]/inner": "no approval 'each[7]/inner' is under way",
    }.items():
        code, message = await refused(handle, "complete_task", {"node": node, "answer": None})
        assert (code, message.startswith(said)) == ("INPUT_INVALID", True), message
        assert "(waiting are: each[0]/inner, last)" in message
    await handle.terminate()


UPDATES = ("complete_task", "resolve_conflict", "write_context", "retry_node", "skip_node", "fail_node")
SHAPES: dict[str, tuple[Any, ...]] = {
    "nothing": (),
    "null": (None,),
    "a list": ([{"node": "ask"}],),
    "text": ("ask",),
    "a number": (7,),
    "a boolean": (True,),
    "2 inputs": ({"node": "ask"}, {}),
}


async def test_a_message_of_a_wrong_shape_is_refused_with_what_is_expected(served: Served) -> None:
    handle = await served.start(chain(ask={"type": "approval"}))
    await until_status(handle, "ask", "waiting")
    for update in UPDATES:
        for kind, shape in SHAPES.items():
            code, message = await refused(handle, update, *shape)
            expected = f"the update takes one JSON object, not {kind} (send {{"
            assert (code, message.startswith(expected)) == ("INPUT_INVALID", True), (update, message)
    for shape in SHAPES.values():
        for query in ("status", "context", "history", "diagram") if shape else ():
            with pytest.raises(WorkflowQueryFailedError, match="the query takes no input"):
                await handle.query(query, args=shape)
        await handle.signal("pause", args=shape)
        await handle.signal("resume", args=shape)
    await handle.execute_update("complete_task", {"node": "ask", "answer": {"x": 1}})
    assert (await result_of(handle))["data"] == {"x": 1}


async def test_who_answered_settled_retried_and_paused_is_kept_in_all_that_people_see(served: Served) -> None:
    graph = diamond(put(x=1), put(x=2), **ASK)
    graph["nodes"] |= {"join": {"type": "approval"}, "pay": {**put(paid="{{ 100 / parts }}"), "on_failure": "pause"}}
    graph["edges"].append(edge("join", "pay"))
    handle = await served.start(graph, {"parts": 0})
    await until_status(handle, "join", "conflict")
    for update in ("complete_task", "resolve_conflict", "retry_node", "fail_node"):
        assert "`by` is a name of at most" in (await refused(handle, update, {"node": "join", "by": " ada"}))[1]
    await handle.execute_update("resolve_conflict", {"node": "join", "path": "x", "choose": "left", "by": "ada"})
    await until_status(handle, "join", "waiting")
    await handle.signal("pause", {"by": "bob"})
    await handle.execute_update("complete_task", {"node": "join", "answer": {"ok": True}, "by": "cy"})
    decisions = (await until_status(handle, "pay", "ready"))["decisions"]
    assert decisions == {"join": {"did": "answered", "by": "cy"}, "(run)": {"did": "paused", "by": "bob"}}
    await handle.signal("resume")
    await until_status(handle, "pay", "paused")
    await handle.execute_update("retry_node", {"node": "pay", "by": "di"})
    decisions = (await until_status(handle, "pay", "paused"))["decisions"]
    assert decisions == {"join": {"did": "answered", "by": "cy"}, "pay": {"did": "retried", "by": "di"}}
    metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    details = metadata.current_details
    assert "- `join`: answered by `cy`\n- `pay`: retried by `di`" in details
    assert "`x`: `1` by `left`, `2` by `right` → `1` (fail_on_conflict, chosen by `ada`)" in details
    history = await handle.query("history")
    (merge,), (answer,) = ([each for each in history if key in each] for key in ("conflicts", "answered_by"))
    assert ([each["settled_by"] for each in merge["conflicts"]], answer["answered_by"]) == (["ada"], "cy")
    await handle.execute_update("skip_node", {"node": "pay", "changes": {"paid": 1}, "by": "ed"})
    result = await result_of(handle)
    assert [each["settled_by"] for each in result["conflicts"]] == ["ada"]
    assert (await handle.query("history"))[-1]["by"] == "operator:ed"


# the commands that `status` and `context` hand out


async def told(served: Served, command: str) -> None:
    """Run a command that was handed out: a shell makes its words, and they are invoked in this process."""
    script = f"anabranch() {{ printf '%s\\0' \"$@\"; }}\n{command}"
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    made = await asyncio.to_thread(
        subprocess.run, ["bash", "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    address = served.client.service_client.config.target_host
    done = await asyncio.to_thread(
        CliRunner().invoke, app, made.stdout.split("\0")[:-1], env={"TEMPORAL_ADDRESS": address}
    )
    assert done.exit_code == 0, (done.output, done.exception)


async def test_the_commands_of_the_status_answer_what_is_asked(served: Served) -> None:
    graph = {**diamond(put(x=1), put(x=2), **ASK)}
    graph["nodes"] |= {"ask": {**AGREE, "timeout": "1h"}, "free": {"type": "approval"}}
    graph["edges"] += [edge("join", "ask"), edge("ask", "free")]
    handle = await served.client.start_workflow(
        "GraphWorkflow",
        {"graph": {"name": "g", **graph}, "data": {"price": 80}},
        id=f"{served.task_queue} it's \u202e`$(touch x)` é",
        task_queue=served.task_queue,
    )
    status = await until_status(handle, "join", "conflict")
    assert (await handle.query("context"))["in_conflict"] == ["x"]
    (conflict,) = status["conflicts"]["join"]
    await told(served, conflict["resolve"])
    asked = (await until_status(handle, "ask", "waiting"))["approvals"]["ask"]
    assert (asked["prompt"], asked["schema"]) == ("Price 80?", AGREE["schema"])
    assert asked["deadline"] == asked["asked"] + 3_600_000
    await told(served, asked["answer"])
    await told(served, (await until_status(handle, "free", "waiting"))["approvals"]["free"]["answer"])
    assert (await result_of(handle))["data"] == {"price": 80, "x": 1, "agreed": True}


# writes from outside


WAITING = chain(first=put(a=1), ask={"type": "approval"}, after=put(seen="{{ total }}"))


async def waiting(served: Served, graph: dict[str, Any], data: dict[str, Any]) -> Handle:
    handle = await served.start(graph, data)
    await until_status(handle, "ask", "waiting")
    return handle


async def test_a_write_from_outside_is_seen_by_the_nodes_that_start_later(served: Served) -> None:
    handle = await waiting(served, WAITING, {"total": 10})
    number = (await handle.query("context"))["number"]
    written = {"changes": {"total": 25, "crm.id": 7}, "base_version": number, "by": "crm"}
    assert await handle.execute_update("write_context", written) == {"number": number + 1}
    assert (await handle.query("context"))["data"] == {"total": 25, "a": 1, "crm": {"id": 7}}
    entry = (await handle.query("history"))[-1]
    assert (entry["kind"], entry["by"], entry["parents"]) == ("external", "outside:crm", [number])
    await handle.execute_update("complete_task", {"node": "ask", "answer": None})
    assert (await result_of(handle))["data"] == {"total": 25, "a": 1, "crm": {"id": 7}, "seen": 25}


async def test_a_write_from_outside_is_in_the_result_even_if_no_node_follows(served: Served) -> None:
    handle = await waiting(served, chain(first=put(a=1), ask={"type": "approval"}), {"total": 10})
    await handle.execute_update("write_context", {"changes": {"late": True}, "removed": ["total"], "base_version": 1})
    await handle.execute_update("complete_task", {"node": "ask", "answer": {}})
    assert (await result_of(handle))["data"] == {"a": 1, "late": True}


async def test_a_write_on_a_stale_base_is_merged_with_what_happened_since(served: Served) -> None:
    """`total` was 10 when the service looked; the run has since added 5, and the service adds 2."""
    graph = chain(add=put(total=15, other=1), ask={"type": "approval"}, after=put())
    handle = await waiting(served, {**graph, "context": {"merge": {"total": "sum"}}}, {"total": 10})
    await handle.execute_update("write_context", {"changes": {"total": 12}, "base_version": 1, "by": "crm"})
    await handle.execute_update("complete_task", {"node": "ask", "answer": {}})
    result = await result_of(handle)
    assert result["data"] == {"total": 17, "other": 1}
    (conflict,) = result["conflicts"]
    assert [(each["by"], each["value"]) for each in conflict["candidates"]] == [("add", 15), ("outside:crm", 12)]


async def test_a_write_that_conflicts_with_the_run_waits_at_the_next_join(served: Served) -> None:
    graph = {**chain(add=put(total=15), ask={"type": "approval"}, after=put(seen="{{ total }}")), **ASK}
    handle = await waiting(served, graph, {"total": 10})
    await handle.execute_update("write_context", {"changes": {"total": 12}, "base_version": 1, "by": "crm"})
    await handle.execute_update("complete_task", {"node": "ask", "answer": {}})
    await until_status(handle, "after", "conflict")
    await handle.execute_update("resolve_conflict", {"node": "after", "path": "total", "choose": "outside:crm"})
    assert (await result_of(handle))["data"] == {"total": 12, "seen": 12}


@pytest.mark.parametrize("choice", ["outside:crm", "left"])
async def test_a_write_from_outside_becomes_a_candidate_of_a_join_that_waits(served: Served, choice: str) -> None:
    handle = await served.start(diamond(put(x=110, y=1), put(x=80, y=2), **ASK), {"x": 100, "y": 0})
    await until_status(handle, "join", "conflict")
    for path in ("x", "y"):
        settle = {"node": "join", "path": path, "choose": "left"}
        if path == "y":
            await handle.execute_update("write_context", {"changes": {"x": 50}, "base_version": 1, "by": "crm"})
        answer = await handle.execute_update("resolve_conflict", settle)
    assert answer["open"] == ["x"]  # what was chosen before the write came is asked anew
    (question,) = [each for each in (await handle.query("status"))["conflicts"]["join"] if each["path"] == "x"]
    assert [(each["by"], each["value"]) for each in question["candidates"]] == [
        ("left", 110),
        ("right", 80),
        ("outside:crm", 50),
    ]
    await handle.execute_update("resolve_conflict", {"node": "join", "path": "x", "choose": choice})
    assert (await result_of(handle))["data"] == {"x": {"outside:crm": 50, "left": 110}[choice], "y": 1}


async def test_a_write_from_outside_that_agrees_with_one_side_lets_the_join_go_on(served: Served) -> None:
    handle = await served.start(diamond(put(x=110), put(x=80), **ASK), {"x": 100})
    await until_status(handle, "join", "conflict")
    (left,) = [each for each in await handle.query("history") if each["by"] == "left"]
    seen = await handle.query("history")
    (right,) = [each for each in seen if each["by"] == "right"]
    first, other = sorted([left, right], key=lambda each: each["number"])
    write = {"changes": {"x": other["set"]["x"]}, "base_version": first["number"], "by": "crm"}
    await handle.execute_update("write_context", write)
    assert (await result_of(handle))["data"] == {"x": other["set"]["x"]}


async def test_items_that_disagree_ask_as_a_join_does(served: Served) -> None:
    body = {"nodes": {"p": put(x="{{ item }}")}}
    handle = await served.start({"nodes": {"each": {"type": "foreach", "items": "[1, 2]", "body": body}}, **ASK})
    await until_status(handle, "each", "conflict")
    await handle.execute_update("resolve_conflict", {"node": "each", "path": "x", "choose": "each[0]"})
    result = await result_of(handle)
    assert result["data"] == {"x": 1}
    assert [each["path"] for each in result["conflicts"]] == ["x"]


async def test_two_services_that_write_differently_on_one_base_conflict_at_once(served: Served) -> None:
    handle = await waiting(served, {**WAITING, **ASK}, {"total": 10})
    await handle.execute_update("write_context", {"changes": {"total": 11}, "base_version": 1, "by": "crm"})
    with pytest.raises(WorkflowUpdateFailedError) as failed:
        await handle.execute_update("write_context", {"changes": {"total": 12}, "base_version": 1, "by": "erp"})
    cause: Any = failed.value.cause
    assert cause.type == "CONFLICT"
    assert "'outside:crm'" in cause.message
    assert (await handle.query("context"))["data"]["total"] == 11
    number = (await handle.query("context"))["number"]
    await handle.execute_update("write_context", {"changes": {"total": 12}, "base_version": number, "by": "erp"})
    await handle.execute_update("complete_task", {"node": "ask", "answer": {}})
    assert (await result_of(handle))["data"] == {"total": 12, "a": 1, "seen": 12}


@pytest.mark.parametrize(
    ("request_", "code", "reported"),
    [
        ({"changes": {"x": 1}, "base_version": 99}, "VERSION_MISMATCH", "the run has no version 99; its newest"),
        ({"changes": {"x": 1}, "base_version": 0}, "VERSION_MISMATCH", "the run has no version 0"),
        ({"changes": {"x": 1}}, "INPUT_INVALID", "base_version is missing"),
        ({"changes": {"x": 1}, "base_version": True}, "INPUT_INVALID", "base_version is missing"),
        ({"changes": [], "base_version": 1}, "INPUT_INVALID", "`changes` is an object"),
        ({"removed": [["x"]], "base_version": 1}, "INPUT_INVALID", "`removed` a list of paths"),
        ({"changes": {"total": "much"}, "base_version": 1}, "SCHEMA_VIOLATION", "total"),
        ({"changes": {"x": 1}, "base_version": 1, "by": 7}, "INPUT_INVALID", "`by`"),
        ({"changes": {"l.0": 9}, "base_version": 1}, "INPUT_INVALID", "'l.0' leads through 'l', which holds a list"),
        ({"changes": {"total.x": 9}, "base_version": 1}, "INPUT_INVALID", "through 'total', which holds a single"),
        ({"removed": ["l.0"], "base_version": 1}, "INPUT_INVALID", "'l.0' leads through 'l', which holds a list"),
        ({"changes": {"x": 1, "x.y": 2}, "base_version": 1}, "INPUT_INVALID", "'x.y' is inside 'x'"),
        ({"changes": {"x": 1}, "removed": ["x"], "base_version": 1}, "INPUT_INVALID", "'x' is given twice"),
        ({"changes": {"run": 1}, "base_version": 1}, "NAME_RESERVED", "'run' is a reserved name"),
    ],
)
async def test_a_write_that_cannot_be_merged_is_refused_and_changes_nothing(
    served: Served, request_: dict[str, Any], code: str, reported: str
) -> None:
    schema = {"context": {"schema": {"properties": {"total": {"type": "number"}}}}}
    handle = await waiting(served, {**WAITING, **schema}, {"total": 10, "l": [1]})
    assert (refusal := await refused(handle, "write_context", request_))[0] == code
    assert reported in refusal[1]
    await handle.execute_update("complete_task", {"node": "ask", "answer": {}})
    assert (await result_of(handle))["data"] == {"total": 10, "l": [1], "a": 1, "seen": 10}


# operators


def breaking(task_queue: str) -> dict[str, Any]:
    pay = leaf("break", args={"name": task_queue, "how": "typed", "until": 1000}, on_failure="pause", **ONCE)
    return chain(
        reserve={**put(reserved=True), "compensate": put(released=True)}, pay=pay, ship=put(to="{{ address }}")
    )


async def test_a_paused_node_is_retried_on_an_edited_context(served: Served) -> None:
    graph = chain(pay={**put(paid="{{ 100 / parts }}"), "on_failure": "pause"}, ship=put(shipped=True))
    handle = await served.start(graph, {"parts": 0})
    reported = await until_status(handle, "pay", "paused")
    assert (reported["status"], reported["nodes"]["pay"]["error"]["type"]) == ("paused", "EXPRESSION_FAILED")
    assert (await refused(handle, "retry_node", {"node": "ship"}))[1] == "node 'ship' is not paused (waiting are: pay)"
    edits = {"node": "pay", "changes": {"parts": 4, "note": "split"}, "by": "ada"}
    assert await handle.execute_update("retry_node", edits) == {"node": "pay"}
    assert (await result_of(handle))["data"] == {"parts": 4, "note": "split", "paid": 25, "shipped": True}
    by_ada = [entry for entry in await handle.query("history") if entry["by"] == "operator:ada"]
    assert [(entry["kind"], entry["set"]) for entry in by_ada] == [("external", {"parts": 4, "note": "split"})]


async def test_a_paused_node_is_skipped_with_what_it_would_have_written(served: Served) -> None:
    handle = await served.start(breaking(served.task_queue), {"address": "Rome"})
    await until_status(handle, "pay", "paused")
    await handle.execute_update("skip_node", {"node": "pay", "changes": {"paid": "cash"}, "by": "ada"})
    entry = next(entry for entry in await handle.query("history") if "paid" in entry["set"])
    assert (entry["kind"], entry["by"]) == ("external", "operator:ada")
    assert (await result_of(handle))["data"] == {"address": "Rome", "reserved": True, "paid": "cash", "to": "Rome"}


@pytest.mark.parametrize("update", ["retry_node", "skip_node"])
@pytest.mark.parametrize(
    ("edits", "code", "reported"),
    [
        ({"changes": {"l.0": 9}}, "INPUT_INVALID", "'l.0' leads through 'l', which holds a list"),
        ({"changes": {"a": 1}, "removed": ["a.b"]}, "INPUT_INVALID", "'a.b' is inside 'a'"),
        ({"changes": {"address": 1}}, "SCHEMA_VIOLATION", "operator:unnamed: address: 1 is not of type 'string'"),
        ({"changes": {"context": 1}}, "NAME_RESERVED", "'context' is a reserved name"),
        ({"changes": {"a": 1}, "by": "\u202e"}, "INPUT_INVALID", "`by` is a name of at most 100 printable"),
    ],
)
async def test_edits_that_the_context_of_a_paused_node_does_not_allow_are_refused(
    served: Served, update: str, edits: dict[str, Any], code: str, reported: str
) -> None:
    schema = {"schema": {"properties": {"address": {"type": "string"}}}}
    handle = await served.start({**breaking(served.task_queue), "context": schema}, {"address": "Rome", "l": [1]})
    await until_status(handle, "pay", "paused")
    refusal = await refused(handle, update, {"node": "pay", **edits})
    assert (refusal[0], reported in refusal[1]) == (code, True)
    assert (await refused(handle, "fail_node", {"node": "pay", **edits}))[0] == "INPUT_INVALID"
    await handle.terminate()


async def test_a_paused_node_whose_failure_stands_fails_the_run_and_what_was_done_is_undone(served: Served) -> None:
    handle = await served.start(breaking(served.task_queue), {"address": "Rome"})
    await until_status(handle, "pay", "paused")
    await handle.execute_update("fail_node", {"node": "pay"})
    error = await error_of(handle)
    assert (error.type, error.details[0]["compensated"]) == ("NO_STOCK", ["reserve"])
    assert attempts[served.task_queue] == 1


async def test_pause_starts_nothing_new_and_resume_goes_on(served: Served) -> None:
    graph = chain(slow=leaf("pass_gate", args={"name": served.task_queue}), after=put(done=True))
    async with gate(served.task_queue) as opened:
        handle = await served.start(graph)
        await until_status(handle, "slow", "running")
        await handle.signal("pause")
        opened.set()
        reported = await until_status(handle, "after", "ready")
    assert (reported["status"], reported["nodes"]["slow"]["status"]) == ("paused", "succeeded")
    await handle.signal("resume")
    assert (await result_of(handle))["data"] == {"done": True}


# messages that arrive before the graph is loaded


@pytest.mark.parametrize(
    ("update", "request_", "data"),
    [
        ("complete_task", {"node": "ask", "answer": {"early": True}}, {"x": 0, "early": True}),
        ("write_context", {"changes": {"x": 1}, "base_version": 1}, {"x": 1}),
    ],
)
async def test_an_update_that_comes_with_the_start_is_not_lost(
    served: Served, update: str, request_: dict[str, Any], data: dict[str, Any]
) -> None:
    ask = {"type": "approval", "timeout": "500ms", "on_failure": "continue"}
    graph = {"name": "g", "nodes": {"ask": ask}, "edges": []}
    start: WithStartWorkflowOperation[Any, dict[str, Any]] = WithStartWorkflowOperation(
        "GraphWorkflow",
        {"graph": graph, "data": {"x": 0}},
        id=f"{served.task_queue}-with-start",
        task_queue=served.task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
    )
    await served.client.execute_update_with_start_workflow(update, request_, start_workflow_operation=start)
    handle = await start.workflow_handle()
    assert (await result_of(handle))["data"] == data


async def test_a_pause_that_comes_with_the_start_holds_the_first_node(served: Served) -> None:
    handle = await served.client.start_workflow(
        "GraphWorkflow",
        {"graph": {"name": "g", **chain(a=put(x=1))}},
        id=f"{served.task_queue}-held",
        task_queue=served.task_queue,
        start_signal="pause",
    )
    reported = await until_status(handle, "a", "ready")
    assert reported["status"] == "paused"
    await handle.signal("resume")
    assert (await result_of(handle))["data"] == {"x": 1}


async def test_what_is_settled_at_a_join_stays_settled_while_another_conflict_comes_up(served: Served) -> None:
    graph = diamond(put(x=1, y=1), put(x=2), **ASK)
    handle = await served.start(graph, {"x": 0, "y": 0})
    await until_status(handle, "join", "conflict")
    await handle.execute_update("write_context", {"changes": {"note": 1}, "base_version": 1, "by": "crm"})
    await handle.execute_update("write_context", {"changes": {"y": 2}, "base_version": 1, "by": "crm"})
    answer = await handle.execute_update("resolve_conflict", {"node": "join", "path": "x", "choose": "right"})
    assert answer["open"] == ["y"]
    reported = await until_status(handle, "join", "conflict")
    assert [conflict["path"] for conflict in reported["conflicts"]["join"]] == ["x", "y"]
    await handle.execute_update("resolve_conflict", {"node": "join", "path": "y", "choose": "outside:crm"})
    assert (await result_of(handle))["data"] == {"x": 2, "y": 2, "note": 1}


async def test_writes_from_outside_that_make_the_context_too_large_are_refused(served: Served) -> None:
    handle = await served.start(chain(ask={"type": "approval", "prompt": "Go on?"}, last=put(done=True)))
    await until_status(handle, "ask", "waiting")
    for key in "ab":
        write = {"changes": {key: key * 900_000}, "base_version": 1, "by": "crm"}
        await handle.execute_update("write_context", write)
    code, message = await refused(
        handle, "write_context", {"changes": {"c": "c" * 900_000}, "base_version": 1, "by": "crm"}
    )
    assert (code, "over the limit" in message) == ("SIZE_LIMIT_EXCEEDED", True)
    await handle.execute_update("complete_task", {"node": "ask"})
    assert sorted((await result_of(handle))["data"]) == ["a", "b", "done"]
