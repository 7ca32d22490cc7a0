"""With a payload store a run holds up to 16 MiB, from its start to its result; beyond, the error is typed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.worker import Replayer

from anabranch.dev.devserver import FAST, DevServer
from anabranch.limits import STORED_CONTEXT_BYTES
from anabranch.plugin import AnabranchPlugin
from anabranch.settings import Settings
from anabranch.transport.client import connect
from tests import servers
from tests.integration.graph_kit import PATIENCE, Served, chain, edge, error_of, leaf, put, worker_for
from tests.json_values import unchecked

MEBIBYTE = 1024 * 1024
ONCE: dict[str, Any] = {"retry": {"max_attempts": 1}}


@pytest.fixture(scope="module")
def impatient_server() -> Iterator[DevServer]:
    """A server that suggests to continue as new after a handful of events."""
    config = {**FAST, "limit.historyCount.suggestContinueAsNew": "24"}
    with servers.temporal(dynamic_config=config) as server:
        yield server


@pytest.fixture
async def storing(impatient_server: DevServer, valkey_url: str) -> AsyncIterator[Client]:
    client = await connect(Settings(payload_store_url=valkey_url), target_host=impatient_server.address)
    yield client
    storage = client.data_converter.external_storage
    assert storage is not None
    await unchecked(storage.drivers[0])._redis.aclose()


@pytest.fixture
async def served(storing: Client, valkey_url: str, task_queue: str, tmp_path: Path) -> AsyncIterator[Served]:
    environment: dict[str, Any] = {"payload_store_url": valkey_url, "max_context_size_bytes": 4 * MEBIBYTE}
    async with worker_for(storing, task_queue, tmp_path, **environment) as running:
        yield running


def rows(size: int) -> list[dict[str, Any]]:
    """So many bytes of MessagePack, about, of numbers and text."""
    note = "naïve " + "text " * 90
    return [{"sku": f"SKU-{index:08}", "price": index / 7, "note": note} for index in range(size // 500)]


def undone(**fields: Any) -> dict[str, Any]:
    return {**leaf("fill", **fields), "compensate": put(undone=True), **ONCE}


def whole_run(last: dict[str, Any]) -> dict[str, Any]:
    """Nodes that continue as new, two branches that write megabytes and meet, and one that reads all there is."""
    counted = {"type": "while", "while": "index < 10", "body": {"nodes": {"tick": put(n="{{ index }}")}}}
    sides = {side: undone(args={"key": side, "size": 2_000_000, "seed": 1}) for side in ("left", "right")}
    read = {"type": "rule", "rules": [{"then": {"found": "{{ size(rows) }}"}}]}
    names = {"count": counted, "left": sides["left"], "right": sides["right"], "read": read, "last": last}
    pairs = [("count", "left"), ("count", "right"), ("left", "read"), ("right", "read"), ("read", "last")]
    return {"nodes": names, "edges": [edge(*pair) for pair in pairs]}


async def replays(served: Served, history: Any) -> None:
    plugin = AnabranchPlugin(settings=Settings())
    replayer = Replayer(workflows=[], plugins=[plugin], data_converter=served.client.data_converter)
    await replayer.replay_workflow(history)


async def test_twelve_mebibytes_go_from_the_start_to_the_result(served: Served) -> None:
    data = {"rows": rows(10 * MEBIBYTE)}
    handle = await served.start(whole_run(put(done=True)), data)
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["data"]["rows"] == data["rows"]
    assert {key: result["data"][key] for key in ("n", "found", "done")} == {
        "n": 9,
        "found": len(data["rows"]),
        "done": True,
    }
    assert (len(result["data"]["left"]), len(result["data"]["right"])) == (2_000_000, 2_000_000)
    history = await handle.fetch_history()
    started = history.events[0].workflow_execution_started_event_attributes
    assert started.continued_execution_run_id
    assert sum(event.ByteSize() for event in history.events) < 1_000_000
    assert (await handle.query("context"))["data"] == result["data"]
    await replays(served, history)


async def test_what_such_a_run_did_is_undone(served: Served) -> None:
    failing = leaf("break", args={"name": served.task_queue, "how": "typed"}, **ONCE)
    handle = await served.start(whole_run(failing), {"rows": rows(10 * MEBIBYTE)})
    error = await error_of(handle)
    assert error.type == "NO_STOCK"
    assert sorted(error.details[0]["compensated"]) == ["left", "right"]


async def test_beyond_sixteen_mebibytes_the_node_that_writes_fails(served: Served) -> None:
    more = {f"n{index}": leaf("fill", args={"key": f"k{index}", "size": 3 * MEBIBYTE}, **ONCE) for index in range(2)}
    error = await error_of(await served.start(chain(**more), {"rows": rows(11 * MEBIBYTE)}))
    assert error.type == "SIZE_LIMIT_EXCEEDED"
    assert f"over the limit of {STORED_CONTEXT_BYTES}; the largest key is 'rows'" in error.message
    assert error.message.startswith("node 'n1': ")
    assert "PAYLOAD_STORE_URL" not in error.message


async def test_an_input_beyond_sixteen_mebibytes_does_not_start(served: Served) -> None:
    error = await error_of(await served.start(chain(a=put(x=1)), {"rows": rows(17 * MEBIBYTE)}))
    assert error.type == "SIZE_LIMIT_EXCEEDED"


async def test_without_a_store_the_limit_is_two_mebibytes_and_the_error_names_the_store(
    impatient_server: DevServer, task_queue: str, tmp_path: Path
) -> None:
    client = await connect(Settings(), target_host=impatient_server.address)
    fill = {f"f{number}": leaf("fill", args={"key": f"k{number}", "size": 800_000}) for number in range(3)}
    async with worker_for(client, task_queue, tmp_path) as served:
        error = await served.error(chain(**fill))
    assert error.type == "SIZE_LIMIT_EXCEEDED"
    assert "the context is 2400006 bytes, over the limit of 2097152" in error.message
    assert "with PAYLOAD_STORE_URL the limit is 16777216 bytes" in error.message
