"""Events through a real NATS JetStream and a real Temporal server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client as Connection
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy, StreamConfig
from nats.js.errors import NoStreamResponseError, NotFoundError
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from anabranch.brokers.address import parse_address
from anabranch.brokers.nats import NatsSink, NatsSource
from anabranch.brokers.source import Outgoing
from anabranch.context import DistributedContext
from anabranch.context.propagation import inject
from anabranch.dev.devserver import DevServer
from anabranch.errors import ConfigurationError, Unavailable
from anabranch.events.event_workflow import run_id
from anabranch.events.service import Route
from anabranch.loopback import free_port
from anabranch.observe import metrics
from anabranch.settings import Settings
from anabranch.transport.client import connect
from tests import servers
from tests.integration.events_kit import TRACE, flow, graph_worker, route, serving
from tests.integration.graph_kit import PATIENCE
from tests.metrics_kit import hearing


@dataclass(frozen=True)
class Site:
    """Subjects of one test, on the server of all."""

    client: Client
    task_queue: str
    url: str
    topic: str
    connection: Connection
    stream: JetStreamContext
    graphs: Path

    @property
    def route(self) -> Route:
        return route(f"{self.url}/{self.topic}", f"{self.url}/{self.topic}.done")

    async def send(self, body: bytes | dict[str, Any], **headers: str) -> None:
        packed = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        await self.stream.publish(self.topic, packed, headers=named or None)

    async def read(self, suffix: str, count: int) -> list[Msg]:
        """Exactly so many messages: none follows within 0.3 s."""
        subscription = await self.stream.subscribe(f"{self.topic}{suffix}", ordered_consumer=True)
        found = [await subscription.next_msg(timeout=PATIENCE) for _ in range(count)]
        with pytest.raises(TimeoutError):
            found.append(await subscription.next_msg(timeout=0.3))
        await subscription.unsubscribe()
        return found

    async def until_acknowledged(self) -> None:
        """Wait until the consumer has no pending acknowledgement and has been given everything."""
        name = self.topic.replace(".", "_")
        info = await self.stream.consumer_info(name, "anabranch-order")
        for _ in range(2000):
            if info.num_ack_pending == 0 and info.num_pending == 0:
                return
            await asyncio.sleep(0.05)
            info = await self.stream.consumer_info(name, "anabranch-order")
        raise AssertionError(f"{info.num_ack_pending} unacknowledged, {info.num_pending} not delivered")


@pytest.fixture
async def site(client: Client, task_queue: str, nats_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    connection = await nats.connect(nats_url)
    stream = connection.jetstream()
    topic = f"orders{uuid.uuid4().hex[:8]}"
    for subject in (topic, f"{topic}.done", f"{topic}.done.dead"):
        await stream.add_stream(StreamConfig(name=subject.replace(".", "_"), subjects=[subject]))
    async with graph_worker(client, task_queue, tmp_path):
        yield Site(client, task_queue, nats_url, topic, connection, stream, tmp_path)
    await connection.close()


def event_id(site: Site, name: str) -> str:
    """An id that no other test uses."""
    return f"{name}-{site.topic}"


async def test_a_json_event_becomes_a_run_and_its_context_the_next_event(site: Site) -> None:
    order = event_id(site, "o1")
    with hearing() as heard:
        async with serving(site.client, site.route, flow(site.route, site.task_queue)):
            await site.send({"id": order, "price": 2.5, "quantity": 4}, traceparent=TRACE, tracestate="a=b")
            (done,) = await site.read(".done", 1)
            await site.until_acknowledged()
    assert heard.values(metrics.EVENTS_CONSUMED) == [(1, ("order", "started"))]
    assert heard.values(metrics.EVENTS_PUBLISHED) == [(1, ("order", "result"))]
    assert json.loads(done.data) == {"id": order, "price": 2.5, "quantity": 4, "valid": True, "total": 10.0}
    assert done.headers == {
        "traceparent": TRACE,
        "tracestate": "a=b",
        "Content-Type": "application/json",
        "Anabranch-Event-Id": order,
        "Anabranch-Session-Id": order,
        "Anabranch-Context-Version": "3",
        "Anabranch-Graph": "order",
        "Anabranch-Run": f"order:{order}",
        "Nats-Msg-Id": f"order:{order}",
    }
    described = await site.client.get_workflow_handle(run_id("order", order)).describe()
    assert (described.workflow_type, described.status) == ("order", WorkflowExecutionStatus.COMPLETED)


@pytest.mark.parametrize("headers", [{}, {"Content_Type": "application/msgpack"}], ids=["detected", "declared"])
async def test_a_serialized_context_is_carried_on(site: Site, headers: dict[str, str]) -> None:
    session = event_id(site, "s")
    context = DistributedContext(session, {"price": 3, "quantity": 2})
    context.add_tag("eu")
    context.set("note", "ä")
    async with serving(site.client, site.route, flow(site.route, site.task_queue)):
        await site.send(context.serialize(), **headers)
        (done,) = await site.read(".done", 1)
    after = DistributedContext.deserialize(done.data)
    assert after.session_id == session
    assert after.data == {"price": 3, "quantity": 2, "note": "ä", "valid": True, "total": 6}
    assert (after.metadata.version, after.modified_by, after.metadata.tags) == (4, "order", ("eu",))
    assert after.metadata.created_at == context.metadata.created_at
    assert done.headers is not None
    assert done.headers["Anabranch-Event-Id"] == f"{session}@2"
    assert done.headers["Content-Type"] == "application/msgpack"


async def test_a_context_in_the_header_lies_under_the_event(site: Site) -> None:
    session = event_id(site, "s")
    headers: dict[str, str] = {}
    inject(DistributedContext(session, {"price": 3, "quantity": 9}), headers)
    async with serving(site.client, site.route, flow(site.route, site.task_queue)):
        await site.stream.publish(site.topic, b'{"quantity": 2}', headers=headers)
        (done,) = await site.read(".done", 1)
    assert json.loads(done.data) == {"price": 3, "quantity": 2, "valid": True, "total": 6}
    assert done.headers is not None
    assert done.headers["Anabranch-Session-Id"] == session
    assert done.headers["Anabranch-Event-Id"].startswith(f"{site.topic}-1@")


async def test_an_event_of_a_stream_that_was_made_anew_is_another_event(site: Site) -> None:
    """It is where an event of the old stream was, and has no id of its own."""
    for total in (2, 3):
        async with serving(site.client, site.route, flow(site.route, site.task_queue)):
            await site.send({"price": 1, "quantity": total})
            done = (await site.read(".done", total - 1))[-1]
        assert json.loads(done.data)["total"] == total
        await site.stream.delete_stream(site.topic)
        await site.stream.add_stream(StreamConfig(name=site.topic, subjects=[site.topic]))


async def test_a_stream_that_was_made_anew_is_read_on(site: Site) -> None:
    """Its consumer is gone with it, and the command goes on."""
    async with serving(site.client, site.route, flow(site.route, site.task_queue)):
        await site.send({"price": 1, "quantity": 2})
        await site.read(".done", 1)
        await site.stream.delete_stream(site.topic)
        await asyncio.sleep(0.5)
        await site.stream.add_stream(StreamConfig(name=site.topic, subjects=[site.topic]))
        await site.send({"price": 1, "quantity": 3})
        done = await site.read(".done", 2)
    assert [json.loads(each.data)["total"] for each in done] == [2, 3]


async def test_poison_of_a_stream_that_was_made_anew_is_a_dead_letter_too(site: Site) -> None:
    for count in (1, 2):
        async with serving(site.client, site.route, flow(site.route, site.task_queue)):
            await site.send(b"poison %d" % count)
            dead = (await site.read(".done.dead", count))[-1]
        assert dead.data == b"poison %d" % count
        await site.stream.delete_stream(site.topic)
        await site.stream.add_stream(StreamConfig(name=site.topic, subjects=[site.topic]))


async def test_an_event_that_is_delivered_again_starts_nothing(site: Site) -> None:
    order = event_id(site, "o")
    async with serving(site.client, site.route, flow(site.route, site.task_queue)):
        for _ in range(3):
            await site.send({"id": order, "price": 1, "quantity": 1})
        await site.read(".done", 1)
        await site.until_acknowledged()
        await site.send({"id": order, "price": 1, "quantity": 1})
        await site.until_acknowledged()
        await site.read(".done", 1)
    assert [each async for each in site.client.list_workflows(f"WorkflowId = '{run_id('order', order)}'")]


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        ({"id": "{0}-field"}, {"Anabranch_Event_Id": "{0}-header", "Nats_Msg_Id": "{0}-broker"}, "{0}-header"),
        ({"id": "{0}-field"}, {"Nats_Msg_Id": "{0}-broker"}, "{0}-field"),
        ({}, {"Nats_Msg_Id": "{0}-broker"}, "{0}-broker"),
        ({}, {}, "{0}-1@"),
    ],
    ids=["header", "field", "Nats-Msg-Id", "position"],
)
async def test_where_the_id_of_an_event_comes_from(
    site: Site, body: dict[str, Any], headers: dict[str, str], expected: str
) -> None:
    body = {name: value.format(site.topic) for name, value in body.items()}
    async with serving(site.client, site.route, flow(site.route, site.task_queue)):
        named = {name: value.format(site.topic) for name, value in headers.items()}
        await site.send({**body, "price": 1, "quantity": 1}, **named)
        (done,) = await site.read(".done", 1)
    assert done.headers is not None
    assert re.sub(r"@\d{13}$", "@", done.headers["Anabranch-Event-Id"]) == expected.format(site.topic)


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b"\x93\x01\x02", {}, "WIRE_FORMAT_INVALID"),
        (b"\xff\xfe\x00", {}, "WIRE_FORMAT_INVALID"),
        (b"[1, 2]", {}, "WIRE_FORMAT_INVALID"),
        (b'{"price": NaN}', {}, "WIRE_FORMAT_INVALID"),
        (b'{"id": {"a": 1}}', {}, "INPUT_INVALID"),
        (b'{"id": 1}', {"Anabranch_Event_Id": "x" * 300}, "INPUT_INVALID"),
        (b"{}", {"Anabranch_Context": "no base64!"}, "WIRE_FORMAT_INVALID"),
        (b'"' + b"x" * 3000 + b'"', {}, "SIZE_LIMIT_EXCEEDED"),
    ],
    ids=["broken MessagePack", "no text", "a list", "NaN", "id", "long id", "header", "too large"],
)
async def test_poison_goes_to_the_dead_letters_as_it_came(
    site: Site, body: bytes, headers: dict[str, str], code: str
) -> None:
    chosen = flow(site.route, site.task_queue)
    reading = type(chosen.reading)(max_bytes=2000)
    with hearing() as heard:
        async with serving(site.client, site.route, flow(site.route, site.task_queue, reading=reading)):
            await site.send(body, My_Header="kept", **headers)
            (dead,) = await site.read(".done.dead", 1)
            await site.until_acknowledged()
            await site.read(".done", 0)
    assert heard.values(metrics.EVENTS_CONSUMED) == [(1, ("order", "dead"))]
    assert heard.values(metrics.EVENTS_PUBLISHED) == [(1, ("order", "dead_letter"))]
    assert dead.data == body
    assert dead.headers is not None
    assert dead.headers["Anabranch-Error-Code"] == code
    assert dead.headers["Anabranch-Error-Reason"]
    assert dead.headers["Anabranch-Source"] == f"{site.topic}-1"
    assert dead.headers["My-Header"] == "kept"


async def test_a_run_that_fails_goes_to_the_dead_letters_with_its_reason(site: Site) -> None:
    order = event_id(site, "o")
    async with serving(site.client, site.route, flow(site.route, site.task_queue)):
        await site.send({"id": order, "price": 1}, traceparent=TRACE)
        (dead,) = await site.read(".done.dead", 1)
        await site.until_acknowledged()
    assert json.loads(dead.data) == {"id": order, "price": 1}
    assert dead.headers is not None
    assert dead.headers["Anabranch-Error-Code"] == "INPUT_MISSING"
    assert "'quantity'" in dead.headers["Anabranch-Error-Reason"]
    assert dead.headers["Anabranch-Run"] == f"order:{order}"
    assert dead.headers["traceparent"] == TRACE


async def test_a_run_that_the_event_did_not_start_is_left_alone(site: Site) -> None:
    order = event_id(site, "o")
    started = await site.client.execute_workflow(
        "order", {"price": 1, "quantity": 1}, id=run_id("order", order), task_queue=site.task_queue
    )
    async with serving(site.client, site.route, flow(site.route, site.task_queue)):
        await site.send({"id": order, "price": 7, "quantity": 7})
        (dead,) = await site.read(".done.dead", 1)
    assert started["data"]["total"] == 1
    assert dead.headers is not None
    assert dead.headers["Anabranch-Error-Code"] == "ALREADY_STARTED"


async def test_a_result_that_the_broker_finds_too_large_is_a_dead_letter_without_its_body(site: Site) -> None:
    order = event_id(site, "o")
    headers = {"Anabranch-Event-Id": order}
    body = json.dumps({"price": 1, "quantity": 1, "blob": "x" * 1_048_300}).encode()
    async with serving(site.client, site.route, flow(site.route, site.task_queue)):
        await site.stream.publish(site.topic, body, headers=headers)
        (dead,) = await site.read(".done.dead", 1)
    assert dead.data == b""
    assert dead.headers is not None
    assert dead.headers["Anabranch-Error-Code"] == "SIZE_LIMIT_EXCEEDED"
    assert dead.headers["Anabranch-Body-Left-Out"].endswith(" bytes")


async def test_results_are_published_after_the_process_that_took_the_event_is_gone(site: Site) -> None:
    """The event was acknowledged; the run waits for its worker; another process publishes."""
    order = event_id(site, "o")
    late = f"{site.task_queue}-late"
    chosen = flow(site.route, late)
    async with serving(site.client, site.route, chosen):
        await site.send({"id": order, "price": 2, "quantity": 2})
        await until_started(site.client, run_id("order", order))
        await site.until_acknowledged()
    async with serving(site.client, site.route, chosen), graph_worker(site.client, late, site.graphs):
        (done,) = await site.read(".done", 1)
    assert json.loads(done.data)["total"] == 4


async def until_started(client: Client, workflow_id: str) -> None:
    for _ in range(2000):
        with contextlib.suppress(RPCError):
            await client.get_workflow_handle(workflow_id).describe()
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{workflow_id!r} did not start in time")


async def test_a_stream_that_is_missing_is_made_only_where_that_is_allowed(nats_url: str) -> None:
    subject = f"lonely.{uuid.uuid4().hex[:8]}"
    address = parse_address(f"{nats_url}/{subject}", "--to")
    with pytest.raises(ConfigurationError, match=f"no JetStream stream has the subject '{subject}'"):
        await NatsSink.open(address, [subject], create=False)
    sink = await NatsSink.open(address, [subject], create=True)
    await sink.publish(Outgoing(subject, b"1", "same", "k"))
    await sink.publish(Outgoing(subject, b"2", "same", "k"))
    await sink.aclose()
    connection = await nats.connect(nats_url)
    info = await connection.jetstream().stream_info(subject.replace(".", "_"))
    assert (info.config.subjects, info.state.messages) == ([subject], 1)
    await connection.close()


async def test_a_message_has_the_same_identity_at_each_delivery(site: Site) -> None:
    await site.send(b"{}")
    address = parse_address(f"{site.url}/{site.topic}", "--from")
    source, seen = await NatsSource.open(address, "c", create=False, ack_wait=0.2), list[str]()
    while len(seen) < 2:
        seen += [delivery.message.identity for delivery in await source.fetch(1)]
    await source.aclose()
    assert seen[0] == seen[1]
    assert re.fullmatch(rf"{site.topic}-1@\d{{13}}", seen[0])


async def test_a_sink_whose_connection_was_closed_for_good_makes_another(site: Site) -> None:
    """As the client closes it after its credentials were refused twice."""
    sink = await NatsSink.open(parse_address(f"{site.url}/{site.topic}.done", "--to"), [], create=False)
    await sink._connection.close()
    await asyncio.gather(*(sink.publish(Outgoing(f"{site.topic}.done", b"1", f"id{n}", "k")) for n in range(3)))
    await sink.aclose()
    await site.read(".done", 3)
    with pytest.raises(Unavailable):
        await sink.publish(Outgoing(f"{site.topic}.done", b"1", "late", "k"))


async def test_headers_that_nats_cannot_hold_are_left_out(site: Site) -> None:
    sink = await NatsSink.open(parse_address(f"{site.url}/{site.topic}.done", "--to"), [], create=False)
    headers = {"my header": "x", "": "x", "Reason": "two\r\nlines"}
    await sink.publish(Outgoing(f"{site.topic}.done", b"1", "same", "k", headers))
    await sink.aclose()
    (stored,) = await site.read(".done", 1)
    assert stored.headers == {"Reason": "two  lines", "Nats-Msg-Id": "same"}


async def test_no_server_is_an_error_that_names_it() -> None:
    port = free_port()
    with pytest.raises(Unavailable, match=f"127.0.0.1:{port}"):
        await NatsSource.open(parse_address(f"nats://127.0.0.1:{port}/a", "--from"), "c", create=True)


async def test_a_server_that_was_away_is_found_again(client: Client, task_queue: str, tmp_path: Path) -> None:
    port, topic = free_port(), f"orders{uuid.uuid4().hex[:8]}"
    of = route(f"nats://127.0.0.1:{port}/{topic}", f"nats://127.0.0.1:{port}/{topic}.done")
    with contextlib.ExitStack() as server:
        server.enter_context(servers.nats(tmp_path / "nats", port))
        async with graph_worker(client, task_queue, tmp_path), serving(client, of, flow(of, task_queue)):
            assert await exchange(port, topic, "before") == 9
            server.close()
            await asyncio.sleep(0.5)
            server.enter_context(servers.nats(tmp_path / "nats", port))
            assert await exchange(port, topic, "after") == 9


async def exchange(port: int, topic: str, name: str) -> object:
    """Send an order to a flow as soon as it listens; the total of what comes out."""
    connection = await nats.connect(f"nats://127.0.0.1:{port}")
    stream = connection.jetstream()
    body = json.dumps({"id": f"{topic}-{name}", "price": 3, "quantity": 3}).encode()
    while True:
        with contextlib.suppress(NoStreamResponseError, NotFoundError):  # one stream may be there before the other
            done = await stream.subscribe(f"{topic}.done", config=ConsumerConfig(deliver_policy=DeliverPolicy.NEW))
            await stream.publish(topic, body)
            break
        await asyncio.sleep(0.05)
    total: object = json.loads((await done.next_msg(timeout=PATIENCE)).data)["total"]
    await connection.close()
    return total


async def test_without_temporal_nothing_is_acknowledged_and_nothing_is_lost(nats_url: str, tmp_path: Path) -> None:
    topic, kept = f"orders{uuid.uuid4().hex[:8]}", tmp_path / "temporal.db"
    of = route(f"{nats_url}/{topic}", f"{nats_url}/{topic}.done")
    connection = await nats.connect(nats_url)
    stream = connection.jetstream()
    for subject in (topic, f"{topic}.done", f"{topic}.done.dead"):
        await stream.add_stream(StreamConfig(name=subject.replace(".", "_"), subjects=[subject]))
    server = await DevServer.start(database=kept)
    port = int(server.address.rpartition(":")[2])
    client = await connect(Settings(), target_host=server.address, namespace="default", tls=False)
    async with serving(client, of, flow(of, "q")):
        await until_consumer(stream, topic)
        await server.stop()
        for number in range(5):
            await stream.publish(topic, json.dumps({"id": f"o{number}", "price": 1, "quantity": number}).encode())
        await asyncio.sleep(2)
        info = await stream.consumer_info(topic, "anabranch-order")
        assert info.ack_floor is not None
        assert info.ack_floor.stream_seq == 0
        server = await DevServer.start(port=port, database=kept)
        async with graph_worker(client, "q", tmp_path):
            subscription = await stream.subscribe(f"{topic}.done", ordered_consumer=True)
            done = [json.loads((await subscription.next_msg(timeout=PATIENCE)).data)["id"] for _ in range(5)]
    await connection.close()
    await server.stop()
    assert sorted(done) == ["o0", "o1", "o2", "o3", "o4"]


async def until_consumer(stream: JetStreamContext, name: str) -> None:
    for _ in range(2000):
        with contextlib.suppress(NotFoundError):
            await stream.consumer_info(name, "anabranch-order")
            return
        await asyncio.sleep(0.05)
    raise AssertionError("no consumer in time")
