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
    """One partition: it takes the messages of a producer by their numbers, without a gap, and up to a size."""

    def __init__(self) -> None:
        self.stored: list[bytes] = []
        self.is_up = True
        self.producers: list[Producer] = []
        self._next: dict[Producer, int] = {}

    def take(self, producer: Producer, number: int, body: bytes) -> None:
        if len(body) > MOST:
            raise MessageSizeTooLargeError
        if number != self._next.get(producer, 0):
            raise OutOfOrderSequenceNumber
        self._next[producer] = number + 1
        self.stored.append(body)


class Producer:
    """As aiokafka's: a message has its number before the broker sees it, and none is given back."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._number = 0
        self.is_stopped = False
        broker.producers.append(self)

    async def start(self) -> None:
        if not self._broker.is_up:
            raise KafkaConnectionError

    async def stop(self) -> None:
        self.is_stopped = True

    async def send(self, topic: str, body: bytes, **_: Any) -> asyncio.Future[None]:
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        number, self._number = self._number, self._number + 1
        try:
            self._broker.take(self, number, body)
        except KafkaError as refusal:
            answer.set_exception(refusal)
        else:
            answer.set_result(None)
        return answer


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    broker = Broker()
    monkeypatch.setattr(kafka, "AIOKafkaProducer", lambda **_: Producer(broker))
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
    assert [each.is_stopped for each in broker.producers] == [True, True]


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
