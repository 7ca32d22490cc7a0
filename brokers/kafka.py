"""Kafka: a consumer group as the source, an idempotent producer as the sink."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, Self

import structlog

from anabranch.broken import BROKEN
from anabranch.brokers.address import Address
from anabranch.brokers.offsets import Offsets
from anabranch.brokers.source import Message, Outgoing
from anabranch.errors import AnabranchError, ConfigurationError, SizeLimitExceeded, Unavailable

try:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
    from aiokafka.errors import KafkaError, MessageSizeTooLargeError, UnsupportedCodecError
    from aiokafka.helpers import create_ssl_context
except ImportError as missing:
    raise ConfigurationError(
        "Kafka needs a package that is not installed", suggestion="pip install 'anabranch[kafka]'"
    ) from missing

_FETCH_MILLISECONDS: Final = 1000
_COMMIT_SECONDS: Final = 0.5
_SESSION_MILLISECONDS: Final = 6000
"""After this time a dead consumer's partitions go to another one; brokers accept no less by default."""
_SEND_MILLISECONDS: Final = 10_000
_REMEMBERED: Final = 10_000
_BATCH_BYTES: Final = 16 * 1024
"""Bytes of a batch of several messages, at most. A message that is larger goes alone."""

log = structlog.get_logger("anabranch.brokers.kafka")


class KafkaDelivery:
    """One delivery of a record; its offset is committed when all before it have been acknowledged."""

    __slots__ = ("_message", "_offset", "_offsets", "_partition")

    def __init__(self, record: Any, offsets: Offsets[TopicPartition]) -> None:
        self._partition = TopicPartition(record.topic, record.partition)
        self._offset: int = record.offset
        self._offsets = offsets
        self._message = Message(
            body=record.value or b"",
            headers={name: (value or b"").decode(errors="replace") for name, value in record.headers},
            position=f"{record.topic}-{record.partition}-{record.offset}",
            stored_at=record.timestamp or 0,
        )
        offsets.take(self._partition, self._offset)

    @property
    def message(self) -> Message:
        """What was delivered."""
        return self._message

    async def acknowledge(self) -> None:
        """Have the offset committed within half a second."""
        self._offsets.finish(self._partition, self._offset)

    async def extend(self) -> None:
        """Nothing: the group's heartbeats do it."""


class KafkaSource:
    """Reads a topic as a member of a group, from its first record on where the group is new."""

    def __init__(self, consumer: AIOKafkaConsumer, offsets: Offsets[TopicPartition]) -> None:
        self._consumer = consumer
        self._offsets = offsets
        self._committing = asyncio.create_task(self._commit_again_and_again())

    @classmethod
    async def open(cls, address: Address, group: str) -> Self:
        """The source of a topic. Raises Unavailable."""
        consumer = AIOKafkaConsumer(
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=_SESSION_MILLISECONDS,
            heartbeat_interval_ms=_SESSION_MILLISECONDS // 3,
            **client_options(address),
        )
        offsets: Offsets[TopicPartition] = Offsets()
        consumer.subscribe([address.topic], listener=_Rebalancing(consumer, offsets))
        await _started(consumer, address)
        return cls(consumer, offsets)

    async def fetch(self, limit: int) -> Sequence[KafkaDelivery]:
        """At most `limit` deliveries; none if nothing came for a second.

        Raises Unavailable, and ConfigurationError if this process cannot decompress what producers sent.
        """
        with _translated("fetching"):
            try:
                found = await self._consumer.getmany(timeout_ms=_FETCH_MILLISECONDS, max_records=limit)
            except UnsupportedCodecError as error:
                raise ConfigurationError(
                    f"events are compressed in a way that is not installed: {error}",
                    suggestion="pip install 'anabranch[kafka]'",
                ) from error
        return [KafkaDelivery(record, self._offsets) for records in found.values() for record in records]

    async def aclose(self) -> None:
        """Commit what was acknowledged and leave the group."""
        self._committing.cancel()
        with suppress(asyncio.CancelledError):
            await self._committing
        await _commit(self._consumer, self._offsets)
        with suppress(KafkaError, *BROKEN):
            await self._consumer.stop()

    async def _commit_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(_COMMIT_SECONDS)
            await _commit(self._consumer, self._offsets)


