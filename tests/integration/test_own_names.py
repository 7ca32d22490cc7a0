"""`input` of nodes on a real server: each type of node, a retry, a compensation."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.integration.graph_kit import PATIENCE, Served, attempts, chain, leaf, put, until_status

OWN: dict[str, Any] = {"input": {"n": "{{ order.pieces * 2 }}", "who": "{{ order.customer }}"}}


def rule(**then: Any) -> dict[str, Any]:
    return {"type": "rule", "rules": [{"then": then}]}


async def test_nodes_of_every_type_see_their_names(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAMES_URL", f"sqlite:///{tmp_path / 'names.sqlite'}")
    retried = leaf("break", args={"name": "{{ who }}", "how": "unavailable", "until": 2}, **OWN)
    graph = chain(
        rule={**rule(by_rule="{{ n }}"), **OWN},
        python={**put(by_python="{{ n + 1 }}"), **OWN},
        retried={
            **retried,
            "retry": {"initial_interval": "10ms"},
            "output": {"again": "[who, string(result.attempt)]"},
        },
        db={
            "type": "db",
            "connection": "NAMES_URL",
            "query": "select :n + 1 as by_db",
            "params": {"n": "{{ n }}"},
            **OWN,
        },
        activity={
            "type": "activity",
            "activity": "record_history",
            "args": [{"events": "{{ n }}", "size": 1, "is_suggested": False}],
            "output": {"by_activity": "n"},
            **OWN,
        },
        wait={"type": "wait", "for": "{{ pause }}", "input": {"pause": "{{ order.pieces }}ms"}},
        each={
            "type": "foreach",
            "items": "[1, n]",
            "collect": {"into": "by_items", "value": "[item, n]"},
            "body": {"nodes": {"a": rule(x="{{ item }}")}},
            **OWN,
        },
        loop={
            "type": "while",
            "while": "turns < n",
            "body": {"nodes": {"a": rule(turns="{{ turns + 2 }}", order={"pieces": 0, "customer": "Bob"})}},
            **OWN,
        },
        ask={"type": "approval", "prompt": "{{ who }}: {{ n }}?", "output": {"by_person": "who + result"}, **OWN},
    )
    handle = await served.start(graph, {"order": {"pieces": 3, "customer": "Ada"}, "turns": 0})
    told = await until_status(handle, "ask", "waiting")
    assert told["approvals"]["ask"]["prompt"] == "Bob: 0?"
    await handle.execute_update("complete_task", {"node": "ask", "answer": "!"})
    data = (await asyncio.wait_for(handle.result(), PATIENCE))["data"]
    assert data == {
        "order": {"pieces": 0, "customer": "Bob"},
        "turns": 6,
        "by_rule": 6,
        "by_python": 7,
        "again": ["Ada", "2"],
        "by_db": 7,
        "by_activity": 6,
        "by_items": [[1, 6], [6, 6]],
        "by_person": "Bob!",
    }
    assert attempts["Ada"] == 2


async def test_a_compensation_sees_its_own_names(served: Served) -> None:
    undo = leaf(
        "break", args={"name": "{{ who }} undone", "until": 1}, input={"who": "{{ booked }}"}, output={"u": "who"}
    )
    graph = chain(
        book={**put(booked="{{ who }}"), **OWN, "compensate": undo},
        fail=leaf("break", args={"name": "failing"}, retry={"max_attempts": 1}),
    )
    error = await served.error(graph, {"order": {"pieces": 1, "customer": "Eve"}})
    assert error.details[0]["compensated"] == ["book"]
    assert attempts["Eve undone"] == 1
