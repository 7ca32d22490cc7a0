"""What leaves a workflow at once stays under what the server takes, however wide the graph is."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from tests.integration.graph_kit import BOTH_WAYS, PATIENCE, Handle, Served, chain, events, leaf, put, worker_for


@pytest.fixture(params=BOTH_WAYS)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def many(body: dict[str, Any], value: str) -> dict[str, Any]:
    """The items `ids`, many at once, of which only small values are kept."""
    return {
        "type": "foreach",
        "items": "ids",
        "max_concurrency": 500,
        "body": body,
        "collect": {"into": "seen", "value": value},
    }


async def most_in_one_task(client: Client, handle: Handle) -> int:
    """The bytes that the largest workflow task sent."""
    sent, largest = 0, 0
    first = handle.first_execution_run_id
    for event in await events(client.get_workflow_handle(handle.id, run_id=first)):
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            sent, largest = 0, max(sent, largest)
        elif event.event_type in _SENT:
            sent += event.ByteSize()
    return max(sent, largest)


_SENT = {
    EventType.EVENT_TYPE_MARKER_RECORDED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,
}
FILL = leaf("fill", args={"key": "k", "size": 100_000, "seed": "{{ index }}"}, local=True)
READ = leaf("copy", reads=("text",), args={"into": "copied"}, output={"size": "size(result.copied.text)"})
CHILD = {"type": "graph", "graph": "inner", "mode": "child_workflow", "input": {"text": "{{ text }}"}}


@pytest.mark.parametrize(
    ("body", "value"),
    [
        pytest.param({"nodes": {"fill": FILL}}, "size(k)", id="results of local nodes"),
        pytest.param(chain(local={**put(x=1), "local": True}, read=READ), "size", id="inputs behind local nodes"),
        pytest.param({"nodes": {"child": CHILD}}, "size(text)", id="inputs of children", marks=pytest.mark.slow),
    ],
)
async def test_a_wide_foreach_sends_no_more_at_once_than_the_server_takes(
    served: Served, body: dict[str, Any], value: str
) -> None:
    """Ten megabytes, five of them compressed; of more than four at once the server ends the run."""
    served.write("inner", yaml.safe_dump({"name": "inner", **chain(d=put(done=True))}))
    text = random.Random(1).randbytes(50_000).hex()
    handle = await served.start({"nodes": {"each": many(body, value)}}, {"ids": list(range(100)), "text": text})
    result = await asyncio.wait_for(handle.result(), 2 * PATIENCE)
    assert result["data"]["seen"] == [100_000] * 100
    assert await most_in_one_task(served.client, handle) < 2_000_000


@pytest.mark.slow
async def test_ten_thousand_local_nodes_come_to_their_end(client: Client, task_queue: str, tmp_path: Path) -> None:
    """As many as ran in one workflow task were too many for its ten seconds, at every attempt."""
    async with worker_for(client, task_queue, tmp_path) as served:
        body = {"nodes": {"r": {"type": "rule", "local": True, "rules": [{"then": {"k": "{{ item * 2 }}"}}]}}}
        handle = await served.start({"nodes": {"each": many(body, "k")}}, {"ids": list(range(10_000))})
        result = await asyncio.wait_for(handle.result(), 2 * PATIENCE)
    assert result["data"]["seen"] == list(range(0, 20_000, 2))