class KafkaSink:
    """Publishes to topics. The key keeps what belongs to one session in order.

    What this process has sent is not sent again. A process that dies between the broker's answer and Temporal's record
    of it is the one case in which a message is there twice, with the same `Anabranch-Event-Id`: Kafka does not detect
    duplicates of two producers.

    The broker refuses a batch as a whole where it is too large, with all messages in it. Each that is no larger than a
    batch may be is sent again alone then, so that only one which is itself too large is refused.
    """

    def __init__(self, together: _Producers, alone: _Producers) -> None:
        self._together = together
        self._alone = alone
        self._one_by_one = asyncio.Lock()
        self._sent: OrderedDict[tuple[str, str], asyncio.Task[None]] = OrderedDict()

    @classmethod
    async def open(cls, address: Address) -> Self:
        """A sink for the topics of one cluster. Raises Unavailable."""
        together = _Producers(address, _BATCH_BYTES)
        await together.usable()
        return cls(together, _Producers(address, 1))

    async def publish(self, message: Outgoing) -> None:
        """Returns when all in-sync replicas have the message. Raises Unavailable and SizeLimitExceeded."""
        name = (message.topic, message.id)
        sending = self._sent.get(name)
        if sending is None or _has_failed(sending):
            sending = self._sent[name] = asyncio.create_task(self._send(message))
            while len(self._sent) > _REMEMBERED and next(iter(self._sent.values())).done():
                self._sent.popitem(last=False)
        await asyncio.shield(sending)

    async def _send(self, message: Outgoing) -> None:
        with _translated(f"publishing to {message.topic!r}"):
            try:
                try:
                    await self._together.send(message)
                except MessageSizeTooLargeError:
                    if len(message.body) > _BATCH_BYTES:  # no other has been in its batch
                        raise
                    async with self._one_by_one:  # one that is refused would have those behind it refused too
                        await self._alone.send(message)
            except MessageSizeTooLargeError as error:
                raise SizeLimitExceeded(
                    f"Kafka rejects a message of {len(message.body)} bytes",
                    place=message.topic,
                    suggestion="keep large values elsewhere",
                ) from error

    async def aclose(self) -> None:
        """Flush and leave."""
        await asyncio.gather(self._together.aclose(), self._alone.aclose())


class _Producers:
    """An idempotent producer, which stores once what it sends again by itself, or the one that has taken its place.

    A message that the broker refuses for good has had its number, and the broker takes no later one of that producer in
    its place: it would refuse all that follows to the partition. So another producer sends what comes next.
    """

    def __init__(self, address: Address, batch_bytes: int) -> None:
        self._address = address
        self._batch_bytes = batch_bytes
        self._producer: AIOKafkaProducer | None = None
        self._spent: AIOKafkaProducer | None = None
        """The producer, once the broker has refused something of it."""
        self._renewing = asyncio.Lock()
        self._stopping: set[asyncio.Task[None]] = set()

    async def send(self, message: Outgoing) -> None:
        """Returns when all in-sync replicas have the message. Raises KafkaError, Unavailable."""
        producer = await self.usable()
        headers = [(name, value.encode()) for name, value in message.headers.items()]
        has_number = False
        try:
            stored = await producer.send(message.topic, message.body, key=message.key.encode() or None, headers=headers)
            has_number = True
            await stored
        except KafkaError as error:
            is_passing = error.retriable or isinstance(error, MessageSizeTooLargeError)
            if producer is self._producer and (has_number or not is_passing):
                self._spent = producer
            raise

    async def usable(self) -> AIOKafkaProducer:
        """A producer of which nothing has been refused. Raises Unavailable."""
        async with self._renewing:
            if (producer := self._producer) is None or producer is self._spent:
                self._producer, spent = await _producer(self._address, self._batch_bytes), producer
                if spent is not None:
                    stopping = asyncio.create_task(_stopped(spent))  # what it has in hand may take a while
                    self._stopping.add(stopping)
                    stopping.add_done_callback(self._stopping.discard)
                return self._producer
            return producer

    async def aclose(self) -> None:
        """Flush and leave."""
        producer, self._producer, self._spent = self._producer, None, None
        for stopping in self._stopping:
            stopping.cancel()
        last = [] if producer is None else [_stopped(producer)]
        await asyncio.gather(*last, *self._stopping, return_exceptions=True)


