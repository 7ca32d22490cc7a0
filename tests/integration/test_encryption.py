"""With keys, nothing of a run is readable where it is kept; keys rotate, get lost and come back, and runs go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr
from pytest_httpserver import HTTPServer
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.runtime import Runtime
from temporalio.worker import Replayer

from anabranch.activities.standard import node_activities
from anabranch.console.codec.alone import CODEC_PATH, codec_alone
from anabranch.dev.devserver import DevServer, temporal_command
from anabranch.errors import EncryptionKeyMissing
from anabranch.loopback import serving
from anabranch.observe import metrics
from anabranch.observe.metrics_registry import Registry
from anabranch.plugin import AnabranchPlugin
from anabranch.settings import Settings, on_this_machine
from anabranch.transport.client import connect, converter_for
from anabranch.transport.working import working
from anabranch.worker import build_worker, sandbox
from tests import servers
from tests.encryption_keys import key
from tests.integration import raw
from tests.integration.canaries import NAMES, Canaries, Story, content_of, content_of_memcached, content_of_redis
from tests.integration.graph_kit import PATIENCE, Handle, error_of, until_status

K1, K2 = key("k1"), key("k2")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("temporal") / "temporal.db"


@pytest.fixture(scope="module")
def kept_server(database: Path) -> Iterator[DevServer]:
    """A Temporal server that keeps runs in a file."""
    with servers.temporal(database=database) as server:
        yield server


@pytest.fixture
def measured() -> Iterator[Registry]:
    """The metrics of this process."""
    yield Registry.start()
    metrics.record_to(None)


def keys(*given: str) -> dict[str, Any]:
    return {"encryption_keys": SecretStr(",".join(given))}


async def client_with(server: DevServer, *given: str) -> Client:
    """A client that has these keys, and no others."""
    settings = Settings(**(keys(*given) if given else {}))
    return await connect(settings, target_host=server.address, namespace="default", api_key=None, tls=False)


async def replays(client: Client, workflow_id: str) -> None:
    """Check that the run's history replays with the client's keys."""
    replayer = Replayer(
        workflows=[], plugins=[AnabranchPlugin(settings=Settings())], data_converter=client.data_converter
    )
    await replayer.replay_workflow(await client.get_workflow_handle(workflow_id).fetch_history())


async def until_told(handle: Handle, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait until the query `status` says so; its answer."""
    for _ in range(1000):
        status: dict[str, Any] = await handle.query("status")
        if holds(status):
            return status
        await asyncio.sleep(0.1)
    raise AssertionError("the run does not say so in time")


async def until_event(handle: WorkflowHandle[Any, Any], kind: EventType.ValueType) -> HistoryEvent:
    """Wait until the history has an event of this kind."""
    for _ in range(1000):
        for event in (await handle.fetch_history()).events:
            if event.event_type == kind:
                return event
        await asyncio.sleep(0.1)
    raise AssertionError("there is no such event in time")


@asynccontextmanager
async def working_for(server: DevServer, settings: Settings, runtime: Runtime | None = None) -> AsyncGenerator[Client]:
    """A client and a worker with these settings."""
    settings = on_this_machine(settings)
    options: dict[str, Any] = {"namespace": "default", "api_key": None, "tls": False, "runtime": runtime}
    client = await connect(settings, target_host=server.address, **options)
    activities = node_activities(settings)
    try:
        worker = build_worker(client, settings, activities, runner=sandbox())
        async with working(worker, activities.running):
            yield client
    finally:
        await activities.aclose()
        if (storage := client.data_converter.external_storage) is not None:
            driver: Any = storage.drivers[0]
            await driver._engine.dispose()


ASK = """
name: ask
nodes:
  note: {type: rule, rules: [{then: {noted: "{{ word }}"}}]}
  ask: {type: approval, prompt: "Is {{ word }} right?"}
  after: {type: rule, rules: [{then: {done: true}}]}
edges:
  - {from: note, to: ask}
  - {from: ask, to: after}
"""
DONE = {"node": "ask", "answer": {}}


