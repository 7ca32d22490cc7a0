"""Records the histories that `test_replay` replays: `python -m tests.replay.record` writes `histories/*.json` again.

Each run is played on a real server and fetched as `temporal workflow show -o json` gives it. What names this machine is
taken out (stack traces, the sticky task queue), everything that replay needs stays. Record when a change of the
workflows is meant to change what they do; until then the old histories prove that runs in flight go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import yaml
from temporalio.client import Client, WorkflowFailureError

from anabranch.dev.devserver import FAST, DevServer, temporal_command
from anabranch.settings import Settings
from anabranch.transport.client import connect
from tests.integration.graph_kit import Handle, Served, chain, diamond, edge, leaf, put, until_status, worker_for

HISTORIES = Path(__file__).parent / "histories"
IDENTITY = "anabranch-test"
ONCE: dict[str, Any] = {"retry": {"max_attempts": 1}}
STRIPPED = {"stackTrace"}

Play = Callable[[Served], Awaitable[Handle]]


async def order(served: Served) -> Handle:
    """A chain, started by the graph's name."""
    served.write("order", yaml.safe_dump({"name": "order", **chain(a=put(x=1), b=put(y="{{ x + n }}"), c=put(z=3))}))
    return await served.start_type("order", {"n": 1})


async def diamond_with_conflicts(served: Served) -> Handle:
    policies = {"total": "sum", "tags": "union", "status": "merge_all"}
    left = put(total=12, tags=["a", "b"], status="left", last="left")
    right = put(total=15, tags=["b", "c"], status="right", last="right")
    return await served.start(diamond(left, right, context={"merge": policies}), {"total": 10, "tags": []})


async def failure_edge(served: Served) -> Handle:
    graph = {
        "nodes": {
            "pay": leaf("break", args={"name": "pay", "how": "typed"}, **ONCE),
            "review": put(why="{{ error.type }}"),
            "ship": put(shipped=True),
            "report": put(reported=True),
        },
        "edges": [edge("pay", "ship"), edge("pay", "review", outcome="failure"), edge("review", "report")],
    }
    return await served.start(graph)


async def failing_run(served: Served) -> Handle:
    graph = chain(a=put(x=1), pay=leaf("break", args={"name": "pay"}))
    graph["nodes"]["beside"] = leaf("dawdle", args={"name": "beside"}, heartbeat="1s")
    return await served.start(graph)


async def local_nodes(served: Served) -> Handle:
    rules = {"type": "rule", "rules": [{"when": "n > 1", "then": {"big": True}}]}
    graph = chain(decide=rules, note={**put(noted="{{ big }}"), "local": True}, remote=put(done=True))
    return await served.start({"defaults": {"local": True}, **graph}, {"n": 2})


async def bodies(served: Served) -> Handle:
    served.write("twice", yaml.safe_dump({"name": "twice", **chain(d=put(doubled="{{ n * 2 }}"))}))
    graph = chain(
        each={
            "type": "foreach",
            "items": "[1, 2, 3]",
            "body": chain(square=put(value="{{ item * item }}"), note=put(noted="{{ index }}")),
            "max_concurrency": 2,
            "collect": {"into": "squares", "value": "value"},
        },
        merge={"type": "foreach", "items": "[4, 5]", "body": {"nodes": {"w": put(last="{{ item }}")}}},
        loop={"type": "while", "while": "n < 4", "body": {"nodes": {"up": put(n="{{ n * 2 }}")}}},
        inline={"type": "graph", "graph": "twice"},
        child={"type": "graph", "graph": "twice", "mode": "child_workflow", "output": {"child": "result.doubled"}},
    )
    return await served.start(graph, {"n": 1})


async def saga(served: Served) -> Handle:
    graph = chain(
        reserve={**put(reserved=True), "compensate": put(released="{{ error.type }}")},
        charge={**put(charged=True), "compensate": put(refunded=True)},
        ship=leaf("break", args={"name": "ship", "how": "typed"}, **ONCE),
    )
    return await served.start(graph, {"n": 1})


async def cancelled(served: Served) -> Handle:
    graph = chain(
        reserve={**put(reserved=True), "compensate": put(released=True)},
        slow=leaf("dawdle", args={"name": "slow"}, heartbeat="300ms"),
    )
    handle = await served.start(graph)
    await until_status(handle, "slow", "running")
    await handle.cancel()
    return handle


async def cancelled_not_undone(served: Served) -> Handle:
    refused = leaf("break", args={"name": "release", "how": "typed"}, **ONCE)
    graph = chain(
        reserve={**put(reserved=True), "compensate": refused},
        slow=leaf("dawdle", args={"name": "slow"}, heartbeat="300ms"),
    )
    handle = await served.start(graph)
    await until_status(handle, "slow", "running")
    await handle.cancel()
    return handle


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
    """A join that asks about another conflict once the first is settled."""
    graph = diamond(put(x=1, y=1), put(x=2), context={"conflict_resolution": "fail_on_conflict"})
    handle = await served.start(graph, {"x": 0, "y": 0})
    await until_status(handle, "join", "conflict")
    await handle.execute_update("write_context", {"changes": {"y": 2}, "base_version": 1, "by": "crm"})
    for path in "xy":
        await handle.execute_update("resolve_conflict", {"node": "join", "path": path, "choose": 0})
        await asyncio.sleep(0.3)
    await handle.cancel()  # of no effect on a run that is over
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


