"""The graphs of the steady load: each uses other parts of a worker, and what comes of it can be computed beforehand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DATABASE = "STEADY_URL"
LEDGER = "create table ledger (id serial primary key, run text, step text, kind text)"
LEDGER_INDEX = "create index ledger_of_run on ledger (run)"
STEPS = ("reserve", "charge")
TURNS = 25
"""Of a loop. Each is an activity: at `EVENTS` events the run continues as new, so that it does so several times."""
EVENTS = 60
_TABLE = {
    "nodes": [
        {"id": "in", "type": "inputNode", "name": "in"},
        {
            "id": "fees",
            "type": "decisionTableNode",
            "name": "fees",
            "content": {
                "hitPolicy": "first",
                "inputs": [{"id": "n", "name": "n", "field": "n"}],
                "outputs": [{"id": "fee", "name": "fee", "field": "fee"}],
                "rules": [{"_id": "1", "n": "> 100", "fee": "0"}, {"_id": "2", "n": "", "fee": "n * 2"}],
            },
        },
        {"id": "out", "type": "outputNode", "name": "out"},
    ],
    "edges": [
        {"id": "e1", "sourceId": "in", "targetId": "fees"},
        {"id": "e2", "sourceId": "fees", "targetId": "out"},
    ],
}


def _put(*, local: bool = False, **values: str) -> dict[str, Any]:
    return {"type": "rule", "rules": [{"then": values}], **({"local": True} if local else {})}


def _row(step: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": "db",
        "connection": DATABASE,
        "query": "insert into ledger (run, step, kind) values (:run, :step, :kind)",
        "params": {"run": "{{ run.session_id }}", "step": step, "kind": kind},
        "result": "none",
        **fields,
    }


def _edges(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"from": source, "to": target} for source, target in pairs]


def _order() -> dict[str, Any]:
    """A saga, which fails at the end where `ok` is 0."""
    nodes = {step: _row(step, "do", output={step: "1"}, compensate=_row(step, "undo")) for step in STEPS}
    return {
        "saga": {"compensation": "sequential"},
        "nodes": {**nodes, "verdict": _put(verdict="{{ 1 / ok }}")},
        "edges": _edges(("reserve", "charge"), ("charge", "verdict")),
    }


def _lines() -> dict[str, Any]:
    """A foreach, whose context is published."""
    price = {"type": "rule", "local": True, "rules": [{"then": {"price": "{{ line * 3 }}"}}]}
    each = {
        "type": "foreach",
        "items": "lines",
        "as": "line",
        "max_concurrency": 5,
        "body": {"nodes": {"price": price}},
    }
    return {
        "share": {"strategy": "write_through", "ttl": "10m", "at": "end"},
        "nodes": {"each": {**each, "collect": {"into": "prices", "value": "price"}}, "last": _put(done="{{ true }}")},
        "edges": _edges(("each", "last")),
    }


def _branches() -> dict[str, Any]:
    """Three branches that write the same keys, which are merged."""
    nodes = {
        "begin": _put(local=True, total="{{ n }}", names="{{ [] }}"),
        "left": _put(total="{{ total + 1 }}", names="{{ ['left'] }}", best="{{ n }}"),
        "middle": _put(total="{{ total + 10 }}", names="{{ ['middle'] }}", best="{{ n + 7 }}"),
        "right": _put(total="{{ total + 100 }}", names="{{ ['right'] }}", best="{{ n + 3 }}"),
        "end": _put(local=True, seen="{{ total }}"),
    }
    branches = ("left", "middle", "right")
    return {
        "context": {"merge": {"total": "sum", "names": "union", "best": "max"}},
        "nodes": nodes,
        "edges": _edges(*(("begin", each) for each in branches), *((each, "end") for each in branches)),
    }


def _question() -> dict[str, Any]:
    schema = {"type": "object", "required": ["signed"], "properties": {"signed": {"type": "integer"}}}
    return {
        "nodes": {
            "ask": {"type": "approval", "prompt": "May {{ n }}?", "schema": schema},
            "after": _put(after="{{ signed + n }}"),
        },
        "edges": _edges(("ask", "after")),
    }


def _loop() -> dict[str, Any]:
    """Turns of an inline graph, so many that the run continues as new in the middle."""
    step = {"step": {"type": "graph", "graph": "steady_step"}}
    loop = {"type": "while", "while": f"count < {TURNS}", "max_iterations": 100, "body": {"nodes": step}}
    return {"nodes": {"loop": loop}}


def _step() -> dict[str, Any]:
    return {"nodes": {"count": _put(count="{{ count + 1 }}")}}


def _cached() -> dict[str, Any]:
    """A node whose result is kept in Valkey, rules in processes of their own, and a call of a service."""
    price = {
        "type": "db",
        "connection": DATABASE,
        "query": "select cast(:n as integer) * 2 as price",
        "params": {"n": "{{ n }}"},
        "cache": {"key": "{{ n }}", "ttl": "20s"},
    }
    grl = "rule Double { when doubled == nil then doubled = price * 2; }"
    return {
        "nodes": {
            "price": price,
            "fees": {"type": "rule", "decision_table": _TABLE},
            "double": {"type": "rule", "grl": grl},
            "call": {
                "type": "http",
                "method": "POST",
                "url": "{{ service }}",
                "output": {"answer": "result.body.answer"},
            },
        },
        "edges": _edges(("price", "fees"), ("price", "double"), ("fees", "call"), ("double", "call")),
    }


GRAPHS: Mapping[str, Mapping[str, Any]] = {
    "steady_order": _order(),
    "steady_lines": _lines(),
    "steady_branches": _branches(),
    "steady_question": _question(),
    "steady_loop": _loop(),
    "steady_step": _step(),
    "steady_cached": _cached(),
}


def write_graphs(folder: Path) -> None:
    """A file for each graph, for the worker to serve."""
    for name, graph in GRAPHS.items():
        (folder / f"{name}.yaml").write_text(json.dumps({"name": name, **graph}))
