"""Blocks, and `retry` on composites, on a real server: activity ids, keys and workflow ids hold the attempt."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from temporalio.client import WorkflowFailureError

from tests.integration.graph_kit import Served, chain, edge, leaf, put, scheduled, tasks, until_status

AGAIN = {"retry": {"max_attempts": 3, "initial_interval": "50ms"}}
ONCE: dict[str, Any] = {"retry": {"max_attempts": 1}}


def trip() -> dict[str, Any]:
    hotel = put(room=1) | {"compensate": put()}
    return chain(hotel=hotel, flight=leaf("break_first", **ONCE))


async def test_attempts_of_a_body_and_of_a_child_workflow_are_undone_and_numbered(served: Served) -> None:
    served.write("trip", yaml.safe_dump({"name": "trip", **trip()}))
    child = {"type": "graph", "graph": "trip", "mode": "child_workflow", "output": {"child": "result.arrived"}}
    each = {"type": "foreach", "items": "[1]", "body": trip(), "collect": {"into": "all", "value": "arrived"}}
    handle = await served.start({"nodes": {"each": {**each, **AGAIN}, "child": {**child, **AGAIN}}})
    result = await handle.result()
    assert result["data"] == {"all": ["each~2[0]/flight"], "child": "flight"}
    assert list(await scheduled(served.client, handle)) == [
        "each[0]/hotel",
        "each[0]/flight",
        "undo each[0]/hotel",
        "each~2[0]/hotel",
        "each~2[0]/flight",
    ]
    keys = [task.key.partition("/")[2] for task in (await tasks(served.client, handle)).values()]
    assert keys == [
        "each[0]/hotel",
        "each[0]/flight",
        "each[0]/hotel/undo",
        "each~2[0]/hotel",
        "each~2[0]/flight",
    ]
    first, second = (served.client.get_workflow_handle(f"{handle.id}/{name}") for name in ("child", "child~2"))
    assert list(await scheduled(served.client, first)) == ["hotel", "flight", "undo hotel"]
    assert list(await scheduled(served.client, second)) == ["hotel", "flight"]


async def test_a_run_between_attempts_says_so_and_can_be_cancelled(served: Served) -> None:
    slow = {"retry": {"max_attempts": 3, "initial_interval": "1h"}}
    each = {"type": "foreach", "items": "[1]", "body": trip(), **slow}
    handle = await served.start({"nodes": {"each": each}})
    status = await until_status(handle, "each", "waiting")
    node = status["nodes"]["each"]
    assert (node["attempt"], node["max_attempts"], node["error"]["type"]) == (1, 3, "NO_STOCK")
    assert status["compensated"] == ["each[0]/hotel"]
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert list(await scheduled(served.client, handle)) == ["each[0]/hotel", "each[0]/flight", "undo each[0]/hotel"]


async def test_a_block_is_undone_before_its_failure_edge_is_taken_and_before_its_next_attempt(served: Served) -> None:
    hotel = put(room="{{ city }}") | {"compensate": leaf("put", args={"fee": 1}, output={"fee": "result.fee"})}
    refused = leaf("break", args={"name": "refused", "how": "typed"}, **ONCE)
    book = {"type": "block", **chain(hotel=hotel, flight=refused)}
    again = {"type": "block", **AGAIN, **chain(hotel=hotel, flight=leaf("break_first", **ONCE))}
    each = {
        "type": "foreach",
        "items": "[1]",
        "body": {"nodes": {"again": again}},
        "collect": {"into": "n", "value": "[arrived, fee]"},
    }
    late = {"type": "block", "timeout": "2s", **chain(hotel=hotel, nap={"type": "wait", "for": "1h"})}
    graph: dict[str, Any] = {
        "nodes": {
            "book": book,
            "each": each,
            "late": late,
            "caught": put(why="{{ error.type }}", after="{{ fee }}"),
            "too_late": put(late="{{ error.outcome }}", rooms="{{ has(context.room) }}"),
        },
        "edges": [edge("book", "caught", outcome="failure"), edge("late", "too_late", outcome="timeout")],
    }
    handle = await served.start(graph, {"city": "Ulm"})
    result = await handle.result()
    told = {"n": [["each[0]/again~2/flight", 1]], "why": "NO_STOCK", "after": 1, "late": "timeout", "rooms": False}
    assert result["data"] == {"city": "Ulm", "fee": 1, **told}
    ran = list(await scheduled(served.client, handle))
    assert [name for name in ran if "book" in name or name == "caught"] == [
        "book/hotel",
        "book/flight",
        "undo book/hotel",
        "caught",
    ]
    assert [name for name in ran if "again" in name] == [
        "each[0]/again/hotel",
        "each[0]/again/flight",
        "undo each[0]/again/hotel",
        "each[0]/again~2/hotel",
        "each[0]/again~2/flight",
    ]
    assert [name for name in ran if "late" in name] == ["late/hotel", "undo late/hotel", "too_late"]
