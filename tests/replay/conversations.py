"""Runs with which somebody talks while they are recorded: people, operators, services, and who asks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import yaml
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowUpdateFailedError
from temporalio.service import RPCError

from tests.integration.graph_kit import Handle, Served, chain, diamond, edge, leaf, put, until_status

ONCE: dict[str, Any] = {"retry": {"max_attempts": 1}}


async def ai_tools(served: Served) -> Handle:
    """A model that calls tools: one reads, one does something, one fails, and is undone before the model is told.

    Then the run fails, and what the tools have done is undone.
    """
    insert = {"type": "db", "connection": "REPLAY_DB", "query": "insert into notes (text) values ('n')"}
    undone = {**insert, "result": "none", "compensate": {**insert, "result": "none"}}
    served.write("keep", yaml.safe_dump({"name": "keep", **chain(note=undone), "result": {"kept": "true"}}))
    lost = chain(note=undone, no={"type": "fail", "code": "NO_ROOM"})
    served.write("lose", yaml.safe_dump({"name": "lose", **lost}))

    def tool(**node: Any) -> dict[str, Any]:
        return {"description": "…", "inputs": {"text": {"type": "string"}}, "node": node}

    read = tool(type="db", connection="REPLAY_DB", query="select count(*) c from notes where text = :t")
    read["node"]["params"] = {"t": "{{ args.text }}"}
    graphs: dict[str, Any] = {
        name: tool(type="graph", graph=name, input={"text": "{{ args.text }}"}) for name in ("keep", "lose")
    }
    judge = {"type": "ai", "model": "openai:stand-in", "prompt": "An order of $20.00, 3 earlier orders"}
    nodes: dict[str, Any] = {
        "judge": {**judge, "tools": {"read": read, **graphs}},
        "no": {"type": "fail", "code": "ENOUGH"},
    }
    return await served.start({**chain(**nodes), "saga": {}})


async def people(served: Served) -> Handle:
    """An approval, a conflict, a paused node, a write from outside, a timer: everything that waits."""
    graph = diamond(put(x=1), put(x=2), context={"conflict_resolution": "fail_on_conflict"})
    graph["nodes"] |= {
        "ask": {"type": "approval", "prompt": "Ship {{ x }}?"},
        "broken": leaf("break", args={"name": "broken", "how": "typed"}, on_failure="pause", **ONCE),
        "nap": {"type": "wait", "for": "50ms"},
    }
    graph["edges"] += [edge("join", "ask"), edge("ask", "broken"), edge("broken", "nap")]
    handle = await served.start(graph)
    await until_status(handle, "join", "conflict")
    await handle.execute_update("resolve_conflict", {"node": "join", "path": "x", "choose": "right"})
    await until_status(handle, "ask", "waiting")
    told = await handle.query("context")
    await handle.execute_update(
        "write_context", {"changes": {"note": "hi"}, "base_version": told["number"], "by": "crm"}
    )
    await handle.execute_update("complete_task", {"node": "ask", "answer": {"ok": True}})
    await until_status(handle, "broken", "paused")
    await handle.execute_update("skip_node", {"node": "broken", "changes": {"mended": True}})
    return handle


async def approval_by_many(served: Served) -> Handle:
    """Two people of three answer, one of them twice; they are reminded, once by what fails; then it escalates."""
    broken = leaf("break", args={"name": "reminding", "how": "typed"}, **ONCE)
    ask = {
        "type": "approval",
        "prompt": "Ship {{ x }}?",
        "schema": {"type": "object", "properties": {"ok": {"type": "boolean"}}},
        "assignee": ["ann", "{{ chief }}"],
        "answers": 2,
        "timeout": "1h",
        "remind": {"after": "50ms", "every": "100ms", "times": 2, "node": broken},
        "escalate": {"after": "100ms", "to": {"groups": ["directors"]}, "node": put(told="{{ question.groups }}")},
    }
    no = {**ask, "answers": 3, "remind": {"after": "1h", "every": "1h", "node": put()}}
    handle = await served.start(chain(ask=ask, no=no, end=put(done="{{ ok }}")), {"x": 1, "chief": "bo"})
    await until_status(handle, "ask", "waiting")
    for by in ("ann", "ann"):
        with contextlib.suppress(WorkflowUpdateFailedError):
            await handle.execute_update("complete_task", {"node": "ask", "answer": {"ok": True}, "by": by})
    for _ in range(600):
        asked = (await handle.query("status"))["approvals"]["ask"]
        if asked["reminders"]["sent"] + asked["reminders"].get("failed", 0) == 2 and "escalated" in asked["escalation"]:
            break
        await asyncio.sleep(0.05)
    await handle.signal("pause")
    await handle.execute_update("complete_task", {"node": "ask", "answer": {"ok": True}, "by": "bo"})
    await handle.signal("resume")
    await until_status(handle, "no", "waiting")
    for by, says in (("ann", True), ("cy", False)):
        await handle.execute_update("complete_task", {"node": "no", "answer": {"ok": says}, "by": by})
    return handle


async def skipped_by_hand(served: Served) -> Handle:
    """A node that an operator skips, and an `always` edge behind which it counts whether there was an error."""
    graph = {
        "nodes": {
            "pay": leaf("break", args={"name": "pay", "how": "typed"}, on_failure="pause", **ONCE),
            "thank": put(thanked=True),
            "regret": {**put(sorry=True), "when": "error != null"},
        },
        "edges": [edge("pay", "thank", when="error == null"), edge("pay", "regret", outcome="always")],
    }
    handle = await served.start(graph)
    await until_status(handle, "pay", "paused")
    await handle.execute_update("skip_node", {"node": "pay"})
    return handle


async def conflict_anew(served: Served) -> Handle:
    """A join that asks anew when writes from outside change its question, also where a choice was made before."""
    graph = diamond(put(x=1, y=1), put(x=2, y=2), context={"conflict_resolution": "fail_on_conflict"})
    handle = await served.start(graph, {"x": 0, "y": 0})
    await until_status(handle, "join", "conflict")
    await handle.execute_update("resolve_conflict", {"node": "join", "path": "x", "choose": 0})
    await handle.execute_update("write_context", {"changes": {"x": 3}, "base_version": 1, "by": "crm"})
    await asyncio.sleep(0.3)
    for path in "yx":
        await handle.execute_update("resolve_conflict", {"node": "join", "path": path, "choose": 0})
    return handle


async def held_conflict(served: Served) -> Handle:
    """A conflict that is settled in a paused run."""
    handle = await served.start(diamond(put(x=1), put(x=2), context={"conflict_resolution": "fail_on_conflict"}))
    await until_status(handle, "join", "conflict")
    await handle.signal("pause")
    await handle.execute_update("resolve_conflict", {"node": "join", "path": "x", "choose": "right"})
    await asyncio.sleep(0.3)
    await handle.signal("resume")
    return handle


async def operated(served: Served) -> Handle:
    """Paused nodes that an operator retries, with edits, and gives up; and the run as a whole paused and resumed."""
    broken = leaf("break", args={"name": "operated", "how": "typed"}, on_failure="pause", **ONCE)
    graph = {
        "nodes": {"again": {**put(paid="{{ 100 / parts }}"), "on_failure": "pause"}, "never": broken, "regret": put()},
        "edges": [edge("never", "regret", outcome="failure")],
    }
    handle = await served.start(graph, {"parts": 0})
    await until_status(handle, "again", "paused")
    await until_status(handle, "never", "paused")
    await handle.signal("pause")
    await handle.execute_update("retry_node", {"node": "again", "changes": {"parts": 5}})
    await handle.execute_update("fail_node", {"node": "never"})
    await handle.signal("resume")
    return handle


async def received(served: Served) -> Handle:
    """Events that come early, twice, while a node waits, broken, and after the time-out; and several for one node."""
    held = leaf("break", args={"name": "held", "how": "typed"}, on_failure="pause", **ONCE)
    late = {"type": "receive", "event": "late", "timeout": "50ms", "on_failure": "continue"}
    both = {"type": "receive", "event": ["picked", "packed"], "mode": "all", "output": {"both": "result.packed.data"}}
    large = {"type": "receive", "event": "paid", "accept": "event.amount > 10", "correlate": {"order": "event.order"}}
    graph = chain(
        held=held,
        early={"type": "receive", "event": "paid", "output": {"first": "result.id"}},
        tell={"type": "emit", "to": "run", "run": "{{ run.session_id }}", "event": "paid", "data": {"amount": 3}},
        large={**large, "output": {"large": "result.data.amount"}},
        late=late,
        both=both,
    )
    handle = await served.start(graph, {"order": 7})
    await until_status(handle, "held", "paused")
    for number in (1, 1, 2):
        sent = {"name": "paid", "id": f"p{number}", "data": {"amount": number, "order": 7}}
        await handle.signal("event", sent)
    await handle.signal("event", args=[1, 2])
    await handle.signal("event", {"name": "unknown"})
    await handle.execute_update("skip_node", {"node": "held"})
    await until_status(handle, "large", "waiting")
    for order in (8, 7):
        await handle.signal("event", {"name": "paid", "id": f"q{order}", "data": {"amount": 12, "order": order}})
    await until_status(handle, "both", "waiting")
    for name in ("late", "packed", "picked"):
        await handle.signal("event", {"name": name, "data": name})
    return handle


async def queried(served: Served) -> Handle:
    """A run with local nodes, activities and timers that is asked all queries without pause, from its start on."""
    nodes, edges = dict[str, Any](), list[dict[str, Any]]()
    for lane in "abc":
        steps = {
            f"{lane}0": {**put(x=1), "local": True},
            f"{lane}1": put(y=1),
            f"{lane}2": {"type": "wait", "for": "5ms"},
        }
        nodes |= steps | {f"{lane}3": {**put(z=1), "local": True}}
        edges += [edge(f"{lane}{index}", f"{lane}{index + 1}") for index in range(3)]
    handle = await served.start({"nodes": nodes, "edges": edges})
    asking = [asyncio.create_task(_ask(handle, query)) for query in ("context", "status", "history", "diagram")]
    await handle.result()
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    return handle


async def _ask(handle: Handle, query: str) -> None:
    while True:
        with contextlib.suppress(RPCError):  # the server takes only some at a time
            await handle.query(query)


async def asked_while_loading(served: Served) -> Handle:
    """A wide run that one query divides just when its graph is loaded: it goes on in its second workflow task.

    Our runner holds queries back until the graph is loaded, so this is recorded with the SDK's own.
    """
    fill = leaf("fill", args={"key": "k", "size": 40000}, local=True)
    each = {"type": "foreach", "max_concurrency": 60, "collect": {"into": "n", "value": "index"}}
    graph = chain(results={**each, "items": "items", "body": {"nodes": {"fill": fill}}})
    for _ in range(200):
        handle = await served.start(graph, {"items": list(range(60))})
        with contextlib.suppress(RPCError):
            await handle.query("status")
        await handle.result()
        if goes_on_in_second_task([event.event_type for event in (await handle.fetch_history()).events]):
            return handle
    raise AssertionError("no query came at the right moment")


def goes_on_in_second_task(kinds: Sequence[EventType.ValueType]) -> bool:
    """Whether the first workflow task ended with the marker of `load_graph`, and nothing else."""
    loaded = kinds.index(EventType.EVENT_TYPE_MARKER_RECORDED)
    return kinds[loaded + 1] == EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED
