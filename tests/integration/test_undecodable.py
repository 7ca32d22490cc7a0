"""Payloads that cannot be decoded, on every wire: each fails only what reads it, and no run is frozen by one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowUpdateFailedError
from temporalio.common import RawValue
from temporalio.service import RPCError
from temporalio.worker import Replayer

from anabranch.activities.registry import NodeActivities
from anabranch.dev.devserver import DevServer
from anabranch.plugin import AnabranchPlugin
from anabranch.redis_client import RedisClient
from anabranch.settings import Settings
from anabranch.transport.client import connect
from anabranch.transport.node_protocol import GRAPH_DIGESTS
from tests.integration import raw
from tests.integration.graph_kit import (
    BOTH_WAYS,
    MODES,
    PATIENCE,
    Handle,
    Served,
    chain,
    edge,
    error_of,
    events,
    put,
    scheduled,
    until_status,
    worker_for,
)
from tests.integration.raw import BAD, payload

ASK = chain(ask={"type": "approval"}, after=put(done=True))
GOOD = payload(b"{}")
FEW = {what: BAD[what] for what in ("corrupt zstd", "bad MessagePack", "missing reference", "cut JSON")}
"""One of each way in which payloads cannot be decoded."""


@pytest.fixture(params=BOTH_WAYS)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bad(mode: str) -> dict[str, Payload]:
    """What cannot be decoded, and a few of that where every workflow task replays in the sandbox."""
    return BAD if mode == MODES[0] else FEW


@pytest.fixture
def settings(task_queue: str, tmp_path: Path, valkey_url: str) -> Settings:
    return Settings(task_queue=task_queue, graphs=tmp_path, payload_store_url=valkey_url)


@pytest.fixture
async def stored_client(dev_server: DevServer, settings: Settings) -> AsyncGenerator[Client]:
    """A client with a payload store."""
    client = await connect(settings, target_host=dev_server.address)
    yield client
    storage = client.data_converter.external_storage
    assert storage is not None
    driver: Any = storage.drivers[0]
    await driver._redis.aclose()


@pytest.fixture
async def served(
    stored_client: Client, task_queue: str, tmp_path: Path, mode: str, valkey_url: str
) -> AsyncGenerator[Served]:
    async with worker_for(stored_client, task_queue, tmp_path, mode=mode, payload_store_url=valkey_url) as running:
        yield running


async def replays(served: Served, handle: Handle) -> None:
    """Check that the run's history replays."""
    replayer = Replayer(
        workflows=[], plugins=[AnabranchPlugin(settings=Settings())], data_converter=served.client.data_converter
    )
    await replayer.replay_workflow(await handle.fetch_history())


async def completes(served: Served, handle: Handle) -> None:
    """Answer what the run asks for, and check that it goes on to its end, and replays."""
    await handle.execute_update("complete_task", {"node": "ask", "answer": {}})
    assert (await asyncio.wait_for(handle.result(), PATIENCE))["data"]["done"] is True
    await replays(served, handle)


def saga(**bad: Any) -> dict[str, Any]:
    """A step that is undone, and one of another worker whose result cannot be decoded."""
    return chain(first={**put(a=1), "compensate": put(undone="first")}, bad={**bad, "compensate": put(undone="bad")})


# the start


@pytest.mark.parametrize("name", ["order", "GraphWorkflow"])
async def test_a_start_that_cannot_be_decoded_fails(served: Served, name: str, bad: dict[str, Payload]) -> None:
    served.write("order", "name: order\nnodes: {a: {type: wait, for: 1h}}")
    handles = {}
    for index, (what, one) in enumerate(bad.items()):
        for position, given in enumerate([[one], [GOOD, one], [one] * 3]):
            workflow_id = f"{served.task_queue}-{index}-{position}"
            await raw.start(served.client, served.task_queue, workflow_id, name, *given)
            handles[what, position] = served.client.get_workflow_handle(workflow_id)
            error = await error_of(handles[what, position])
            assert error.type == "INPUT_INVALID"
            assert error.non_retryable
    await replays(served, handles["corrupt zstd", 0])
    await replays(served, handles["missing reference", 1])


