"""A Kafka sink whose broker refuses a message, with a broker as strict as a real one; the mock cluster is not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError, OutOfOrderSequenceNumber

from anabranch.brokers import kafka
from anabranch.brokers.address import parse_address
from anabranch.brokers.kafka import KafkaSink
from anabranch.brokers.source import Outgoing
from anabranch.errors import SizeLimitExceeded, Unavailable

BROKER = parse_address("kafka://127.0.0.1:9092/orders", "--from")
MOST = 100


class Broker:
    """One partition: it takes the batches of a producer by the numbers in them, without a gap, and up to a size."""

    def __init__(self) -> None:
        self.stored: list[bytes] = []
        self.is_up = True
        self.producers: list[Producer] = []
        self._next: dict[Producer, int] = {}

    def take(self, producer: Producer, number: int, bodies: list[bytes]) -> None:
        if sum(map(len, bodies)) > MOST:
            raise MessageSizeTooLargeError
        if number != self._next.get(producer, 0):
            raise OutOfOrderSequenceNumber
        self._next[producer] = number + len(bodies)
        self.stored += bodies


class Producer:
    """As aiokafka's: a message has its number before the broker sees it, and none is given back.

    What is sent at one time is one batch, up to its size; a message that is larger is one by itself.
    """

    def __init__(self, broker: Broker, max_batch_size: int) -> None:
        self._broker = broker
        self._most = max_batch_size
        self._number = 0
        self._batch: list[tuple[bytes, asyncio.Future[None]]] = []
        self.is_stopped = False
        broker.producers.append(self)

    async def start(self) -> None:
        if not self._broker.is_up:
            raise KafkaConnectionError

    async def stop(self) -> None:
        self.is_stopped = True

    async def send(self, topic: str, body: bytes, **_: Any) -> asyncio.Future[None]:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if sum(len(each) for each, _ in self._batch) + len(body) > self._most:
            self._flush()
        if not self._batch:
            asyncio.get_running_loop().call_soon(self._flush)
        self._batch.append((body, answer))
        return answer

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        if not batch:
            return
        number, self._number = self._number, self._number + len(batch)
        try:
            self._broker.take(self, number, [body for body, _ in batch])
        except KafkaError as refusal:
            for _, answer in batch:
                answer.set_exception(refusal)
        else:
            for _, answer in batch:
                answer.set_result(None)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    broker = Broker()
    monkeypatch.setattr(kafka, "AIOKafkaProducer", lambda **given: Producer(broker, given["max_batch_size"]))
    return broker


def message(number: int, size: int = 1) -> Outgoing:
    return Outgoing("orders", b"x" * size, str(number), "key")


async def test_a_message_that_the_broker_refuses_holds_up_none_that_follows(broker: Broker) -> None:
    sink = await KafkaSink.open(BROKER)
    await sink.publish(message(1))
    with pytest.raises(SizeLimitExceeded):
        await sink.publish(message(2, MOST + 1))
    await asyncio.gather(*(sink.publish(message(number)) for number in (3, 4)))
    await sink.aclose()
    assert len(broker.stored) == 3
    assert all(each.is_stopped for each in broker.producers)


async def test_of_a_batch_that_is_refused_for_its_size_only_a_message_that_is_too_large_itself_is(
    broker: Broker,
) -> None:
    sink = await KafkaSink.open(BROKER)
    sizes = [60, 60, MOST + 1, 60, 60]
    came = await asyncio.gather(
        *(sink.publish(message(number, size)) for number, size in enumerate(sizes)), return_exceptions=True
    )
    assert [type(each) for each in came] == [type(None), type(None), SizeLimitExceeded, type(None), type(None)]
    await sink.publish(message(9, 60))
    await sink.aclose()
    assert [len(each) for each in broker.stored] == [60] * 5
    assert all(each.is_stopped for each in broker.producers)


async def test_a_message_that_is_larger_than_a_batch_is_not_sent_again(broker: Broker) -> None:
    sink = await KafkaSink.open(BROKER)
    with pytest.raises(SizeLimitExceeded):
        await sink.publish(message(1, 20_000))
    await sink.aclose()
    assert len(broker.producers) == 1


async def test_while_no_broker_answers_another_producer_is_tried_for_again_and_again(broker: Broker) -> None:
    sink = await KafkaSink.open(BROKER)
    with pytest.raises(SizeLimitExceeded):
        await sink.publish(message(1, MOST + 1))
    broker.is_up = False
    for _ in range(2):
        with pytest.raises(Unavailable):
            await sink.publish(message(2))
    broker.is_up = True
    await sink.publish(message(2))
    await sink.aclose()
    assert len(broker.stored) == 1
    assert all(each.is_stopped for each in broker.producers)