async def start_asking(client: Client, task_queue: str) -> Handle:
    """A run that waits for its answer."""
    handle: Handle = await client.start_workflow("ask", {"word": "otter"}, id=task_queue, task_queue=task_queue)
    await until_status(handle, "ask", "waiting")
    return handle


async def result(handle: Handle) -> Any:
    return (await asyncio.wait_for(handle.result(), PATIENCE))["data"]


async def test_keys_rotate_while_runs_are_in_flight(dev_server: DevServer, tmp_path: Path, task_queue: str) -> None:
    (tmp_path / "ask.yaml").write_text(ASK)
    (file := tmp_path / "keys").write_text(K1)
    settings = Settings(task_queue=task_queue, graphs=tmp_path, encryption_keys_file=file)
    newer = await client_with(dev_server, K2, K1)
    async with working_for(dev_server, settings) as client:
        handle = await start_asking(client, task_queue)
        file.write_text(f"# the new one first\n{K2}\n{K1}\n")
        await newer.get_workflow_handle(task_queue).execute_update("complete_task", DONE)
        assert await result(newer.get_workflow_handle(task_queue)) == {"word": "otter", "noted": "otter", "done": True}
    text = b"".join(event.SerializeToString() for event in (await handle.fetch_history()).events)
    assert b"\x02k1" in text
    assert b"\x02k2" in text
    assert b"otter" not in text
    await replays(newer, task_queue)


async def test_a_run_waits_for_a_key_that_is_lost_and_goes_on_when_it_is_back(
    dev_server: DevServer, tmp_path: Path, task_queue: str
) -> None:
    (tmp_path / "ask.yaml").write_text(ASK)
    (file := tmp_path / "keys").write_text(K1)
    settings = Settings(task_queue=task_queue, graphs=tmp_path, encryption_keys_file=file)
    async with working_for(dev_server, settings) as client:
        await start_asking(client, task_queue)
    file.write_text(K2)
    await asyncio.sleep(0.5)  # within which a process still uses a key that was taken out
    knowing = await client_with(dev_server, K1)
    handle: Handle = knowing.get_workflow_handle(task_queue)
    async with working_for(dev_server, settings):
        await handle.signal("pause")
        failed = await until_event(handle, EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED)
        told = failed.workflow_task_failed_event_attributes.failure
        assert told.application_failure_info.type == "ENCRYPTION_KEY_MISSING"
        assert (await handle.describe()).status == WorkflowExecutionStatus.RUNNING
        file.write_text(f"{K1},{K2}")
        await handle.signal("resume")
        await until_status(handle, "ask", "waiting")
        await handle.execute_update("complete_task", DONE)
        assert (await result(handle))["done"] is True
    await replays(knowing, task_queue)


async def test_a_node_waits_for_a_worker_that_has_the_key(
    dev_server: DevServer, tmp_path: Path, task_queue: str
) -> None:
    other = f"{task_queue}-other"
    graph = f"name: far\nnodes: {{a: {{type: rule, task_queue: {other!r}, rules: [{{then: {{done: true}}}}]}}}}"
    (tmp_path / "far.yaml").write_text(graph)
    (file := tmp_path / "keys").write_text(K2)
    lacking = Settings(task_queue=other, graphs=tmp_path, encryption_keys_file=file)
    async with (
        working_for(dev_server, Settings(task_queue=task_queue, graphs=tmp_path, **keys(K1, K2))) as client,
        working_for(dev_server, lacking),
    ):
        handle: Handle = await client.start_workflow("far", {}, id=task_queue, task_queue=task_queue)
        status = await until_told(handle, lambda status: "lacking" in status)
        assert "the key 'k1' is missing" in status["lacking"]["a"]
        file.write_text(f"{K1},{K2}")
        assert await result(handle) == {"done": True}
    await replays(client, task_queue)