async def test_json_that_python_could_parse_here_and_not_there_is_refused_everywhere(served: Served) -> None:
    served.write("order", "name: order\nnodes: {a: {type: wait, for: 1h}}")
    for index, (depth, code) in enumerate({100: "WIRE_FORMAT_INVALID", 300: "INPUT_INVALID"}.items()):
        workflow_id = f"{served.task_queue}-{index}"
        deep = payload(b'{"x": ' * depth + b"1" + b"}" * depth)
        await raw.start(served.client, served.task_queue, workflow_id, "order", deep)
        error = await error_of(served.client.get_workflow_handle(workflow_id))
        assert (error.type, "nested" in error.message) == (code, True)


async def test_a_memo_that_cannot_be_decoded_stops_nothing(served: Served, bad: dict[str, Payload]) -> None:
    served.write("order", "name: order\nnodes: {a: {type: rule, rules: [{then: {x: 1}}]}}")
    for index, one in enumerate(bad.values()):
        workflow_id = f"{served.task_queue}-{index}"
        memo = {GRAPH_DIGESTS: one, "other": one}
        await raw.start(served.client, served.task_queue, workflow_id, "order", GOOD, memo=memo)
        handle: Handle = served.client.get_workflow_handle(workflow_id)
        assert (await asyncio.wait_for(handle.result(), PATIENCE))["data"] == {"x": 1}
        await replays(served, handle)


async def test_a_start_of_other_json_than_an_object_fails(served: Served) -> None:
    served.write("order", "name: order\nnodes: {a: {type: wait, for: 1h}}")
    for index, data in enumerate([b"null", b"1", b'"x"', b"[]", b"[{}]", b"true"]):
        workflow_id = f"{served.task_queue}-{index}"
        await raw.start(served.client, served.task_queue, workflow_id, "order", payload(data))
        assert (await error_of(served.client.get_workflow_handle(workflow_id))).type == "INPUT_INVALID"


@pytest.mark.parametrize("what", FEW)
async def test_a_state_that_cannot_be_decoded_ends_the_run_that_continued_and_says_that_effects_may_be_left(
    served: Served, what: str
) -> None:
    served.write("order", "name: order\nnodes: {a: {type: wait, for: 1h}}")
    elsewhere, client = f"{served.task_queue}-elsewhere", served.client
    await raw.start(client, elsewhere, served.task_queue, "order", GOOD)
    await raw.continue_as_new(client, elsewhere, into=served.task_queue, name="order", given=[GOOD, BAD[what]])
    error = await error_of(client.get_workflow_handle(served.task_queue))
    assert error.type == "INPUT_INVALID"
    assert error.details[0]["effects_left"] is True


# messages


async def test_signals_that_cannot_be_decoded_stop_nothing(served: Served, bad: dict[str, Payload]) -> None:
    handle = await served.start(ASK)
    await until_status(handle, "ask", "waiting")
    for one in bad.values():
        for name in ("pause", "resume", "unknown", "__temporal_x"):
            await raw.signal(handle, served.client, name, one)
            await raw.signal(handle, served.client, name, GOOD, one)
    await handle.signal("resume")
    await completes(served, handle)


async def test_a_signal_with_the_start_that_cannot_be_decoded_stops_nothing(served: Served) -> None:
    """The worker decodes it together with the start, in the first workflow task."""
    workflow_id = served.task_queue
    started = await served.client.start_workflow(
        "GraphWorkflow",
        {"graph": {"name": "g", **ASK}},
        id=workflow_id,
        task_queue=served.task_queue,
        start_signal="pause",
        start_signal_args=[RawValue(BAD["corrupt zstd"])],
    )
    await until_status(started, "ask", "waiting")
    await completes(served, started)


