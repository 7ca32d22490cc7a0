"""The runs that are recorded for `test_replay`: each node type, each message, and what is hard to replay."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import yaml

from tests.grpc_shop import METHOD
from tests.integration.graph_kit import Handle, Served, chain, diamond, edge, halves, leaf, put, until_status
from tests.replay.conversations import (
    ONCE,
    ai_tools,
    approval_by_many,
    asked_while_loading,
    conflict_anew,
    held_conflict,
    operated,
    people,
    queried,
    received,
    skipped_by_hand,
)
from tests.replay.world import models, own_attributes, polls_and_pages

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


async def written_inside(served: Served) -> Handle:
    """Parts of one object and entries of one list, by branches, items, turns and a compensation; all are undone."""

    def adding(entry: str, **then: Any) -> dict[str, Any]:
        return {"type": "rule", "rules": [{"then": then, "append": {"order.log": entry}}]}

    def part(name: str) -> dict[str, Any]:
        return {**adding(name, **{f"order.{name}": 1}), "compensate": adding(f"{name} undone")}

    inside = {"type": "foreach", "items": "[1, 2]", "body": chain(add=adding("item {{ item }}"))}
    turns = {"type": "while", "until": "turn == 2", "body": chain(add=adding("turn {{ turn }}"))}
    graph = diamond(part("left"), part("right"), saga={})
    graph["nodes"] |= {"each": inside, "turns": turns, "stop": {"type": "fail", "code": "ENOUGH", "message": "enough"}}
    graph["edges"] += [edge("join", "each"), edge("each", "turns"), edge("turns", "stop")]
    return await served.start(graph, {"order": {"id": 7}})


async def limited(served: Served) -> Handle:
    """Nodes that wait for their turn, in a body and by themselves, and one whose turn does not come in time."""
    often = {"rate_limit": {"limit": 1, "per": "300ms", "key": "{{ customer }}"}}
    once = {"rate_limit": {"limit": 1, "per": "1h", "name": "replay-limited"}, "concurrency": {"limit": 2}}
    each = {"type": "foreach", "items": "[1, 2, 3]", "body": chain(tell={**put(told="{{ item }}"), **often})}
    local = {"type": "rule", "rules": [{"then": {"x": 1}}], "local": True, **once}
    nodes = {"each": each, "first": local, "second": {**put(y=1), **once, "queue_timeout": "1s"}}
    nodes |= {"late": put(code="{{ error.code }}")}
    edges = [edge("each", "first"), edge("first", "second"), edge("second", "late", outcome="timeout")]
    return await served.start({"nodes": nodes, "edges": edges}, {"customer": "ann"})


async def races(served: Served) -> Handle:
    """Branches that lose: cancelled at once, or at the end of the run, one of them with a body."""
    nodes: dict[str, dict[str, Any]] = {name: {"type": "wait", "for": "1h"} for name in ("far", "later")}
    nodes |= {"near": put(x=1), "won": {**put(y="{{ x }}"), "join": "first", "losers": "cancel"}}
    each = {"type": "foreach", "items": "[1, 2]", "body": chain(nap={"type": "wait", "for": "1h"})}
    nodes |= {"each": each, "last": {**put(z="{{ y }}"), "join": "first"}, "end": put(end=True)}
    nodes |= {name: put(**{name: 1}) for name in ("one", "two")} | {"three": {"type": "wait", "for": "1h"}}
    nodes |= {"both": {**put(both="{{ one + two }}"), "join": 2, "losers": "cancel"}}
    pairs = ["near won", "far won", "won last", "later last", "each last", "last end"]
    pairs += [f"{name} both" for name in ("one", "two", "three")]
    return await served.start({"nodes": nodes, "edges": [edge(*pair.split()) for pair in pairs]})


async def out_of_time(served: Served) -> Handle:
    """A run whose time as a whole is up: it is undone, and its `finally` runs."""
    reserve = {**put(x=1), "compensate": put(x=0)}
    graph = chain(reserve=reserve, nap={"type": "wait", "for": "1h"})
    last = chain(tell=put(told="{{ outcome.error.code }}"))
    return await served.start({**graph, "timeout": "{{ limit }}", "saga": {}, "finally": last}, {"limit": "300ms"})


async def timed_out(served: Served) -> Handle:
    """A body and a child workflow whose time is up, and a body that is over in time."""
    served.write("napping", yaml.safe_dump({"name": "napping", **chain(nap={"type": "wait", "for": "1h"})}))
    each = {"type": "foreach", "items": "[1, 2]", "body": chain(step=put(x=1), nap={"type": "wait", "for": "1h"})}
    child = {"type": "graph", "graph": "napping", "mode": "child_workflow", "on_failure": "continue"}
    graph = {
        "nodes": {
            "each": {**each, "timeout": "200ms"},
            "quick": {"type": "foreach", "items": "[1, 2]", "timeout": "1h", "body": chain(step=put(y=1))},
            "child": {**child, "timeout": "500ms"},
            "late": put(why="{{ error.message }}"),
        },
        "edges": [edge("each", "late", outcome="timeout")],
    }
    return await served.start(graph)


async def tried_again(served: Served) -> Handle:
    """Second attempts of a body, and of a child workflow, after the first ones are undone."""
    undone = put(x=1) | {"compensate": put()}
    trip = chain(hotel=undone, flight=leaf("break_first", **ONCE))
    served.write("trip", yaml.safe_dump({"name": "trip", **trip}))
    again = {"retry": {"max_attempts": 2, "initial_interval": "100ms"}}
    child = {"type": "graph", "graph": "trip", "mode": "child_workflow", "output": {"child": "result.arrived"}}
    return await served.start(
        {
            "nodes": {
                "each": {"type": "foreach", "items": "[1, 2]", "body": trip, **again, "timeout": "1h"},
                "child": {**child, **again},
            },
            "context": {"merge": {"arrived": "last_write_wins"}},
        }
    )


async def blocks(served: Served) -> Handle:
    """Blocks that fail: one that is caught, one that is tried again, one in items, one whose time is up."""
    undone = put(x=1) | {"compensate": leaf(args={"fee": 2}, output={"fee": "result.fee"})}
    refused = leaf("break", args={"name": "refused", "how": "typed"}, **ONCE)
    block = {"type": "block", **chain(hotel=undone, flight=refused)}
    again = {"type": "block", **chain(hotel=undone, flight=leaf("break_first", **ONCE))}
    each = {"type": "foreach", "items": "[1, 2]", "body": {"nodes": {"in": {**block, "on_failure": "continue"}}}}
    nap = {"type": "block", "timeout": "200ms", **chain(step=undone, nap={"type": "wait", "for": "1h"})}
    graph = {
        "nodes": {
            "book": block,
            "again": {**again, "retry": {"max_attempts": 2, "initial_interval": "100ms"}},
            "each": each,
            "nap": nap,
            "caught": put(why="{{ error.type }}"),
            "late": put(late="{{ error.type }}"),
        },
        "edges": [edge("book", "caught", outcome="failure"), edge("nap", "late", outcome="timeout")],
        "context": {"merge": {"fee": "last_write_wins"}},
    }
    return await served.start(graph)


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


async def fallbacks(served: Served) -> Handle:
    """Nodes that fail, alone and in a body, and the values that the run goes on with."""
    use = {"on_failure": {"use": {"rate": 1.5, "why": "{{ error.type }}"}}}
    ask = {**leaf("break", args={"name": "ask", "how": "typed"}, **ONCE), **use}
    each = {"type": "foreach", "items": "[1, 2]", "body": chain(ask=ask, scale=put(scaled="{{ rate * item }}"))}
    late = {"type": "approval", "prompt": "?", "timeout": "100ms", **use}
    collected = {**each, "collect": {"into": "all", "value": "scaled"}}
    return await served.start(chain(each=collected, late=late, end=put(said="{{ why }}")))


async def failing_run(served: Served) -> Handle:
    graph = chain(a=put(x=1), pay=leaf("break", args={"name": "pay"}))
    graph["nodes"]["beside"] = leaf("dawdle", args={"name": "beside"}, heartbeat="1s")
    return await served.start(graph)


async def local_nodes(served: Served) -> Handle:
    rules = {"type": "rule", "rules": [{"when": "n > 1", "then": {"big": True}}]}
    graph = chain(decide=rules, note={**put(noted="{{ big }}"), "local": True}, remote=put(done=True))
    return await served.start({"defaults": {"local": True}, **graph}, {"n": 2})


async def segments(served: Served) -> Handle:
    """Local nodes that run together: a chain in which one fails at first and then for good, and the items of a loop."""
    rules = chain(
        p={"type": "rule", "rules": [{"then": {"q": "{{ item }}"}}]},
        r={"type": "rule", "rules": [{"then": {"z": "{{ q }}"}}]},
    )
    each = {"type": "foreach", "items": "[1, 2, 3]", "body": rules, "collect": {"into": "all", "value": "z"}}
    flaky = leaf("break", args={"name": "flaky", "how": "else", "until": 2}, retry={"initial_interval": "10ms"})
    wrong = leaf("break", args={"name": "wrong", "how": "typed"}, **ONCE)
    local = {"a": put(x=1), "flaky": flaky, "b": put(y="{{ x }}"), "c": put(z=2), "wrong": wrong, "never": put(no=1)}
    graph = chain(each=each, **{name: {**node, "local": True, "compensate": put()} for name, node in local.items()})
    return await served.start({"defaults": {"local": True}, "saga": {}, **graph})


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


async def batches(served: Served) -> Handle:
    """Batches some of whose items fail, and one that fails with all of its items and is undone."""
    undone = leaf("halve", args={"numbers": "{{ items }}"}) | {"compensate": put()}
    body = chain(halve=undone, check={"type": "wait", "for": "{{ index == 3 ? 'never' : '0s' }}"})
    return await served.start({"nodes": {"each": halves(8, 3, body=body, max_concurrency=2)}})


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


async def node_types(served: Served) -> Handle:
    """The node types that the other plays have not: a database, services, a model, an activity of another worker."""
    rule = {"type": "rule", "rules": [{"when": "n > 1", "then": {"large": True}}]}
    insert = {"query": "insert into notes (text) values (:text)", "params": {"text": "{{ text }}"}, "result": "none"}
    count = {"query": "select count(*) c from notes"}
    service = {"url": "{{ url }}/chat/completions", "expect": {"status": [405]}}
    price = {
        "type": "grpc",
        "target": "{{ shop }}",
        "method": METHOD,
        "tls": False,
        "output": {"price": "result.body.total"},
    }
    others = {"task_queue": "{{ queue }}-others", "priority": {"fairness_key": "{{ text }}"}}
    graph = chain(
        decide=rule,
        judge={"type": "ai", "model": "openai:stand-in", "prompt": "An order of $20.00, 3 earlier orders"},
        note={"type": "db", "connection": "REPLAY_DB", "statements": [insert, count]},
        call={"type": "http", **service, "output": {"seen": "1"}},
        price=price,
        weigh={"type": "activity", "activity": "weigh", "args": ["{{ n }}"], **others},
        nap={"type": "wait", "until": "timestamp(run.time) + duration('20ms')"},
    )
    given = {"url": os.environ["OPENAI_BASE_URL"], "shop": os.environ["REPLAY_SHOP"], "queue": served.task_queue}
    return await served.start(graph, {"n": 2, "text": "a note", **given})


async def ended_early(served: Served) -> Handle:
    """An item and a run that a `stop` node ends, after a failure edge has caught the code of a `fail` node."""
    body = {
        "nodes": {"p": put(seen="{{ item }}"), "stop": {"type": "stop"}, "wrong": {"type": "fail", "code": "ODD"}},
        "edges": [edge("p", "stop", when="item == 2"), edge("p", "wrong", otherwise=True)],
    }
    each = {"type": "foreach", "items": "[2, 3]", "body": body}
    nodes = {"each": each, "caught": put(code="{{ error.code }}"), "end": {"type": "stop"}}
    nodes |= {"slow": leaf("dawdle", args={"name": "slow"}, heartbeat="300ms"), "nap": {"type": "wait", "for": "1h"}}
    edges = [edge("each", "caught", outcome="failure"), edge("caught", "end")]
    return await served.start({"nodes": nodes, "edges": edges})


async def finally_after_failure(served: Served) -> Handle:
    """A run that is undone, and its `finally`: a body, a child with one of its own, and a node in it that fails."""
    own = {**chain(p=put(x=1)), "finally": chain(q=put(told="{{ outcome.status }}"))}
    served.write("inner", yaml.safe_dump({"name": "inner", **own}))
    child = {"type": "graph", "graph": "inner", "mode": "child_workflow", "output": {"child": "result.told"}}
    each = {"type": "foreach", "items": "outcome.compensated", "body": {"nodes": {"note": put(noted="{{ item }}")}}}
    lost = leaf("break", args={"name": "lost", "how": "typed"}, **ONCE)
    graph = chain(
        reserve={**put(reserved=True), "compensate": put()},
        ship=leaf("break", args={"name": "ship", "how": "typed"}, **ONCE),
    )
    last = {**chain(each=each, child=child, lost=lost, never=put()), "timeout": "1h"}
    return await served.start({**graph, "finally": last})


async def finally_after_cancel(served: Served) -> Handle:
    """A run that is cancelled, and its `finally`, which is not, though its time runs out."""
    graph = chain(
        reserve={**put(reserved=True), "compensate": put()},
        slow=leaf("dawdle", args={"name": "slow"}, heartbeat="300ms"),
    )
    last = chain(tell=put(told="{{ outcome.status }}"), nap={"type": "wait", "for": "1h"})
    handle = await served.start({**graph, "finally": {**last, "timeout": "1s"}})
    await until_status(handle, "slow", "running")
    await handle.cancel()
    await until_status(handle, "finally/nap", "waiting")
    await handle.cancel()
    return handle


async def finally_of_blocks(served: Served) -> Handle:
    """Blocks with a `finally` of their own: one that succeeds, one that fails, one that is cancelled with the run."""
    tell = {"nodes": {"tell": put(told="{{ outcome.status }}"), "nap": {"type": "wait", "for": "200ms"}}}
    step = {**put(x=1), "compensate": put()}
    lost = leaf("break", args={"name": "lost", "how": "typed"}, **ONCE)
    slow = leaf("dawdle", args={"name": "slow"}, heartbeat="300ms")
    nodes = {
        "good": {"type": "block", **chain(a=step), "finally": tell},
        "bad": {"type": "block", **chain(b=step, lost=lost), "finally": tell},
        "late": {"type": "block", **chain(c=step, slow=slow), "finally": tell},
    }
    edges = [edge("good", "bad"), edge("bad", "late", outcome="failure")]
    handle = await served.start({"nodes": nodes, "edges": edges})
    await until_status(handle, "late/slow", "running")
    await handle.cancel()
    return handle


async def wide_start(served: Served) -> Handle:
    """More local nodes that are ready at the start than one task takes, as long as the size of results is not known."""
    return await served.start(
        {"nodes": {f"n{index}": {**put(**{f"k{index}": 1}), "local": True} for index in range(48)}}
    )


async def many_skipped(served: Served) -> Handle:
    """Thousands of items that are skipped: the machine yields between workflow tasks."""
    body = {"nodes": {"never": {**put(x=1), "when": "item > 0"}}}
    graph = chain(each={"type": "foreach", "items": "ids", "body": body}, after=put(done=True))
    return await served.start(graph, {"ids": [0] * 8_000})


async def cancelled_unrecorded(served: Served) -> Handle:
    """A local node that fails while the activity beside it may not be in the history yet: a timer makes sure of it."""
    graph = {
        "nodes": {
            "slow": leaf("dawdle", args={"name": "slow"}, heartbeat="300ms"),
            "wrong": leaf("break", args={"name": "wrong", "how": "typed"}, local=True, **ONCE),
        }
    }
    return await served.start(graph)


async def rerun(served: Served) -> Handle:
    """A run again from a node that failed: a step, an answer and the items that ended are taken over."""
    ask = {"type": "approval", "prompt": "well?", "output": {"said": "result.said"}}
    sent = leaf("break", reads=("tries",), args={"name": "sent", "until": "{{ item == 2 ? tries : 1 }}"}, **ONCE)
    each: dict[str, Any] = {"type": "foreach", "items": "[1, 2, 3]", "body": chain(note=put(x=1), sent=sent)}
    each |= {"on_item_failure": "collect", "failed": "bad", "collect": {"into": "xs", "value": "x"}}
    step = {**put(reserved=True), "compensate": put(), "pivot": False}
    graph = chain(reserve=step, ask=ask, each=each, end=put(count="{{ size(xs) }}"))
    run = await served.start(graph, {"tries": 2})
    await until_status(run, "ask", "waiting")
    await run.execute_update("complete_task", {"node": "ask", "answer": {"said": "yes"}, "by": "ada"})
    await run.result()
    request = {"workflow_id": run.id, "from": ["each"], "set": {"tries": 1}, "unchanged": "keep"}
    return await served.start_type("GraphWorkflow", {"rerun": request})


async def received_continued(served: Served) -> Handle:
    """A loop of `receive` nodes in which the run continues as new, with events in its mailbox and ids that it knows."""
    pay = {"type": "receive", "event": "paid", "output": {"id": "result.id"}}
    body = chain(pay=pay, up=put(n=1))
    loop = {"type": "while", "until": "turn == 16", "body": body, "collect": {"into": "ids", "value": "id"}}
    handle = await served.start(chain(loop=loop))
    for number in range(16):
        for _ in range(2):
            await served.client.get_workflow_handle(handle.id).signal("event", {"name": "paid", "id": number})
    return handle


PLAYS: dict[str, Play] = {
    "chain": order,
    "diamond_with_conflicts": diamond_with_conflicts,
    "written_inside": written_inside,
    "failure_edge": failure_edge,
    "fallbacks": fallbacks,
    "failing_run": failing_run,
    "local_nodes": local_nodes,
    "segments": segments,
    "bodies": bodies,
    "batches": batches,
    "saga": saga,
    "cancelled": cancelled,
    "cancelled_not_undone": cancelled_not_undone,
    "people": people,
    "approval_by_many": approval_by_many,
    "skipped_by_hand": skipped_by_hand,
    "conflict_anew": conflict_anew,
    "races": races,
    "limited": limited,
    "timed_out": timed_out,
    "out_of_time": out_of_time,
    "tried_again": tried_again,
    "blocks": blocks,
    "held_conflict": held_conflict,
    "effects_left": effects_left,
    "cancelled_at_join": cancelled_at_join,
    "drained": drained,
    "heavy": heavy,
    "wide": wide,
    "wide_start": wide_start,
    "finally_after_failure": finally_after_failure,
    "finally_after_cancel": finally_after_cancel,
    "finally_of_blocks": finally_of_blocks,
    "ended_early": ended_early,
    "node_types": node_types,
    "operated": operated,
    "received": received,
    "models": models,
    "polls_and_pages": polls_and_pages,
    "own_attributes": own_attributes,
    "received_continued": received_continued,
    "queried": queried,
    "asked_while_loading": asked_while_loading,
    "many_skipped": many_skipped,
    "cancelled_unrecorded": cancelled_unrecorded,
    "rerun": rerun,
    "ai_tools": ai_tools,
}
LIMITED = (limited,)
"""Plays for workers that have a Redis."""
IMPATIENT = (drained, heavy, received_continued)
"""Plays for a server that suggests to continue as new after a few events; the first run is recorded."""
