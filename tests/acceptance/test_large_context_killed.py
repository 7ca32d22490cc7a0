"""A run of fourteen mebibytes outlives its worker and the loss of what it keeps in the store, and is read whole."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from anabranch.dev.devserver import DevServer
from anabranch.redis_client import RedisClient
from anabranch.settings import Settings
from anabranch.transport.client import connect
from tests.acceptance.worker_process import PATIENCE, ROOT, Handle, kill, until_waiting, worker_process
from tests.integration import raw
from tests.json_values import unchecked

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

LARGE = """
name: large
nodes:
  count: {type: rule, rules: [{then: {found: "{{ size(rows) }}"}}]}
  nap: {type: wait, for: 4s}
  last: {type: rule, rules: [{then: {first: "{{ rows[0].sku }}"}}]}
edges:
  - {from: count, to: nap}
  - {from: nap, to: last}
"""
DICE = random.Random(1)
ROWS = [{"sku": f"SKU-{index:08}", "note": DICE.randbytes(225).hex()} for index in range(29_000)]
"""Fourteen mebibytes of MessagePack, seven of them compressed."""


@pytest.fixture
def environment(dev_server: DevServer, valkey_url: str, task_queue: str, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "large.yaml").write_text(LARGE)
    return {
        "TEMPORAL_ADDRESS": dev_server.address,
        "ANABRANCH_GRAPHS": str(tmp_path),
        "ANABRANCH_TASK_QUEUE": task_queue,
        "PAYLOAD_STORE_URL": valkey_url,
    }


@pytest.fixture
async def storing(dev_server: DevServer, valkey_url: str) -> AsyncIterator[Client]:
    client = await connect(Settings(payload_store_url=valkey_url), target_host=dev_server.address)
    yield client
    storage = client.data_converter.external_storage
    assert storage is not None
    await unchecked(storage.drivers[0])._redis.aclose()


async def taken_away(redis: RedisClient) -> dict[bytes | str, bytes | str]:
    """What the store held, and holds no more."""
    held = {key: await redis.commands.get(key) for key in await redis.commands.keys("*")}
    await redis.commands.flushdb()
    return {key: value for key, value in held.items() if value is not None}


async def test_a_worker_killed_and_a_payload_lost(
    storing: Client, environment: dict[str, str], task_queue: str, valkey_url: str
) -> None:
    redis = RedisClient.from_url(valkey_url)
    with worker_process(environment) as first:
        handle: Handle = await storing.start_workflow("large", {"rows": ROWS}, id=task_queue, task_queue=task_queue)
        await until_waiting(handle, "nap")
        kill(first)
    held = await taken_away(redis)
    assert max(map(len, held.values())) > 100_000
    with worker_process(environment):
        assert "restore it, and the run goes on" in await raw.task_failure(handle)
        for key, value in held.items():
            await redis.commands.set(key, value)
        data = (await asyncio.wait_for(handle.result(), PATIENCE))["data"]
    assert data == {"rows": ROWS, "found": len(ROWS), "first": "SKU-00000000"}
    await redis.aclose()


async def test_the_command_prints_the_whole_result(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text(json.dumps({"rows": ROWS}))
    with worker_process(environment):
        running = await asyncio.create_subprocess_exec(
            *(str(Path(sys.executable).with_name("anabranch")), "run", str(tmp_path / "large.yaml"), "--json"),
            *("--input", str(tmp_path / "input.json")),
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await asyncio.wait_for(running.communicate(), PATIENCE)
    result: dict[str, Any] = json.loads(printed)
    assert result["data"]["rows"] == ROWS
