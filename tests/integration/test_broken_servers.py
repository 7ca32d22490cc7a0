"""Whatever a server sends, and whenever it hangs up, a client of ours fails with an error of ours."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from anabranch.activities.ai.handler import AiActivity
from anabranch.activities.ai.models import Models
from anabranch.activities.grpc.handler import GrpcActivity
from anabranch.activities.http.handler import HttpActivity
from anabranch.broken import BROKEN
from anabranch.brokers import kafka as events_kafka
from anabranch.brokers import nats as events_nats
from anabranch.brokers.address import Address
from anabranch.brokers.kafka import KafkaSink, KafkaSource
from anabranch.brokers.nats import NatsSource
from anabranch.context.distributed import DistributedContext
from anabranch.context.stores.memcached import MemcachedStore
from anabranch.context.stores.redis import RedisStore
from anabranch.errors import AnabranchError, ConfigurationError, SizeLimitExceeded, Unavailable
from anabranch.graph.model import AiNode, GrpcNode, HttpNode
from anabranch.redis_client import RedisClient
from tests.node_tasks import task_of

HTTP = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
_INFO = b'INFO {"server_id":"x","version":"2.10","proto":1,"headers":true,"max_payload":1048576,"jetstream":true}\r\n'
ANSWERS = {
    "nothing": b"",
    "zeros": b"\0" * 64,
    "ones": b"\xff" * 64,
    "a line": b"hello\r\n",
    "lines": b"\r\n" * 50,
    "text without an end": b"a" * 70_000,
    "HTTP cut off": HTTP + b"content-length: 100\r\n\r\n{",
    "HTTP without a body": HTTP + b"content-length: 0\r\n\r\n",
    "HTTP of two lengths": HTTP + b"content-length: 1\r\ncontent-length: 2\r\n\r\n{}",
    "HTTP of a negative length": HTTP + b"content-length: -1\r\n\r\n{}",
    "HTTP of bad chunks": HTTP + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    "HTTP of a false compression": HTTP + b"content-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello",
    "HTTP of an empty object": HTTP + b"content-length: 2\r\n\r\n{}",
    "HTTP of null": HTTP + b"content-length: 4\r\n\r\nnull",
    "HTTP of a list": HTTP + b"content-length: 2\r\n\r\n[]",
    "HTTP of choices that are none": HTTP + b'content-length: 21\r\n\r\n{"choices":[null,5]} ',
    "HTTP of a bad status": b"HTTP/1.1 999999 X\r\n\r\n",
    "HTTP of bad headers": b"HTTP/1.1 200 OK\r\n: x\r\na b: c\r\n\xff\xfe: \xff\r\n\r\n",
    "HTTP that goes on and on": b"HTTP/1.1 100 Continue\r\n\r\n" * 30,
    "HTTP compressed": HTTP + b"content-encoding: gzip\r\ncontent-length: 22\r\n\r\n" + gzip.compress(b"{}", mtime=0),
    "Redis of a bad length": b"$-5\r\n",
    "Redis of a huge length": b"$99999999999999999999\r\n",
    "Redis of a bad number": b":abc\r\n",
    "Redis of nesting": b"*1\r\n" * 500,
    "Redis of another type": b"*2\r\n$1\r\na\r\n:5\r\n" * 5,
    "Redis of a map": b"%1\r\n+a\r\n+b\r\n" * 5,
    "Redis of nulls": b"$-1\r\n" * 8,
    "Redis of an error": b"-\xff\xfe\r\n" * 8,
    "Memcached of a bad value": b"VALUE a b c\r\n\r\nEND\r\n" * 4,
    "Memcached of a bad length": b"VALUE k 0 99999999999\r\nx\r\nEND\r\n",
    "Memcached of another key": b"VALUE other 0 1\r\nx\r\nEND\r\n" * 4,
    "Memcached of an error": b"SERVER_ERROR \xff\r\n" * 4,
    "NATS of a bad INFO": b"INFO {\r\n",
    "NATS of an INFO that is a list": b"INFO []\r\n",
    "NATS of an empty INFO": b"INFO {}\r\n",
    "NATS of a bad message": _INFO + b"PONG\r\nMSG a b c d e\r\n",
    "NATS of a bad header": _INFO + b"PONG\r\nHMSG _INBOX.x 1 5 2\r\n\xff\xff\r\n",
    "NATS of an error": _INFO + b"-ERR '\xff'\r\n",
    "Kafka of a bad length": b"\x00\x00\x00\x04\x00\x00\x00\x01",
    "Kafka of a huge length": b"\x7f\xff\xff\xff\x00",
    "Kafka of a negative length": b"\xff\xff\xff\xfe\x00",
    "Kafka of noise": b"\x00\x00\x00\x20" + bytes(range(32)),
    "Kafka of half a frame": b"\x00\x00\x00\x20" + bytes(8),
    "Kafka of half a length": b"\x00\x00",
    "Kafka of absurd lists": b"\x00\x00\x00\x0e" + bytes((0, 0, 0, 1)) + bytes((0, 0)) + b"\x7f\xff\xff\xff" + bytes(4),
}


@asynccontextmanager
async def server(answer: bytes) -> AsyncGenerator[int]:
    """The port of a server that sends this to each who says something, or waits a moment, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not answer.startswith(b"INFO"):
                async with asyncio.timeout(0.2):
                    await reader.read(10_000)
            writer.write(answer)
            await writer.drain()
        except (OSError, TimeoutError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]