async def test_updates_that_cannot_be_decoded_are_refused(served: Served, bad: dict[str, Payload]) -> None:
    handle = await served.start(ASK)
    await until_status(handle, "ask", "waiting")
    for one in bad.values():
        for given in ([one], [GOOD, one]):
            answer = await raw.update(handle, served.client, "complete_task", *given)
            assert answer.outcome.HasField("failure")
    for what in ("corrupt zstd", "JSON nested too deep"):
        answer = await raw.update(handle, served.client, "write_context", BAD[what])
        assert answer.outcome.failure.application_failure_info.type == "WIRE_FORMAT_INVALID"
    answer = await raw.update(handle, served.client, "write_context", BAD["missing reference"])
    assert answer.outcome.failure.cause.application_failure_info.type == "Unavailable"
    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update("no_such_update", {})
    await completes(served, handle)


async def test_queries_that_cannot_be_decoded_are_refused_and_others_answered(
    served: Served, bad: dict[str, Payload]
) -> None:
    handle = await served.start(ASK)
    await until_status(handle, "ask", "waiting")
    for one in bad.values():
        with pytest.raises(RPCError):
            await raw.query(handle, served.client, "context", one)
    with pytest.raises(RPCError):
        await raw.query(handle, served.client, "no_such_query")
    assert (await handle.query("status"))["status"] == "running"
    await completes(served, handle)


# results


@pytest.mark.parametrize("kind", ["activity", "python"])
async def test_a_result_of_an_activity_that_cannot_be_decoded_fails_its_node_which_may_have_happened(
    served: Served, kind: str, bad: dict[str, Payload]
) -> None:
    called: dict[str, Any] = {"type": "activity", "activity": "x"} if kind == "activity" else put()

    async def failed(result: Payload, elsewhere: str) -> None:
        handle = await served.start(saga(**called, task_queue=elsewhere))
        await raw.complete_activity(served.client, elsewhere, result)
        error = await error_of(handle)
        assert (error.type, error.details[0]["node"]) == ("WIRE_FORMAT_INVALID", "bad")
        assert error.details[0]["compensated"] == ["bad", "first"]
        await replays(served, handle)

    for index, one in enumerate(bad.values()):
        await failed(one, f"{served.task_queue}-{index}")


async def test_a_node_of_ours_that_another_worker_completes_without_a_result_fails(served: Served) -> None:
    elsewhere = f"{served.task_queue}-elsewhere"
    handle = await served.start(saga(**put(), task_queue=elsewhere))
    await raw.complete_activity(served.client, elsewhere)
    error = await error_of(handle)
    assert error.type == "WIRE_FORMAT_INVALID"
    assert error.details[0]["compensated"] == ["bad", "first"]


async def test_the_details_of_a_failure_that_cannot_be_decoded_hide_it_not_and_it_may_have_happened(
    served: Served, bad: dict[str, Payload]
) -> None:
    async def failed(result: Payload, elsewhere: str) -> None:
        handle = await served.start(saga(type="activity", activity="x", task_queue=elsewhere))
        await raw.fail_activity(served.client, elsewhere, result, GOOD)
        error = await error_of(handle)
        assert (error.type, error.details[0]["compensated"]) == ("BROKEN", ["bad", "first"])
        assert "undecodable" in error.details[0]["cause"][0]
        assert error.details[0]["cause"][1] == {}
        await replays(served, handle)

    for index, one in enumerate(bad.values()):
        await failed(one, f"{served.task_queue}-{index}")