async def test_who_has_another_key_is_refused_or_heard_without_what_they_say(
    dev_server: DevServer, tmp_path: Path, task_queue: str
) -> None:
    (tmp_path / "ask.yaml").write_text(ASK)
    stranger = await client_with(dev_server, K2)
    async with working_for(dev_server, Settings(task_queue=task_queue, graphs=tmp_path, **keys(K1))) as client:
        handle = await start_asking(client, task_queue)
        with pytest.raises(EncryptionKeyMissing):  # of the refusal, which is encrypted as well
            await stranger.get_workflow_handle(task_queue).execute_update("complete_task", DONE)
        await stranger.get_workflow_handle(task_queue).signal("pause", {"why": "no reason"})
        await until_told(handle, lambda status: status["status"] == "paused")
        await handle.signal("resume")
        await handle.execute_update("complete_task", DONE)
        assert (await result(handle))["done"] is True
    await replays(client, task_queue)


async def test_a_strict_worker_takes_nothing_in_plain_text(
    dev_server: DevServer, tmp_path: Path, task_queue: str
) -> None:
    (tmp_path / "ask.yaml").write_text(ASK)
    plain = await client_with(dev_server)
    settings = Settings(task_queue=task_queue, graphs=tmp_path, encryption="strict", **keys(K1))
    async with working_for(dev_server, settings) as client:
        for index, given in enumerate(([{"word": "otter"}], [])):
            workflow_id = f"{task_queue}-{index}"
            await plain.start_workflow("ask", args=given, id=workflow_id, task_queue=task_queue)
            refused = await error_of(client.get_workflow_handle(workflow_id))
            assert refused.type == "PLAINTEXT_REFUSED"
        handle = await start_asking(client, task_queue)
        with pytest.raises(EncryptionKeyMissing):
            await plain.get_workflow_handle(task_queue).execute_update("complete_task", DONE)
        assert (await until_status(handle, "ask", "waiting"))["status"] == "running"
        await handle.execute_update("complete_task", DONE)
        assert (await result(handle))["done"] is True

        wish = {"rerun": {"workflow_id": task_queue, "from": ["ask"]}}
        refusal = f"{task_queue}-again"
        await plain.start_workflow("GraphWorkflow", wish, id=refusal, task_queue=task_queue)
        refused = await error_of(client.get_workflow_handle(refusal))
        assert refused.type == "PLAINTEXT_REFUSED"
        again = await client.start_workflow("GraphWorkflow", wish, id=f"{task_queue}-2", task_queue=task_queue)
        await until_status(again, "ask", "waiting")
        await again.execute_update("complete_task", DONE)
        assert (await result(again))["done"] is True
    await replays(client, task_queue)


async def test_a_strict_run_takes_no_result_in_plain_text(
    dev_server: DevServer, tmp_path: Path, task_queue: str
) -> None:
    elsewhere = f"{task_queue}-elsewhere"
    graph = f"name: far\nnodes: {{a: {{type: activity, activity: Charge, task_queue: {elsewhere!r}}}}}"
    (tmp_path / "far.yaml").write_text(graph)
    settings = Settings(task_queue=task_queue, graphs=tmp_path, encryption="strict", **keys(K1))
    async with working_for(dev_server, settings) as client:
        forged: Handle = await client.start_workflow("far", {}, id=f"{task_queue}-0", task_queue=task_queue)
        await raw.complete_activity(client, elsewhere, raw.payload(b"1"))
        assert (await error_of(forged)).type == "PLAINTEXT_REFUSED"
        told: Handle = await client.start_workflow("far", {}, id=f"{task_queue}-1", task_queue=task_queue)
        await raw.complete_activity(client, elsewhere, *await client.data_converter.encode([1]))
        assert await result(told) == {"a": 1}
    await replays(client, f"{task_queue}-0")


async def test_the_temporal_command_reads_a_run_with_the_token_and_not_without(
    dev_server: DevServer, tmp_path: Path, task_queue: str
) -> None:
    (tmp_path / "ask.yaml").write_text(ASK)
    settings = Settings(task_queue=task_queue, graphs=tmp_path, **keys(K1))
    token = "t" * 32
    async with (
        working_for(dev_server, settings) as client,
        serving(codec_alone(converter=converter_for(settings), token=token)) as url,
    ):
        await start_asking(client, task_queue)
        command = [temporal_command(), "workflow", "show", "--workflow-id", task_queue, "--detailed"]
        command += ["--address", dev_server.address]

        async def shown(*options: str) -> str:
            process = await asyncio.create_subprocess_exec(
                *command, *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
            )
            return (await process.communicate())[0].decode()

        codec = ["--codec-endpoint", url + CODEC_PATH]
        assert "otter" not in await shown(*codec)
        assert "otter" not in await shown(*codec, "--codec-auth", f"Bearer {token}x")
        assert "otter" in await shown(*codec, "--codec-auth", f"Bearer {token}")


