"""NATS JetStream: a durable pull consumer as the source, publications with `Nats-Msg-Id` as the sink."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol, Self

import structlog

from anabranch.broken import BROKEN
from anabranch.brokers.address import Address
from anabranch.brokers.source import Message, Outgoing
from anabranch.errors import AnabranchError, ConfigurationError, SizeLimitExceeded, Unavailable

try:
    from nats.aio.client import Client as Connection
    from nats.aio.msg import Msg
    from nats.errors import ConnectionClosedError
    from nats.errors import Error as NatsError
    from nats.errors import TimeoutError as NatsTimeout
    from nats.js import JetStreamContext
    from nats.js.api import ConsumerConfig, StreamConfig
    from nats.js.errors import NoStreamResponseError, NotFoundError, ServiceUnavailableError
except ImportError as missing:
    raise ConfigurationError(
        "NATS needs a package that is not installed", suggestion="pip install 'anabranch[nats]'"
    ) from missing

_ACK_WAIT: Final = 30.0
_DUPLICATE_WINDOW: Final = 3600.0
_FETCH_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 5.0
_CONNECT_SECONDS: Final = 5.0
_HEADERS_AROUND: Final = len(b"NATS/1.0\r\n\r\n")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_STREAM_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")

log = structlog.get_logger("anabranch.brokers.nats")


class Subscribe(Protocol):
    """What makes a subscription."""

    async def __call__(self, *, create: bool) -> JetStreamContext.PullSubscription:
        """Create the consumer if it does not exist, and with `create` its stream."""
        ...


class NatsDelivery:
    """One delivery of a JetStream message."""

    __slots__ = ("_message", "_raw")

    def __init__(self, raw: Msg) -> None:
        self._raw = raw
        metadata = raw.metadata
        headers = dict(raw.headers or {})
        self._message = Message(
            body=raw.data,
            headers=headers,
            position=f"{metadata.stream}-{metadata.sequence.stream}",
            message_id=headers.get("Nats-Msg-Id"),
            stored_at=int(metadata.timestamp.timestamp() * 1000),
        )

    @property
    def message(self) -> Message:
        """What was delivered."""
        return self._message

    async def acknowledge(self) -> None:
        """Say that it need not be delivered again. Raises Unavailable."""
        with _translated("acknowledging"):
            await self._raw.ack()

    async def extend(self) -> None:
        """Restart the wait for an acknowledgement. Raises Unavailable."""
        with _translated("asking for time"):
            await self._raw.in_progress()


class NatsSource:
    """Pulls from a durable consumer, which several processes of one name share."""

    def __init__(
        self, connection: Connection, subscribe: Subscribe, subscription: JetStreamContext.PullSubscription
    ) -> None:
        self._connection = connection
        self._subscribe = subscribe
        self._subscription = subscription

    @classmethod
    async def open(cls, address: Address, consumer: str, *, create: bool, ack_wait: float = _ACK_WAIT) -> Self:
        """The source of a subject, from its stream's first message on where the consumer is new.

        A message is delivered again when it was not acknowledged for `ack_wait` seconds. If no stream has the
        subject, one is created if `create` allows it. Raises ConfigurationError and Unavailable.
        """
        connection = await _connect(address)
        stream = connection.jetstream(timeout=_ANSWER_SECONDS)

        async def subscribe(*, create: bool) -> JetStreamContext.PullSubscription:
            name = await _stream_of(stream, address.topic, create=create)
            with _translated("subscribing"):
                config = ConsumerConfig(ack_wait=ack_wait, max_ack_pending=10_000)
                return await stream.pull_subscribe(address.topic, durable=consumer, stream=name, config=config)

        try:
            return cls(connection, subscribe, await subscribe(create=create))
        except BaseException:
            await connection.close()
            raise

    async def fetch(self, limit: int) -> Sequence[NatsDelivery]:
        """At most `limit` deliveries; none if nothing came for a second.

        Raises Unavailable, and ConfigurationError if the server has closed the connection for good.
        """
        with _translated("fetching"):
            try:
                return [NatsDelivery(raw) for raw in await self._subscription.fetch(limit, timeout=_FETCH_SECONDS)]
            except TimeoutError:
                return []
            except ServiceUnavailableError:
                await self._subscribe_again()
                raise
            except ConnectionClosedError as closed:
                raise ConfigurationError(
                    f"NATS has closed the connection for good: {self._connection.last_error}",
                    suggestion="look at the credentials and limits of this user",
                ) from closed

    async def _subscribe_again(self) -> None:
        """Creating the stream again deletes the consumer too. Nothing is created in the meantime."""
        try:
            old, self._subscription = self._subscription, await self._subscribe(create=False)
        except ConfigurationError as missing:
            raise Unavailable(str(missing)) from missing
        await old.unsubscribe()

    async def aclose(self) -> None:
        """Flush the acknowledgements and leave."""
        await _leave(self._connection)


class NatsSink:
    """Publishes to JetStream subjects. A message whose id the stream knows already is not stored again."""

    def __init__(self, connection: Connection, address: Address) -> None:
        self._connection = connection
        self._address = address
        self._connecting = asyncio.Lock()
        self._left = False

    @classmethod
    async def open(cls, address: Address, topics: Sequence[str], *, create: bool) -> Self:
        """A sink for these subjects of one server. Raises ConfigurationError and Unavailable."""
        connection = await _connect(address)
        try:
            stream = connection.jetstream(timeout=_ANSWER_SECONDS)
            for topic in topics:
                await _stream_of(stream, topic, create=create)
        except BaseException:
            await connection.close()
            raise
        return cls(connection, address)

    async def publish(self, message: Outgoing) -> None:
        """Returns when the stream has stored the message, or had it. Raises Unavailable and SizeLimitExceeded."""
        # Kafka's headers may have names that NATS does not allow.
        headers = {name: value for name, value in message.headers.items() if _HEADER_NAME.fullmatch(name)}
        headers["Nats-Msg-Id"] = message.id
        connection = await self._open_connection()
        _check_size(connection, message, headers)
        with _translated(f"publishing to {message.topic!r}"):
            stream = connection.jetstream(timeout=_ANSWER_SECONDS)
            try:
                await stream.publish(message.topic, message.body, headers=headers)
            except NoStreamResponseError:
                raise Unavailable(
                    f"no JetStream stream has the subject {message.topic!r}", suggestion="add it to a stream's subjects"
                ) from None

    async def _open_connection(self) -> Connection:
        """The client gives up after its credentials are refused twice, though they may be accepted later."""
        async with self._connecting:
            if self._connection.is_closed and not self._left:
                self._connection = await _connect(self._address)
            return self._connection

    async def aclose(self) -> None:
        """Flush and leave."""
        self._left = True
        await _leave(self._connection)


async def _connect(address: Address) -> Connection:
    async def note(error: Exception) -> None:
        log.warning("connection", server=str(address), reason=type(error).__name__)

    # The client's hints know whole seconds only.
    options: dict[str, Any] = {"reconnect_time_wait": 0.5, "connect_timeout": _CONNECT_SECONDS}
    if address.user and address.password is None:
        options |= {"token": address.user}
    else:
        options |= {"user": address.user, "password": address.password}
    connection = Connection()
    with _translated("connecting"):
        try:
            connecting = connection.connect(
                [f"nats://{server}" for server in address.servers],
                name="anabranch events",
                max_reconnect_attempts=-1,
                error_cb=note,
                **options,
            )
            async with asyncio.timeout(_CONNECT_SECONDS):  # by itself it would try forever
                await connecting
        except BaseException as error:
            with suppress(NatsError, *BROKEN):  # what it has opened so far
                await connection.close()
            if isinstance(error, OSError):
                raise Unavailable(f"no NATS server answers: {error}", place=str(address)) from error
            raise
    return connection


def _check_size(connection: Connection, message: Outgoing, headers: Mapping[str, str]) -> None:
    """The server closes the connection on a message that is too large, and counts headers, unlike the client."""
    lines = sum(len(f"{name}: {value}\r\n".encode()) for name, value in headers.items())
    size = len(message.body) + lines + _HEADERS_AROUND
    if size > connection.max_payload:
        raise SizeLimitExceeded(
            f"the message has {size} bytes with its headers, over NATS's limit of {connection.max_payload}",
            place=message.topic,
            suggestion="raise the server's max_payload, or keep large values elsewhere",
        )


async def _stream_of(stream: JetStreamContext, subject: str, *, create: bool) -> str:
    with _translated("looking for a stream"):
        try:
            return await stream.find_stream_name_by_subject(subject)
        except NotFoundError:
            if not create:
                raise ConfigurationError(
                    f"no JetStream stream has the subject {subject!r}",
                    suggestion="add it to a stream's subjects, or leave out --no-create",
                ) from None
        name = _STREAM_NAME.sub("_", subject)
        await stream.add_stream(StreamConfig(name=name, subjects=[subject], duplicate_window=_DUPLICATE_WINDOW))
        log.info("stream created", stream=name, subject=subject)
        return name


async def _leave(connection: Connection) -> None:
    with suppress(NatsError, *BROKEN):
        async with asyncio.timeout(_ANSWER_SECONDS):
            await connection.flush()
    with suppress(NatsError, *BROKEN):
        await connection.close()


@contextmanager
def _translated(doing: str) -> Generator[None]:
    """The client's errors as ours."""
    try:
        yield
    except (NatsTimeout, TimeoutError) as late:
        raise Unavailable(f"NATS did not answer while {doing}", suggestion="is JetStream on?") from late
    except NatsError as error:
        raise Unavailable(f"NATS failed while {doing}: {error}") from error
    except AnabranchError:
        raise
    except BROKEN as error:
        raise Unavailable(f"NATS failed while {doing}: {type(error).__name__}") from error