class _Rebalancing(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Commits before partitions go to another member, and forgets them."""

    def __init__(self, consumer: AIOKafkaConsumer, offsets: Offsets[TopicPartition]) -> None:
        self._consumer = consumer
        self._offsets = offsets

    async def on_partitions_revoked(  # pyright: ignore[reportIncompatibleMethodOverride]  # aiokafka awaits it
        self, revoked: Sequence[TopicPartition]
    ) -> None:
        """Commit what was acknowledged."""
        await _commit(self._consumer, self._offsets)
        for partition in revoked:
            self._offsets.forget(partition)

    async def on_partitions_assigned(  # pyright: ignore[reportIncompatibleMethodOverride]  # aiokafka awaits it
        self, assigned: Sequence[TopicPartition]
    ) -> None:
        """Nothing: reading goes on from what was committed."""


async def _producer(address: Address, batch_bytes: int) -> AIOKafkaProducer:
    producer = AIOKafkaProducer(
        enable_idempotence=True,
        request_timeout_ms=_SEND_MILLISECONDS,
        max_batch_size=batch_bytes,
        **client_options(address),
    )
    await _started(producer, address)
    return producer


async def _stopped(producer: AIOKafkaProducer) -> None:
    with suppress(KafkaError, *BROKEN):
        await producer.stop()


def client_options(address: Address) -> dict[str, Any]:
    """The options of aiokafka for an address: `kafka+ssl` is TLS, a user is SASL PLAIN."""
    secure = address.scheme == "kafka+ssl"
    options: dict[str, Any] = {"bootstrap_servers": list(address.servers), "client_id": "anabranch-events"}
    if secure:
        options["ssl_context"] = create_ssl_context()
    if address.user is not None:
        options |= {"sasl_plain_username": address.user, "sasl_plain_password": address.password or ""}
    protocol = ("SASL_" if address.user is not None else "") + ("SSL" if secure else "PLAINTEXT")
    return {**options, "security_protocol": protocol}


async def _started(client: AIOKafkaConsumer | AIOKafkaProducer, address: Address) -> None:
    try:
        await client.start()
    except (KafkaError, *BROKEN) as error:
        with suppress(KafkaError, *BROKEN):
            await client.stop()
        raise Unavailable(f"no Kafka broker answers: {type(error).__name__}", place=str(address)) from error


async def _commit(consumer: AIOKafkaConsumer, offsets: Offsets[TopicPartition]) -> None:
    """Commit what may be. If that fails the records are delivered again, and start nothing twice."""
    if waiting := offsets.uncommitted():
        try:
            await consumer.commit(waiting)
        except (KafkaError, *BROKEN) as error:
            log.warning("offsets were not committed", reason=type(error).__name__)
        else:
            offsets.committed(waiting)


def _has_failed(sending: asyncio.Task[None]) -> bool:
    return sending.done() and (sending.cancelled() or sending.exception() is not None)


@contextmanager
def _translated(doing: str) -> Generator[None]:
    """The client's errors as ours."""
    try:
        yield
    except AnabranchError:
        raise
    except (KafkaError, *BROKEN) as error:
        raise Unavailable(f"Kafka failed while {doing}: {type(error).__name__}") from error