@pytest.mark.parametrize("what", FEW)
async def test_a_result_of_a_local_activity_that_cannot_be_decoded_fails_its_node(
    served: Served, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = NodeActivities.run_node

    async def run_node(self: NodeActivities, task: Any) -> Any:
        return RawValue(BAD[what]) if task.address == "bad" else await honest(self, task)

    monkeypatch.setattr(NodeActivities, "run_node", run_node)
    handle = await served.start(saga(type="rule", local=True, rules=[{"then": {"x": 1}}]))
    error = await error_of(handle)
    assert (error.type, error.details[0]["node"]) == ("WIRE_FORMAT_INVALID", "bad")
    assert "first" in error.details[0]["compensated"]
    await replays(served, handle)


async def test_a_result_of_a_child_that_cannot_be_decoded_fails_its_node_which_may_have_happened(
    served: Served, bad: dict[str, Payload]
) -> None:
    served.write("sub", "name: sub\nnodes: {a: {type: rule, rules: [{then: {x: 1}}]}}")

    async def failed(result: Payload, elsewhere: str) -> None:
        handle = await served.start(saga(type="graph", graph="sub", mode="child_workflow", task_queue=elsewhere))
        await raw.complete_workflow(served.client, elsewhere, result)
        error = await error_of(handle)
        assert (error.type, error.details[0]["node"]) == ("WIRE_FORMAT_INVALID", "bad")
        assert error.details[0]["compensated"] == ["bad", "first"]
        await replays(served, handle)

    for index, one in enumerate([*bad.values(), payload(b'{"x": 1}'), payload(b'{"data": []}')]):
        await failed(one, f"{served.task_queue}-{index}")


async def test_a_run_that_was_sent_what_cannot_be_decoded_is_cancelled_and_compensated(served: Served) -> None:
    graph = chain(first={**put(a=1), "compensate": put(undone=True)}, ask={"type": "approval"})
    handle = await served.start(graph)
    await until_status(handle, "ask", "waiting")
    await raw.signal(handle, served.client, "pause", BAD["corrupt zstd"])
    await raw.signal(handle, served.client, "unknown", BAD["missing reference"])
    await handle.cancel()
    await asyncio.wait({asyncio.create_task(_over(handle))}, timeout=PATIENCE)
    assert (await handle.describe()).status == WorkflowExecutionStatus.CANCELED
    assert "undo first" in await scheduled(served.client, handle)


async def _over(handle: Handle) -> None:
    try:
        await handle.result()
    except Exception:
        return


# what a store has changes


def failing_softly(elsewhere: str) -> dict[str, Any]:
    """A run that asks after a result of another worker, whichever way that ended."""
    nodes = {
        "bad": {"type": "activity", "activity": "x", "task_queue": elsewhere},
        "good": put(way="read"),
        "failed": put(way="not read"),
        "ask": {"type": "approval"},
        "after": put(done=True),
    }
    edges = [
        edge("bad", "good"),
        edge("bad", "failed", outcome="failure"),
        edge("good", "ask"),
        edge("failed", "ask"),
        edge("ask", "after"),
    ]
    return {"nodes": nodes, "edges": edges}


async def kept(client: Client, value: object) -> tuple[Payload, str]:
    """A reference to a large value in the store, and its key there."""
    (made,) = await client.data_converter.encode([value])
    claim = raw.claim_of(made)
    return made, f"anabranch:payload:{claim['sha256']}"


async def test_what_was_missing_when_a_run_read_it_stays_so_for_that_run(served: Served, valkey_url: str) -> None:
    elsewhere, redis = f"{served.task_queue}-elsewhere", RedisClient.from_url(valkey_url)
    made, key = await kept(served.client, {"x": os.urandom(300_000).hex()})
    content = await redis.commands.get(key)
    await redis.commands.delete(key)
    handle = await served.start(failing_softly(elsewhere))
    await raw.complete_activity(served.client, elsewhere, made)
    await until_status(handle, "ask", "waiting")
    assert content is not None
    await redis.commands.set(key, content)
    await completes(served, handle)
    assert (await handle.result())["data"]["way"] == "not read"
    await redis.aclose()


async def test_a_run_whose_payload_is_lost_later_stands_still_until_it_is_restored(
    stored_client: Client, task_queue: str, tmp_path: Path, valkey_url: str
) -> None:
    elsewhere, redis = f"{task_queue}-elsewhere", RedisClient.from_url(valkey_url)
    made, key = await kept(stored_client, {"x": os.urandom(300_000).hex()})
    async with worker_for(stored_client, task_queue, tmp_path, mode=MODES[1], payload_store_url=valkey_url) as served:
        handle = await served.start(failing_softly(elsewhere))
        await raw.complete_activity(stored_client, elsewhere, made)
        await until_status(handle, "ask", "waiting")
        content = await redis.commands.get(key)
        assert content is not None
        await redis.commands.delete(key)
        answering = asyncio.create_task(handle.execute_update("complete_task", {"node": "ask", "answer": {}}))
        assert "restore it, and the run goes on" in await raw.task_failure(handle)
        await redis.commands.set(key, content)
        await answering
        assert (await asyncio.wait_for(handle.result(), PATIENCE))["data"]["way"] == "read"
    await redis.aclose()


async def test_a_signal_by_reference_is_dropped_whether_or_not_the_store_has_it(
    served: Served, valkey_url: str
) -> None:
    redis = RedisClient.from_url(valkey_url)
    made, key = await kept(served.client, {"x": os.urandom(300_000).hex()})
    content = await redis.commands.get(key)
    assert content is not None
    handle = await served.start(ASK)
    await until_status(handle, "ask", "waiting")
    await raw.signal(handle, served.client, "pause", made)
    await redis.commands.delete(key)
    await raw.signal(handle, served.client, "pause", made)
    assert (await handle.query("status"))["status"] == "running"
    await redis.commands.set(key, content)
    await completes(served, handle)
    await redis.aclose()


async def test_a_run_goes_on_when_a_store_that_was_down_is_back(
    dev_server: DevServer, task_queue: str, tmp_path: Path, valkey_url: str
) -> None:
    async with raw.door_to(valkey_url) as door:
        settings = Settings(task_queue=task_queue, graphs=tmp_path, payload_store_url=door.url)
        client = await connect(settings, target_host=dev_server.address)
        elsewhere = f"{task_queue}-elsewhere"
        made, _ = await kept(client, {"x": os.urandom(300_000).hex()})
        async with worker_for(client, task_queue, tmp_path, payload_store_url=door.url) as served:
            handle = await served.start(failing_softly(elsewhere))
            await until_status(handle, "bad", "running")
            await door.shut()
            await raw.complete_activity(client, elsewhere, made)
            assert "Redis did not answer" in await raw.task_failure(handle)
            await door.open()
            await until_status(handle, "ask", "waiting")
            await completes(served, handle)
            assert (await handle.result())["data"]["way"] == "read"
        driver: Any = client.data_converter.external_storage
        await driver.drivers[0]._redis.aclose()


async def test_a_result_in_a_store_that_the_worker_does_not_have_fails_its_node(
    client: Client, task_queue: str, tmp_path: Path
) -> None:
    elsewhere = f"{task_queue}-elsewhere"
    async with worker_for(client, task_queue, tmp_path) as served:
        handle = await served.start(saga(type="activity", activity="x", task_queue=elsewhere))
        await raw.complete_activity(client, elsewhere, BAD["missing reference"])
        error = await error_of(handle)
    assert "a store that this worker does not have" in error.message
    assert error.details[0]["compensated"] == ["bad", "first"]


# forged states


@pytest.mark.parametrize(
    "second",
    [
        {"carried": {}},
        {"carried": {}, "previous": None},
        {"carried": {}, "previous": ""},
        {"carried": {"pinned": [], "created_at": 1, "choices": {}, "machine": {}}, "previous": "x"},
        {"pinned": ["evil", "", "{}", {}]},
        {"pinned": [], "parent": None},
    ],
)
async def test_a_forged_state_is_refused_in_every_run_of_a_cron_schedule(served: Served, second: Any) -> None:
    served.write("order", "name: order\nnodes: {a: {type: rule, rules: [{then: {x: 1}}]}}")
    forged = served.client.data_converter.payload_converter.to_payload(second)
    workflow_id = served.task_queue
    await raw.start(served.client, served.task_queue, workflow_id, "order", GOOD, forged, cron="@every 1s")
    runs: list[Any] = []
    while len(runs) < 3:
        await asyncio.sleep(0.2)
        described = await served.client.get_workflow_handle(workflow_id).describe()
        if described.run_id not in runs:
            runs.append(described.run_id)
    for run_id in runs[:2]:
        handle = served.client.get_workflow_handle(workflow_id, run_id=run_id)
        *_, last = await events(handle)
        failure = last.workflow_execution_failed_event_attributes.failure
        assert failure.application_failure_info.type == "INPUT_INVALID"
    await served.client.get_workflow_handle(workflow_id).terminate()
