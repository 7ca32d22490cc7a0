"""`retry` on composites on a real server: activity ids, idempotency keys and workflow ids hold the attempt."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from temporalio.client import WorkflowFailureError

from tests.integration.graph_kit import Served, chain, leaf, put, scheduled, tasks, until_status

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
