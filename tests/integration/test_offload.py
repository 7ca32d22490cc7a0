"""Contexts too large for a payload, kept outside of the history: on a real server, Valkey and databases."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from anabranch.activities.standard import node_activities
from anabranch.dev.devserver import DevServer
from anabranch.errors import Unavailable, WireFormatError
from anabranch.redis_client import RedisClient
from anabranch.settings import Settings
from anabranch.sql.engines import open_engine
from anabranch.transport.client import connect
from anabranch.transport.payload_store import RedisPayloads, SqlPayloads, offloading
from anabranch.transport.undecodable import reason_of
from anabranch.transport.working import working
from anabranch.worker import build_worker
from tests.json_values import unchecked

STORE, RETRIEVE = StorageDriverStoreContext(), StorageDriverRetrieveContext()
GRAPH = {"name": "big", "nodes": {"count": {"type": "rule", "rules": [{"then": {"size": "{{ size(rows) }}"}}]}}}


@pytest.fixture(params=["valkey", "cluster", "sqlite", "postgres", "mysql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/payloads.db"
    return str(request.getfixturevalue(f"{request.param}_url")).replace("+asyncpg", "")


@pytest.fixture
async def driver(url: str) -> AsyncIterator[StorageDriver]:
    if url.startswith("redis"):
        redis = RedisClient.from_url(url)
        yield RedisPayloads(redis)
        await redis.aclose()
    else:
        engine = open_engine(url)
        yield SqlPayloads(engine)
        await engine.dispose()


async def test_what_is_stored_comes_back_in_order_and_twice_is_once(driver: StorageDriver) -> None:
    payloads = [Payload(metadata={"encoding": b"json/plain"}, data=text.encode()) for text in ("one", "two", "one")]
    claims = await driver.store(STORE, payloads)
    assert claims[0] == claims[2]
    assert await driver.store(STORE, payloads[:1]) == claims[:1]
    assert await driver.retrieve(RETRIEVE, claims) == payloads


async def test_what_is_stored_again_counts_as_stored_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it may be deleted by its age, and a new run is not left with an old entry."""
    engine = open_engine(f"sqlite:///{tmp_path}/payloads.db")
    for now in (1000.0, 2000.0):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        await SqlPayloads(engine).store(STORE, [Payload(data=b"the same")])
    async with engine.connect() as connection:
        rows = (await connection.execute(text("select stored_at from anabranch_payloads"))).scalars().all()
    assert rows == [2000]
    await engine.dispose()


async def test_several_megabytes_are_kept_by_many_at_once(driver: StorageDriver) -> None:
    payloads = [Payload(data=bytes([index]) * 3_000_000) for index in range(3)]
    claims = await asyncio.gather(*(driver.store(STORE, payloads) for _ in range(4)))
    assert claims == [claims[0]] * 4
    assert await driver.retrieve(RETRIEVE, claims[0]) == payloads


async def test_a_payload_that_is_gone_is_named(driver: StorageDriver) -> None:
    (gone,) = await driver.retrieve(RETRIEVE, [StorageDriverClaim(claim_data={"sha256": "0" * 64})])
    reason = reason_of(gone)
    assert isinstance(reason, Unavailable)
    assert "is not in the payload store" in str(reason)


@pytest.mark.parametrize("digest", ["", "\x00", "'; --", "0" * 63, "0" * 100_000, "\ud7ff" * 64])
async def test_a_forged_claim_is_one_that_is_gone_not_a_store_that_is_down(driver: StorageDriver, digest: str) -> None:
    (kept,) = await driver.store(STORE, [Payload(data=b"kept")])
    gone, found = await driver.retrieve(RETRIEVE, [StorageDriverClaim(claim_data={"sha256": digest}), kept])
    assert isinstance(reason_of(gone), Unavailable)
    assert found == Payload(data=b"kept")


async def test_a_payload_that_was_altered_is_refused(valkey_url: str) -> None:
    redis = RedisClient.from_url(valkey_url)
    driver = RedisPayloads(redis)
    claims = await driver.store(STORE, [Payload(data=b"true")])
    await redis.commands.set(f"anabranch:payload:{claims[0].claim_data['sha256']}", b"false")
    (altered,) = await driver.retrieve(RETRIEVE, claims)
    reason = reason_of(altered)
    assert isinstance(reason, WireFormatError)
    assert "was altered" in str(reason)
    await redis.aclose()


async def test_a_connection_that_breaks_costs_no_attempt_of_an_activity(valkey_url: str) -> None:
    """The result of work that is done is sent again, rather than the work done again."""
    broken: list[bytes] = []

    async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not broken:
            broken.append(await reader.read(65_536))
        else:
            there, back = await asyncio.open_connection("127.0.0.1", urlsplit(valkey_url).port)
            await asyncio.wait({asyncio.create_task(pump(reader, back)), asyncio.create_task(pump(there, writer))})
        writer.close()

    door = await asyncio.start_server(enter, "127.0.0.1", 0)
    storage = offloading(f"redis://127.0.0.1:{door.sockets[0].getsockname()[1]}", threshold=1)
    payloads = [Payload(data=b"1"), Payload(data=b"2")]
    claims = await unchecked(storage.drivers[0]).store(STORE, payloads)
    assert await unchecked(storage.drivers[0]).retrieve(RETRIEVE, claims) == payloads
    assert broken
    await unchecked(storage.drivers[0])._redis.aclose()
    door.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while sent := await reader.read(65_536):
        writer.write(sent)
    writer.close()


async def test_a_store_that_does_not_answer_is_unavailable() -> None:
    redis = RedisClient.from_url("redis://127.0.0.1:1", retries=0)
    with pytest.raises(Unavailable):
        await RedisPayloads(redis).store(STORE, [Payload(data=b"1")])
    await redis.aclose()


async def test_a_context_of_almost_a_megabyte_runs_and_the_history_stays_small(
    dev_server: DevServer, task_queue: str, valkey_url: str
) -> None:
    settings = Settings(
        task_queue=task_queue, graphs=Path("examples"), payload_store_url=valkey_url, inline_graphs=True
    )
    client = await connect(settings, target_host=dev_server.address)
    storage = client.data_converter.external_storage
    assert storage is not None
    activities = node_activities(settings)
    rng = random.Random(1)
    rows = [rng.randbytes(500).hex() for _ in range(800)]
    async with working(build_worker(client, settings, activities)):
        given = {"graph": GRAPH, "data": {"rows": rows}}
        handle = await client.start_workflow("GraphWorkflow", given, id=uuid.uuid4().hex, task_queue=task_queue)
        reported = await handle.result()
        history = await handle.fetch_history()
    await activities.aclose()
    await unchecked(storage.drivers[0])._redis.aclose()
    assert reported["data"] == {"rows": rows, "size": 800}
    assert sum(event.ByteSize() for event in history.events) < 50_000