async def http(port: int) -> None:
    activity = HttpActivity(allow_private=True)
    try:
        await activity(task_of(), HttpNode(type="http", url=f"http://127.0.0.1:{port}/"))
    finally:
        await activity.aclose()


async def grpc(port: int) -> None:
    activity = GrpcActivity(allow_private=True)
    node = GrpcNode.model_validate({"type": "grpc", "target": f"127.0.0.1:{port}", "method": "a.B/C", "request": {}})
    try:
        await activity(task_of(), node)
    finally:
        await activity.aclose()


async def model(port: int) -> None:
    activity = AiActivity(Models({"OPENAI_API_KEY": "k3y", "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"}))
    try:
        await activity(task_of(), AiNode.model_validate({"type": "ai", "model": "openai:gpt-4", "prompt": "x"}))
    finally:
        await activity.aclose()


async def redis(port: int) -> None:
    store = RedisStore(RedisClient.from_url(f"redis://127.0.0.1:{port}", timeout=0.5, retries=0))
    try:
        await store.load("session")
        await store.save(DistributedContext("session"))
    finally:
        await store.aclose()


async def memcached(port: int) -> None:
    store = MemcachedStore.from_url(f"memcached://127.0.0.1:{port}", timeout=0.5)
    try:
        await store.load("session")
        await store.save(DistributedContext("session"))
        [each async for each in store.list_sessions()]
    finally:
        await store.aclose()


async def nats(port: int) -> None:
    source = await NatsSource.open(Address("nats", (f"127.0.0.1:{port}",), "orders"), "me", create=True)
    await source.fetch(1)
    await source.aclose()


async def kafka(port: int) -> None:
    sink = await KafkaSink.open(Address("kafka", (f"127.0.0.1:{port}",), "orders"))
    await sink.aclose()


async def kafka_source(port: int) -> None:
    source = await KafkaSource.open(Address("kafka", (f"127.0.0.1:{port}",), "orders"), "me")
    await source.fetch(1)
    await source.aclose()


CLIENTS: dict[str, Callable[[int], Awaitable[None]]] = {
    "http": http,
    "grpc": grpc,
    "model": model,
    "redis": redis,
    "memcached": memcached,
}


ANSWERED = "answered"
_READ = ("HTTP without a body", "HTTP of an empty object", "HTTP of null", "HTTP of a list")
_OUTCOMES: dict[tuple[str, str], str] = {
    **{("http", answer): ANSWERED for answer in (*_READ, "HTTP of choices that are none")},
    **{("model", answer): "NODE_FAILED" for answer in (*_READ, "HTTP compressed")},
    ("http", "HTTP of a false compression"): "NODE_FAILED",
    ("http", "HTTP compressed"): "NODE_FAILED",
}
"""What comes of an answer that is read; every other one makes the server unavailable."""


async def outcome(client: Callable[[int], Awaitable[None]], answer: bytes) -> str:
    """The code of our error, or ANSWERED. Every other exception fails the test."""
    async with server(answer) as port:
        try:
            await client(port)
        except AnabranchError as error:
            return error.code
    return ANSWERED


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_whatever_a_server_answers_an_error_is_one_of_ours(client: str, answer: str) -> None:
    found = await outcome(CLIENTS[client], ANSWERS[answer])
    assert found == _OUTCOMES.get((client, answer), "UNAVAILABLE")


@pytest.mark.parametrize("answer", [answer for answer in ANSWERS if answer.startswith("Kafka")])
@pytest.mark.parametrize("client", [kafka, kafka_source])
async def test_a_broker_that_speaks_kafka_badly_is_unavailable(
    client: Callable[[int], Awaitable[None]], answer: str
) -> None:
    assert await outcome(client, ANSWERS[answer]) == "UNAVAILABLE"


@pytest.mark.parametrize("client", [*CLIENTS, "nats", "kafka"])
async def test_a_server_that_hangs_up_at_once_is_unavailable(client: str) -> None:
    async with server(b"") as port:
        with pytest.raises(Unavailable):
            await {**CLIENTS, "nats": nats, "kafka": kafka}[client](port)


@pytest.mark.slow
@pytest.mark.parametrize("answer", [answer for answer in ANSWERS if answer.startswith("NATS")])
async def test_a_server_that_speaks_nats_badly_is_unavailable(answer: str) -> None:
    async with server(ANSWERS[answer]) as port:
        with pytest.raises(Unavailable):
            await nats(port)


@pytest.mark.parametrize("module", [events_nats, events_kafka])
@pytest.mark.parametrize("broken", [*BROKEN, UnicodeDecodeError, RecursionError, TimeoutError, KeyError])
def test_what_a_broker_s_client_lets_through_is_unavailable(module: Any, broken: type[Exception]) -> None:
    error = broken("utf-8", b"", 0, 1, "x") if broken is UnicodeDecodeError else broken("x")
    with pytest.raises(Unavailable, match="while fetching"), module._translated("fetching"):
        raise error
    for ours in (SizeLimitExceeded("x"), ConfigurationError("y")):
        with pytest.raises(type(ours)), module._translated("fetching"):
            raise ours
