"""Events through Kafka's protocol: the broker is librdkafka's mock cluster, the Temporal server is real."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition, codec
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import MessageBatch
from confluent_kafka import Producer
from temporalio.client import Client

from anabranch.brokers.address import parse_address
from anabranch.brokers.kafka import KafkaSink, KafkaSource
from anabranch.brokers.source import Delivery, Outgoing
from anabranch.context import DistributedContext
from anabranch.errors import ConfigurationError, SizeLimitExceeded, Unavailable
from anabranch.events.event_workflow import run_id
from anabranch.events.service import Route
from anabranch.loopback import free_port
from tests.integration.events_kit import TRACE, flow, graph_worker, route, serving
from tests.integration.graph_kit import PATIENCE


@dataclass(frozen=True)
class Site:
    """Topics of one test, on the cluster of all."""

    client: Client
    task_queue: str
    url: str
    topic: str
    producer: AIOKafkaProducer

    @property
    def route(self) -> Route:
        return route(f"{self.url}/{self.topic}", f"{self.url}/{self.topic}.done")

    async def send(self, body: bytes | dict[str, Any], **headers: str) -> None:
        packed = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = [(name.replace("_", "-"), value.encode()) for name, value in headers.items()]
        await self.producer.send_and_wait(self.topic, packed, partition=0, headers=named)

    async def read(self, suffix: str, count: int) -> list[Any]:
        """Exactly so many records: none follows within 0.3 s."""
        async with reader(self.url) as consumer:
            partitions = [TopicPartition(f"{self.topic}{suffix}", number) for number in range(4)]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            found: list[Any] = []
            async with asyncio.timeout(PATIENCE):
                while len(found) < count:
                    found += await records(consumer, 200)
            return found + await records(consumer, 300)

    async def committed(self) -> int | None:
        async with reader(self.url, group_id="anabranch-order") as consumer:
            offset: int | None = await consumer.committed(TopicPartition(self.topic, 0))
            return offset

    async def until_committed(self, offset: int) -> None:
        for _ in range(100):
            if await self.committed() == offset:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"{await self.committed()} is committed, not {offset}")


@asynccontextmanager
async def reader(url: str, **options: Any) -> AsyncGenerator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(bootstrap_servers=url.removeprefix("kafka://"), enable_auto_commit=False, **options)
    await consumer.start()
    yield consumer
    await consumer.stop()


async def records(consumer: AIOKafkaConsumer, milliseconds: int) -> list[Any]:
    found = await consumer.getmany(timeout_ms=milliseconds)
    return [record for batch in found.values() for record in batch]


def headers_of(record: Any) -> dict[str, str]:
    return {name: value.decode() for name, value in record.headers}


@pytest.fixture
async def site(client: Client, task_queue: str, kafka_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka_url.removeprefix("kafka://"))
    await producer.start()
    topic = f"orders{uuid.uuid4().hex[:8]}"
    for suffix in ("", ".done", ".done.dead"):
        await producer.partitions_for(topic + suffix)
    async with graph_worker(client, task_queue, tmp_path):
        yield Site(client, task_queue, kafka_url, topic, producer)
    await producer.stop()


async def test_a_json_event_becomes_a_run_and_its_context_the_next_event(site: Site) -> None:
    order = f"ö-{site.topic}"
    async with serving(site.client, site.route, flow(site.route, site.task_queue)):
        await site.send({"id": order, "price": 2.5, "quantity": 4}, traceparent=TRACE)
        (done,) = await site.read(".done", 1)
        await site.until_committed(1)
    assert json.loads(done.value) == {"id": order, "price": 2.5, "quantity": 4, "valid": True, "total": 10.0}
    assert done.key.decode() == order
    assert headers_of(done) == {
        "traceparent": TRACE,
        "Content-Type": "application/json",
        "Anabranch-Event-Id": order,
        "Anabranch-Session-Id": order,
        "Anabranch-Context-Version": "3",
        "Anabranch-Graph": "order",
        "Anabranch-Run": f"order:{order}",
    }
    result = await site.client.get_workflow_handle(run_id("order", order)).result()
    assert result["data"]["total"] == 10.0


async def test_a_serialized_context_is_carried_on(site: Site) -> None:
    context = DistributedContext(f"s-{site.topic}", {"price": 3, "quantity": 2})
    async with serving(site.client, site.route, flow(site.route, site.task_queue)):
        await site.send(context.serialize())
        (done,) = await site.read(".done", 1)
    after = DistributedContext.deserialize(done.value)
    assert (after.session_id, after.data["total"], after.metadata.version) == (context.session_id, 6, 3)


async def test_an_event_that_stands_there_twice_starts_nothing_twice(site: Site) -> None:
    async with serving(site.client, site.route, flow(site.route, site.task_queue)):
        for _ in range(3):
            await site.send({"id": f"o-{site.topic}", "price": 1, "quantity": 1})
        await site.until_committed(3)
        done = await site.read(".done", 1)
    assert len(done) == 1


async def test_poison_and_failed_runs_go_to_the_dead_letters_and_hold_nothing_up(site: Site) -> None:
    async with serving(site.client, site.route, flow(site.route, site.task_queue)):
        await site.send(b"\x93broken", My_Header="kept")
        await site.send({"price": 1})
        await site.send({"price": 1, "quantity": 1})
        dead = await site.read(".done.dead", 2)
        (done,) = await site.read(".done", 1)
        await site.until_committed(3)
    by_code = {headers_of(letter)["Anabranch-Error-Code"]: letter for letter in dead}
    assert set(by_code) == {"WIRE_FORMAT_INVALID", "INPUT_MISSING"}
    poison = by_code["WIRE_FORMAT_INVALID"]
    assert poison.value == b"\x93broken"
    assert headers_of(poison)["My-Header"] == "kept"
    assert headers_of(poison)["Anabranch-Source"] == f"{site.topic}-0-0"
    assert headers_of(by_code["INPUT_MISSING"])["Anabranch-Event-Id"].startswith(f"{site.topic}-0-1@")
    assert headers_of(done)["Anabranch-Event-Id"].startswith(f"{site.topic}-0-2@")


async def test_an_offset_is_committed_when_all_before_it_are_finished(site: Site) -> None:
    for number in range(3):
        await site.send(f"{number}".encode())
    source = await KafkaSource.open(parse_address(f"{site.url}/{site.topic}", "--from"), "anabranch-order")
    first, second, third = await take(source, 3)
    await second.acknowledge()
    await asyncio.sleep(0.8)
    assert await site.committed() in (None, 0)
    await first.acknowledge()
    await site.until_committed(2)
    await third.acknowledge()
    await source.aclose()
    assert await site.committed() == 3


async def take(source: KafkaSource, count: int) -> list[Any]:
    taken: list[Any] = []
    async with asyncio.timeout(PATIENCE):
        while len(taken) < count:
            taken += await source.fetch(count - len(taken))
    return taken


async def test_what_was_not_acknowledged_comes_again_to_the_next_member(site: Site) -> None:
    await site.send(b"1")
    address = parse_address(f"{site.url}/{site.topic}", "--from")
    first = await KafkaSource.open(address, "anabranch-order")
    await take(first, 1)
    await first.aclose()
    second = await KafkaSource.open(address, "anabranch-order")
    (again,) = await take(second, 1)
    await again.acknowledge()
    await second.aclose()
    assert again.message.body == b"1"
    assert await site.committed() == 1


async def test_one_process_publishes_an_id_once(site: Site) -> None:
    sink = await KafkaSink.open(parse_address(f"{site.url}/{site.topic}", "--to"))
    message = Outgoing(f"{site.topic}.done", b"1", "same", "k")
    await asyncio.gather(sink.publish(message), sink.publish(message))
    await sink.publish(message)
    with pytest.raises(SizeLimitExceeded, match=r"Kafka rejects a message of 2000000 bytes"):
        await sink.publish(Outgoing(f"{site.topic}.done", b"x" * 2_000_000, "large", "k"))
    await sink.aclose()
    assert [record.value for record in await site.read(".done", 1)] == [b"1"]


async def test_the_messages_of_a_batch_that_is_refused_for_its_size_are_sent_again_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mock cluster takes batches of any size; what a stricter one answers is put in its place."""
    sink = await KafkaSink.open(parse_address(f"{site.url}/{site.topic}", "--to"))
    done, taken = MessageBatch.done, []

    def judged(batch: MessageBatch, *given: Any) -> None:
        taken.append(batch.record_count)
        batch.failure(MessageSizeTooLargeError()) if batch.record_count > 1 else done(batch, *given)

    monkeypatch.setattr(MessageBatch, "done", judged)
    await asyncio.gather(*(sink.publish(Outgoing(f"{site.topic}.done", b"1", str(each), "k")) for each in range(5)))
    await sink.publish(Outgoing(f"{site.topic}.done", b"2", "last", "k"))
    await sink.aclose()
    assert taken == [5, 1, 1, 1, 1, 1, 1]