@pytest.mark.parametrize("encrypted", [True, False], ids=["with keys", "without keys"])
async def test_canaries_are_found_nowhere_with_keys_and_everywhere_without(
    *,
    kept_server: DevServer,
    database: Path,
    valkey_url: str,
    memcached_url: str,
    httpserver: HTTPServer,
    exported: InMemorySpanExporter,
    measured: Registry,
    tmp_path: Path,
    task_queue: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    encrypted: bool,
) -> None:
    canaries = Canaries()
    story = Story(canaries, tmp_path, httpserver)
    story.write()
    payloads = tmp_path / "payloads.db"
    monkeypatch.setenv("SQLITE_URL", f"sqlite:///{tmp_path / 'notes.db'}")
    settings = Settings(
        task_queue=task_queue,
        graphs=tmp_path,
        http_allow_private=True,
        redis_url=valkey_url,
        store_url=memcached_url,
        cache_url=valkey_url,
        payload_store_url=f"sqlite:///{payloads}",
        payload_store_threshold_bytes=6000,
        **(keys(K1) if encrypted else {}),
    )
    with caplog.at_level(logging.INFO):
        async with working_for(kept_server, settings, measured.runtime) as client:
            await story.play(client, task_queue)
    seen = {
        "spans": "".join(span.to_json() for span in exported.get_finished_spans()).encode(),
        "metrics": await measured.text(),
    }
    # Nothing of a context is in these, with keys or without; that they are of these runs, their graphs' names show.
    assert all(f"story{canaries.tag}".encode() in content for content in seen.values())
    assert {where: canaries.found_in(content) for where, content in seen.items()} == {"spans": set(), "metrics": set()}
    sessions = [f"anabranch:context:story{canaries.tag}"]
    found = {
        "server": canaries.found_in(content_of([database])),
        "payloads": canaries.found_in(content_of([payloads])),
        "redis": canaries.found_in(content_of_redis(valkey_url)),
        "memcached": canaries.found_in(await content_of_memcached(memcached_url, sessions)),
        "logs": canaries.found_in(caplog.text.encode()),
    }
    if encrypted:
        assert found == {place: set() for place in found}
        return
    assert set().union(*found.values()) == set(NAMES)
    assert "large" in found["payloads"]
    assert "cached" in found["redis"]
    assert {"input", "answer", "large"} <= found["memcached"]


@pytest.mark.parametrize("mode", ["on", "strict"])
async def test_an_event_is_received_where_it_can_be_read_and_refused_for_good_where_it_cannot(
    dev_server: DevServer, tmp_path: Path, task_queue: str, mode: Literal["on", "strict"]
) -> None:
    """What is sent in plain text, or with a key that the workers lack, stops nothing; a replay finds the same."""
    (tmp_path / "wait.yaml").write_text("name: wait\nnodes: {paid: {type: receive, event: paid}}\n")
    sent = {"name": "paid", "data": 1}
    settings = Settings(task_queue=task_queue, graphs=tmp_path, encryption=mode, **keys(K1))
    strangers = [await client_with(dev_server, K2)]
    if mode == "strict":
        strangers.append(await client_with(dev_server))
    async with working_for(dev_server, settings) as client:
        handle: Handle = await client.start_workflow("wait", {}, id=task_queue, task_queue=task_queue)
        for stranger in strangers:
            await stranger.get_workflow_handle(task_queue).signal("event", sent)
        await handle.signal("event", {**sent, "data": 2})
        ended = await asyncio.wait_for(handle.result(), PATIENCE)
        assert ended["data"] == {"paid": 2}
        assert len(ended["warnings"]) == len(strangers)
    await replays(client, task_queue)
