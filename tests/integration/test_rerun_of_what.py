"""Reruns of runs that have something special: spent tokens, payloads that are gone, kept nodes of an earlier rerun."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from sqlalchemy import text
from temporalio.client import Client

from anabranch.dev import stand_in_model
from anabranch.dev.devserver import DevServer
from anabranch.errors import PayloadMissing
from anabranch.inspection.inspect import Inspector
from anabranch.inspection.runs import Runs
from anabranch.rerun.starting import plan_rerun
from anabranch.settings import Settings
from anabranch.sql.engines import open_engine
from anabranch.transport.client import connect
from anabranch.transport.rerun import RerunRequest
from tests.integration.graph_kit import PATIENCE, Served, chain, error_of, leaf, worker_for
from tests.json_values import unchecked

ASK: dict[str, Any] = {"type": "ai", "model": "openai:gpt-4", "prompt": "An order of $10.00", "output": {}}
CHECK: dict[str, Any] = {"type": "rule", "rules": [{"when": "card == 'good'", "then": {"paid": True}}]}


@pytest.fixture
async def serving(
    client: Client, task_queue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    """A worker that asks the stand-in of a model."""
    async with stand_in_model.serve() as url:
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        async with worker_for(client, task_queue, tmp_path, http_allow_private=True) as served:
            yield served


async def again(served: Served, workflow_id: str, *nodes: str, **more: Any) -> Any:
    return await served.start_type("GraphWorkflow", {"rerun": {"workflow_id": workflow_id, "from": [*nodes], **more}})


async def test_what_kept_nodes_spent_and_called_counts_for_the_run_before_alone(
    serving: Served, httpserver: HTTPServer
) -> None:
    """A rerun, and a rerun of that: each tells what it spent itself, and no kept node asks again."""
    httpserver.expect_request("/price").respond_with_json({"price": 7})
    price = {"type": "http", "url": httpserver.url_for("/price"), "output": {"price": "result.body.price"}}
    graph = chain(judge=ASK, price=price, pay=CHECK, tell={**ASK, "when": "has(context.paid)"})
    graph["nodes"]["broken"] = {"type": "fail", "code": "NOT_PAID", "when": "!has(context.paid)"}
    graph["edges"].append({"from": "pay", "to": "broken"})
    run = await serving.start(graph, {"card": "bad"})
    await error_of(run)
    (spent,) = (await run.query("status"))["usage"]
    assert spent["requests"] == 1

    second = await again(serving, run.id, "pay", set={"card": "good"})
    result = await asyncio.wait_for(second.result(), PATIENCE)
    assert (result["data"]["price"], result["data"]["paid"]) == (7, True)
    assert [each["requests"] for each in result["usage"]] == [1]
    versions = await second.query("history")
    assert [each["by"] for each in versions if "usage" in each] == ["tell"]
    assert result["usage"] == [each for version in versions for each in version.get("usage", ())]

    third = await again(serving, second.id, "pay", unchanged="keep", by="ada")
    result = await asyncio.wait_for(third.result(), PATIENCE)
    assert (result["data"]["price"], "usage" in result) == (7, False)
    fourth = await again(serving, third.id, "tell")
    result = await asyncio.wait_for(fourth.result(), PATIENCE)
    assert [each["requests"] for each in result["usage"]] == [1]
    assert len(httpserver.log) == 1


async def test_a_run_whose_payload_is_gone_is_refused_with_what_to_do(
    dev_server: DevServer, task_queue: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/payloads.db"
    stored: dict[str, Any] = {"payload_store_url": url, "payload_store_threshold_bytes": 1024}
    settings = Settings(**stored)
    client = await connect(settings, target_host=dev_server.address, namespace="default", api_key=None, tls=False)
    async with worker_for(client, task_queue, tmp_path, **stored) as served:
        fill = leaf("fill", args={"key": "big", "size": 20_000, "seed": 1})
        run = await served.start(chain(fill=fill, pay=CHECK))
        await error_of(run)
        engine = open_engine(url)
        async with engine.begin() as connection:
            await connection.execute(text("delete from anabranch_payloads"))
        await engine.dispose()
        error = await error_of(await again(served, run.id, "pay", set={"card": "good"}))
        assert error.type == "PAYLOAD_MISSING"
        assert "(" in error.message
        inspector = Inspector(client.data_converter)
        with pytest.raises(PayloadMissing) as refused:
            await plan_rerun(Runs(client, inspector), RerunRequest(run.id, nodes=("pay",)))
        inspector.close()
    storage = client.data_converter.external_storage
    assert storage is not None
    await unchecked(storage.drivers[0])._engine.dispose()
    assert refused.value.suggestion is not None
    assert refused.value.suggestion in error.message