async def test_no_broker_is_an_error_that_names_it() -> None:
    port = free_port()
    with pytest.raises(Unavailable, match=f"127.0.0.1:{port}"):
        await KafkaSink.open(parse_address(f"kafka://127.0.0.1:{port}/a", "--to"))


async def test_compressed_events_are_read(kafka_url: str) -> None:
    async with compressed(kafka_url, "gzip", "lz4", "snappy", "zstd") as source:
        bodies = [(await until_fetched(source))[0].message.body for _ in range(4)]
    assert bodies == [b'{"quantity": 1}' * 100] * 4


async def test_events_that_cannot_be_unfolded_are_told_not_tried_for_ever(
    kafka_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec, "has_lz4", lambda: False)
    async with compressed(kafka_url, "lz4") as source:
        with pytest.raises(ConfigurationError, match=r"lz4.*anabranch\[kafka\]"):
            await until_fetched(source)


@asynccontextmanager
async def compressed(kafka_url: str, *compressions: str) -> AsyncGenerator[KafkaSource]:
    """A source of one event for each way to compress it."""
    topic = f"orders{uuid.uuid4().hex[:8]}"
    for compression in compressions:
        producer = Producer({"bootstrap.servers": kafka_url.removeprefix("kafka://"), "compression.type": compression})
        producer.produce(topic, b'{"quantity": 1}' * 100)
        await asyncio.to_thread(producer.flush, 10)
    source = await KafkaSource.open(parse_address(f"{kafka_url}/{topic}", "--from"), "anabranch-order")
    yield source
    await source.aclose()


async def until_fetched(source: KafkaSource) -> Sequence[Delivery]:
    for _ in range(10):
        if found := await source.fetch(1):
            return found
    raise AssertionError("no event came")
