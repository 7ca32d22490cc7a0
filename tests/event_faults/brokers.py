"""What a storm asks of a broker: to send events, and to return what came out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import nats
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from nats.js import JetStreamContext
from nats.js.api import StreamConfig

_PARTITIONS = 4
"""Of each topic of the mock cluster."""


@dataclass(frozen=True)
class Published:
    """A message on a topic of results or dead letters."""

    body: bytes
    headers: Mapping[str, str]


class Broker(Protocol):
    @property
    def url(self) -> str: ...

    @property
    def topic(self) -> str: ...

    async def send(self, events: Sequence[bytes]) -> None: ...

    async def count(self, suffix: str) -> int: ...

    async def read(self, suffix: str) -> list[Published]: ...

    async def unfinished(self) -> int:
        """How many events are not acknowledged."""
        ...


@dataclass(frozen=True)
class Nats:
    url: str
    topic: str
    stream: JetStreamContext
    consumer: str = "anabranch-order"

    async def send(self, events: Sequence[bytes]) -> None:
        for event in events:
            await self.stream.publish(self.topic, event)

    async def count(self, suffix: str) -> int:
        return (await self.stream.stream_info(self.topic + suffix.replace(".", "_"))).state.messages

    async def read(self, suffix: str) -> list[Published]:
        count = await self.count(suffix)
        subscription = await self.stream.subscribe(self.topic + suffix, ordered_consumer=True)
        found = [await subscription.next_msg(timeout=10) for _ in range(count)]
        await subscription.unsubscribe()
        return [Published(message.data, message.headers or {}) for message in found]

    async def unfinished(self) -> int:
        info = await self.stream.consumer_info(self.topic, self.consumer)
        return (info.num_ack_pending or 0) + (info.num_pending or 0)


@asynccontextmanager
async def nats_broker(url: str, topic: str) -> AsyncGenerator[Nats]:
    connection = await nats.connect(url)
    stream = connection.jetstream()
    for suffix in ("", ".done", ".done.dead"):
        name = topic + suffix.replace(".", "_")
        await stream.add_stream(StreamConfig(name=name, subjects=[topic + suffix], duplicate_window=3600))
    yield Nats(url, topic, stream)
    await connection.close()


@dataclass(frozen=True)
class Kafka:
    url: str
    topic: str
    producer: AIOKafkaProducer
    consumer: AIOKafkaConsumer
    members: AIOKafkaConsumer
    """Asks what the group has committed, without being a member."""

    async def send(self, events: Sequence[bytes]) -> None:
        for number, event in enumerate(events):
            await self.producer.send(self.topic, event, partition=number % _PARTITIONS)
        await self.producer.flush()

    async def count(self, suffix: str) -> int:
        return sum((await self.consumer.end_offsets(self._partitions(suffix))).values())

    async def read(self, suffix: str) -> list[Published]:
        count, found = await self.count(suffix), list[Published]()
        self.consumer.assign(self._partitions(suffix))
        await self.consumer.seek_to_beginning()
        while len(found) < count:
            for records in (await self.consumer.getmany(timeout_ms=500)).values():
                found += [
                    Published(each.value or b"", {name: value.decode() for name, value in each.headers})
                    for each in records
                ]
        return found

    async def unfinished(self) -> int:
        committed = [await self.members.committed(partition) or 0 for partition in self._partitions("")]
        return await self.count("") - sum(committed)

    def _partitions(self, suffix: str) -> list[TopicPartition]:
        return [TopicPartition(self.topic + suffix, number) for number in range(_PARTITIONS)]


@asynccontextmanager
async def kafka_broker(url: str, topic: str) -> AsyncGenerator[Kafka]:
    server = url.removeprefix("kafka://")
    producer = AIOKafkaProducer(bootstrap_servers=server)
    consumer = AIOKafkaConsumer(bootstrap_servers=server)
    members = AIOKafkaConsumer(bootstrap_servers=server, group_id="anabranch-order", enable_auto_commit=False)
    for client in (producer, consumer, members):
        await client.start()
    for suffix in ("", ".done", ".done.dead"):
        await producer.partitions_for(topic + suffix)
    yield Kafka(url, topic, producer, consumer, members)
    for client in (producer, consumer, members):
        await client.stop()
