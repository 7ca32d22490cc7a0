"""`share:` on a real server and a real Valkey: other services read the run's context, and write into the run."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from anabranch.activities.standard import node_activities
from anabranch.context.stores.redis import RedisStore
from anabranch.settings import Settings
from anabranch.transport.working import working
from anabranch.worker import build_worker

RULES = {
    "one": {"type": "rule", "rules": [{"then": {"x": 1}}]},
    "two": {"type": "rule", "rules": [{"then": {"y": "{{ x + 1 }}"}}]},
}


def graph(share: dict[str, Any]) -> dict[str, Any]:
    return {"name": "shared", "share": share, "nodes": RULES, "edges": [{"from": "one", "to": "two"}]}


async def run(client: Client, task_queue: str, share: dict[str, Any], **settings: Any) -> tuple[str, dict[str, Any]]:
    chosen = Settings(task_queue=task_queue, graphs=Path("examples"), inline_graphs=True, **settings)
    activities = node_activities(chosen)
    session = f"shared-{uuid.uuid4().hex}"
    async with working(build_worker(client, chosen, activities)):
        given = {"graph": graph(share), "data": {"z": 0}}
        reported = await client.execute_workflow("GraphWorkflow", given, id=session, task_queue=task_queue)
    await activities.aclose()
    return session, reported


async def test_the_context_is_in_the_store_when_the_run_is_over(
    client: Client, task_queue: str, valkey_url: str
) -> None:
    session, reported = await run(client, task_queue, {"strategy": "write_through", "ttl": "1m"}, store_url=valkey_url)
    store = RedisStore.from_url(valkey_url)
    kept = await store.load(session)
    await store.aclose()
    assert kept is not None
    assert dict(kept.data) == reported["data"] == {"z": 0, "x": 1, "y": 2}
    assert kept.metadata.version == 3


async def test_it_is_published_after_nodes_too_each_with_the_number_that_write_context_takes(
    client: Client, task_queue: str, valkey_url: str
) -> None:
    session, reported = await run(client, task_queue, {"at": "every_node"}, store_url=valkey_url)
    handle = client.get_workflow_handle(session)
    scheduled = [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in (await handle.fetch_history()).events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert scheduled.count("share_context") >= 2
    assert reported["data"]["y"] == 2


async def test_a_worker_without_a_store_finishes_the_run_and_says_that_it_was_not_shared(
    client: Client, task_queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    _, reported = await run(client, task_queue, {"at": "end"})
    assert reported["status"] == "completed"
    assert "STORE_URL" in reported["not_shared"]
    (line,) = [each for each in caplog.records if "could not be shared" in each.getMessage()]
    assert line.__dict__["code"] == "CONFIGURATION_INVALID"
    assert "STORE_URL" not in caplog.text  # the words of errors are in the result
