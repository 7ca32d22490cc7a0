"""A node type of another distribution in runs on a real server."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from tests.integration.graph_kit import MODES, Served, worker_for
from tests.node_type_kit import PROJECT, distribution, installed


@pytest.fixture(params=MODES)
async def served(request: pytest.FixtureRequest, client: Client, task_queue: str) -> AsyncIterator[Served]:
    with installed(PROJECT):
        async with worker_for(client, task_queue, PROJECT / "graphs", mode=request.param) as served:
            yield served


def sent() -> list[dict[str, Any]]:
    """The messages that the handler of `sms` nodes has sent."""
    messages: list[dict[str, Any]] = importlib.import_module("anabranch_sms.activity").sent
    return messages


async def test_its_nodes_run_by_its_handler_on_what_its_templates_say(served: Served) -> None:
    handle = await served.start("notify", {"phone": "1", "name": "Ann"})
    result = await handle.result()
    assert result["data"]["tell"] == {"to": "1", "text": "Hello Ann!"}
    assert result["data"]["told"] is True
    run = (await handle.describe()).run_id
    assert sent() == [{"to": "1", "text": "Hello Ann!", "key": f"{run}/tell"}]
    scheduled = [
        event.activity_task_scheduled_event_attributes
        async for event in handle.fetch_history_events()
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert [(each.activity_id, each.activity_type.name) for each in scheduled] == [
        ("draft", "sms"),
        ("tell", "sms"),
        ("check", "rule"),
    ]


async def test_its_nodes_are_undone_and_undo_and_run_locally(served: Served) -> None:
    undo = {"type": "sms", "to": "{{ tell.to }}", "text": "Forget it: {{ error.type }}"}
    nodes = {
        "tell": {"type": "sms", "to": "2", "text": "Yes", "local": True, "compensate": undo},
        "fail": {"type": "python", "handler": "nobody_has_this"},
    }
    error = await served.error({"nodes": nodes, "edges": [{"from": "tell", "to": "fail"}]})
    assert error.type == "CONFIGURATION_INVALID"
    assert [(each["to"], each["text"]) for each in sent()] == [("2", "Yes"), ("2", "Forget it: CONFIGURATION_INVALID")]


async def test_what_only_previews_leaves_a_loop_to_the_compensations_inside(served: Served) -> None:
    def sms(text: str, **fields: Any) -> dict[str, Any]:
        return {"type": "sms", "to": "3", "text": text, **fields}

    for preview, undone in ((True, "undo inside"), (False, "undo loop")):
        body = {
            "nodes": {
                "act": sms("act", compensate=sms("undo inside")),
                "look": sms("look", preview=preview),
                "fail": {"type": "python", "handler": "nobody_has_this"},
            },
            "edges": [{"from": "act", "to": "look"}, {"from": "look", "to": "fail"}],
        }
        loop = {"type": "foreach", "items": "[1]", "body": body, "compensate": sms("undo loop")}
        before = len(sent())
        await served.error({"nodes": {"loop": loop}})
        assert [each["text"] for each in sent()[before:]][-1] == undone


async def test_a_graph_without_it_runs_beside_a_broken_distribution(
    client: Client, task_queue: str, tmp_path: Path
) -> None:
    broken = distribution(tmp_path / "site", "broken-sms", {"sms": "no_such_module:SMS"})
    nodes = {"a": {"type": "rule", "rules": [{"then": {"x": 1}}]}}
    with installed(broken):
        async with worker_for(client, task_queue, tmp_path) as served:
            assert (await served.run({"nodes": nodes}))["data"] == {"x": 1}
            error = await served.error({"nodes": {"a": {"type": "sms"}}})
    assert error.type == "GRAPH_INVALID"
    assert "the node type 'sms' of the distribution broken-sms 1.0 cannot be imported" in str(error)