async def effects_left(served: Served) -> Handle:
    """A child that fails after it did something."""
    inner = chain(pay=put(paid=True), ship=leaf("break", args={"name": "ship", "how": "typed"}, **ONCE))
    served.write("inner", yaml.safe_dump({"name": "inner", **inner}))
    child = {"type": "graph", "graph": "inner", "mode": "child_workflow", "compensate": put(released=True)}
    return await served.start(chain(reserve={**put(), "compensate": put()}, child=child))


async def cancelled_at_join(served: Served) -> Handle:
    """A body whose last node waits for somebody when the run is cancelled."""
    steps = {name: {**put(x=value), "compensate": put()} for name, value in (("p", 1), ("q", 2))}
    body = {"nodes": {**steps, "j": put()}, "edges": [edge("p", "j"), edge("q", "j")]}
    each = {"type": "foreach", "items": "[1]", "body": body, "compensate": put()}
    handle = await served.start({"nodes": {"each": each}, "context": {"conflict_resolution": "fail_on_conflict"}})
    await until_status(handle, "each[0]/j", "conflict")
    await handle.cancel()
    return handle


async def drained(served: Served) -> Handle:
    """A loop in which the run continues as new."""
    body = {"nodes": {"up": put(n="{{ n + 1 }}")}}
    return await served.start(chain(loop={"type": "while", "while": "n < 20", "body": body}), {"n": 0})


async def heavy(served: Served) -> Handle:
    """The same, with steps whose contexts are a megabyte together."""
    step = {**leaf("fill", args={"key": "k", "size": "{{ 300000 + index }}"}), "compensate": put()}
    return await served.start(chain(loop={"type": "while", "while": "index < 20", "body": {"nodes": {"b": step}}}))


async def wide(served: Served) -> Handle:
    """More local results and children than one workflow task takes."""
    served.write("inner", yaml.safe_dump({"name": "inner", **chain(d=put(done=True))}))
    fill = leaf("fill", args={"key": "k", "size": 40000}, local=True)
    child = {"type": "graph", "graph": "inner", "mode": "child_workflow", "input": {"text": "{{ text }}"}}
    each = {"type": "foreach", "max_concurrency": 60, "collect": {"into": "n", "value": "index"}}
    graph = chain(
        results={**each, "items": "items", "body": {"nodes": {"fill": fill}}},
        children={**each, "items": "[1, 2, 3, 4, 5]", "body": {"nodes": {"child": child}}},
    )
    return await served.start(graph, {"text": "x" * 600_000, "items": list(range(60))})


PLAYS: dict[str, Play] = {
    "chain": order,
    "diamond_with_conflicts": diamond_with_conflicts,
    "failure_edge": failure_edge,
    "failing_run": failing_run,
    "local_nodes": local_nodes,
    "bodies": bodies,
    "saga": saga,
    "cancelled": cancelled,
    "cancelled_not_undone": cancelled_not_undone,
    "people": people,
    "skipped_by_hand": skipped_by_hand,
    "conflict_anew": conflict_anew,
    "held_conflict": held_conflict,
    "effects_left": effects_left,
    "cancelled_at_join": cancelled_at_join,
    "drained": drained,
    "heavy": heavy,
    "wide": wide,
}
IMPATIENT = (drained, heavy)
"""Plays for a server that suggests to continue as new after a few events; the first run is recorded."""


async def record(names: list[str]) -> None:
    """Play and write the named runs, all of them without names."""
    for name in names or PLAYS:
        suggests = {"limit.historyCount.suggestContinueAsNew": "24"} if PLAYS[name] in IMPATIENT else {}
        async with await DevServer.start(dynamic_config={**FAST, **suggests}) as server:
            client = await connect(Settings(), target_host=server.address, identity=IDENTITY)
            with tempfile.TemporaryDirectory() as graphs:
                async with worker_for(client, name, Path(graphs)) as served:
                    history = await _history(client, server, await PLAYS[name](served))
            path = HISTORIES / f"{name}.json"
            path.write_text(_one_event_per_line(_nameless(history)))
            sys.stdout.write(f"{path.name}: {len(history['events'])} events, {path.stat().st_size} bytes\n")


async def _history(client: Client, server: DevServer, handle: Handle) -> dict[str, Any]:
    with contextlib.suppress(WorkflowFailureError):  # some are recorded because they fail
        await handle.result()
    run = ("--workflow-id", handle.id, "--run-id", handle.first_execution_run_id or "")
    arguments = ("workflow", "show", "-o", "json", *run, "--address", server.address)
    shown = await asyncio.create_subprocess_exec(temporal_command(), *arguments, stdout=asyncio.subprocess.PIPE)
    told, _ = await shown.communicate()
    history: dict[str, Any] = json.loads(told)
    return history


def _nameless(value: Any) -> Any:
    """The history without what only tells of the machine that recorded it."""
    if isinstance(value, list):
        return [_nameless(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("kind") == "TASK_QUEUE_KIND_STICKY":
        return {**value, "name": "sticky"}
    return {key: _nameless(each) for key, each in value.items() if key not in STRIPPED}


def _one_event_per_line(history: dict[str, Any]) -> str:
    lines = ",\n".join(json.dumps(event, separators=(",", ":")) for event in history["events"])
    return f'{{"events":[\n{lines}\n]}}\n'


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:]))
    sys.stdout.flush()
    os._exit(0)  # an interpreter that used Temporal's client may crash while it is torn down
