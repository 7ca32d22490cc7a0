"""What pages of a browser and broken clients may send to the codec server: it refuses, lets go, and serves the next."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from urllib.parse import urlsplit

import httpx2
import pytest
from google.protobuf import json_format
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.converter import PayloadCodec

from anabranch.console.codec.alone import CODEC_PATH, codec_alone
from anabranch.console.codec.intake import CodecLimits
from anabranch.limits import Patience
from anabranch.loopback import serving
from anabranch.transport.converter import data_converter

UI = "http://127.0.0.1:8233"
LIMITS = CodecLimits(request_bytes=20_000, answer_bytes=100_000, held_bytes=500_000, payloads=50, body_seconds=0.3)
FEW_BYTES = CodecLimits(held_bytes=50_000)
PATIENCE = Patience(head=0.3, reading=0.5, connections=20)
CLOSED = 0
BODY = b'{"payloads": [{"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": "MQ=="}]}'


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with serving(codec_alone([UI], limits=LIMITS), patience=PATIENCE) as found:
        yield found


def post(
    body: bytes = BODY,
    *headers: str,
    path: str = "/codec/decode",
    kind: str = "application/json",
    host: str = "localhost",
) -> bytes:
    """A request, whole but for what is given."""
    head = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Type: {kind}", "Connection: close", *headers]
    if not any("content-length" in each.lower() or "transfer-encoding" in each.lower() for each in headers):
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def many(count: int, **payload: object) -> bytes:
    return json.dumps({"payloads": [payload] * count}).encode()


def metadata(count: int) -> dict[str, str]:
    return {f"k{index}": "" for index in range(count)}


CHUNKED = "Transfer-Encoding: chunked"
DEEP = 200 if sys.version_info >= (3, 13) else 400
"""Of a payload whose unknown field is deeper than the parser of older Pythons goes."""
ABUSES: dict[str, tuple[bytes, int]] = {
    # whose page, and which name it uses for this machine
    "a page of another site": (post(BODY, "Origin: http://evil.example"), 403),
    "a page of another port": (post(BODY, "Origin: http://127.0.0.1:9999"), 403),
    "a page of no origin": (post(BODY, "Origin: null"), 403),
    "a page of a file": (post(BODY, "Origin: file://"), 403),
    "an empty origin": (post(BODY, "Origin: "), 403),
    "the Web UI's origin with more behind it": (post(BODY, f"Origin: {UI}.evil.example"), 403),
    "the Web UI's origin by https": (post(BODY, "Origin: https://127.0.0.1:8233"), 403),
    "two origins": (post(BODY, "Origin: http://evil.example", f"Origin: {UI}"), 403),
    "a preflight of another site": (
        (
            b"OPTIONS /codec/decode HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n"
            b"Access-Control-Request-Method: POST\r\nConnection: close\r\n\r\n"
        ),
        400,
    ),
    "a name that leads here": (post(host="evil.example"), 400),
    "a name that leads here, with a port": (post(host="evil.example:8081"), 400),
    "a name that begins as ours": (post(host="localhost.evil.example"), 400),
    "an address that begins as ours": (post(host="127.0.0.1.evil.example"), 400),
    "a user before our name": (post(host="localhost@evil.example"), 400),
    "another address of this machine": (post(host="127.0.0.2"), 400),
    "any address": (post(host="0.0.0.0"), 400),
    "no name": (post(host=""), 400),
    "no host at all": (b"POST /codec/decode HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
    "no host, in the old protocol": (b"POST /codec/decode HTTP/1.0\r\n\r\n", 400),
    "two hosts": (post(BODY, "Host: evil.example"), 400),
    "an absolute target": (post(path="http://evil.example/codec/decode", host="evil.example"), 400),
    # what a page may send without asking first
    "plain text": (post(kind="text/plain"), 415),
    "plain text that names JSON": (post(kind="text/plain; application/json"), 415),
    "a form": (post(b"payloads=1", kind="application/x-www-form-urlencoded"), 415),
    "a form with files": (post(kind="multipart/form-data; boundary=x"), 415),
    "no kind": (post(kind=""), 415),
    "another JSON": (post(kind="application/json-seq"), 415),
    "JSON in a list of kinds": (post(kind="text/plain, application/json"), 415),
    # amounts
    "a body over the limit": (post(b" " * 20_001), 413),
    "a body over the limit in chunks": (post(b"4e21\r\n" + b" " * 20_001 + b"\r\n0\r\n\r\n", CHUNKED), 413),
    "too many payloads": (post(many(51)), 413),
    "too many payloads of nothing": (post(b'{"payloads": [' + b",".join([b"{}"] * 6_000) + b"]}"), 413),
    "too many metadata": (post(many(1, metadata=metadata(65))), 413),
    "a length of ten gigabytes": (post(b"", "Content-Length: 10000000000"), 408),
    "a head over the limit": (post(BODY, "X: " + "x" * 1_000_000), 400),
    "a target over the limit": (post(path="/" + "x" * 1_000_000), 400),
    # bodies that are not one
    "nothing": (post(b""), 400),
    "no JSON": (post(b"{"), 400),
    "another encoding": (post('{"payloads": []}'.encode("utf-16")[:-1]), 400),
    "bytes": (post(b"\xff\xfe\x00"), 400),
    "depth": (post(b"[" * 10_000), 400),
    "depth in a payload": (post(b'{"payloads": [' + b'{"x":' * 3_000 + b"1" + b"}" * 3_000 + b"]}"), DEEP),
    "a list": (post(b"[]"), 200),
    "a number": (post(b"7"), 400),
    "null": (post(b"null"), 200),
    "a huge number": (post(b'{"payloads": ' + b"9" * 10_000 + b"}"), 400),
    "payloads that are text": (post(b'{"payloads": "x"}'), 400),
    "payloads that are an object": (post(b'{"payloads": {}}'), 400),
    "payloads of lists": (post(b'{"payloads": [[]]}'), 200),
    "payloads of null": (post(b'{"payloads": [null]}'), 400),
    "data that is a number": (post(many(1, data=5)), 400),
    "data that is not base64": (post(many(1, data="*")), 200),
    "metadata that is a list": (post(many(1, metadata=[])), 400),
    "metadata that is not base64": (post(many(1, metadata={"encoding": "*"})), 200),
    "metadata without a value": (post(many(1, metadata={"encoding": None})), 400),
    # what is not HTTP, or half of it
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 100, 400),
    "the second protocol": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "the ninth protocol": (b"POST /codec/decode HTTP/9.9\r\nHost: localhost\r\n\r\n", 415),
    "no protocol": (b"POST /codec/decode\r\n\r\n", 400),
    "garbage": (b"\x00" * 100 + b"\r\n\r\n", 400),
    "a space in a name": (post(BODY, "X Y: z"), 400),
    "a folded line": (post(BODY, " folded"), 200),
    "a zero in a value": (post(BODY, "X: a\x00b"), 400),
    "a length that is none": (post(BODY, "Content-Length: x"), 400),
    "a length below zero": (post(BODY, "Content-Length: -1"), 400),
    "two lengths": (post(BODY, "Content-Length: 5", f"Content-Length: {len(BODY)}"), 400),
    "a length and chunks": (post(b"0\r\n\r\n", CHUNKED, "Content-Length: 5"), 400),
    "a chunk of no size": (post(b"zz\r\n", CHUNKED), 400),
    "chunks of another kind": (post(BODY, "Transfer-Encoding: gzip, chunked"), 400),
    "half a head": (b"POST /codec/decode HTTP/1.1\r\nHost: local", CLOSED),
    "half a line": (b"POST /cod", CLOSED),
    "nothing at all": (b"", CLOSED),
    "half a body": (post(b"{", "Content-Length: 500"), 408),
    "half a chunk": (post(b"50\r\n{", CHUNKED), 408),
    "chunks without an end": (post(b"1\r\n{\r\n", CHUNKED), 408),
    "a promise to send": (post(b"", "Content-Length: 5", "Expect: 100-continue"), 100),
    # other methods and paths
    "a look": (b"GET /codec/decode HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405),
    "a trace": (b"TRACE /codec/decode HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405),
    "a tunnel": (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404),
    "another path": (post(path="/codec/elsewhere"), 404),
    "a way up": (post(path="/codec/../../etc/passwd"), 404),
    "a way up in code": (post(path="/codec/%2e%2e/%2e%2e/etc/passwd"), 404),
    "a socket": (
        (
            b"GET /codec/decode HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ),
        405,
    ),
}


def answered(url: str, sent: bytes) -> int:
    """The status of the answer to these bytes, CLOSED where the server only lets go. Reads until it does."""
    address = urlsplit(url)
    assert address.hostname is not None
    with closing(socket.create_connection((address.hostname, address.port or 0), timeout=60)) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before all of it was sent
            connection.sendall(sent)
        said = b""
        with suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                said += chunk
    return int(said.split(b" ", 2)[1]) if said.startswith(b"HTTP/") else CLOSED


async def test_every_abuse_is_refused_or_let_go_and_the_next_request_is_served(url: str) -> None:
    assert len(ABUSES) >= 60
    found = await asyncio.gather(*(asyncio.to_thread(answered, url, sent) for sent, _ in ABUSES.values()))
    assert dict(zip(ABUSES, found, strict=True)) == {name: status for name, (_, status) in ABUSES.items()}
    assert await asyncio.to_thread(answered, url, post()) == 200


async def test_the_web_ui_and_the_command_line_are_served(url: str) -> None:
    hosts = ("localhost", "127.0.0.1:1234", "[::1]:80", "LOCALHOST")
    for host, kind, headers in itertools.product(
        hosts, ("application/json", "Application/JSON; charset=utf-8"), ((), (f"Origin: {UI}",))
    ):
        assert await asyncio.to_thread(answered, url, post(BODY, *headers, kind=kind, host=host)) == 200


async def test_half_sent_requests_hold_no_more_connections_than_the_limit_and_none_for_long(url: str) -> None:
    def half() -> socket.socket:
        address = urlsplit(url)
        connection = socket.create_connection((address.hostname or "", address.port or 0), timeout=60)
        connection.sendall(b"POST /codec/decode HTTP/1.1\r\n")
        return connection

    held = [await asyncio.to_thread(half) for _ in range(60)]
    for connection in held:  # all of them end, without another byte of ours
        assert await asyncio.to_thread(ended, connection)
        connection.close()
    assert await asyncio.to_thread(answered, url, post()) == 200


def ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


async def test_a_head_that_comes_byte_by_byte_is_let_go_too(url: str) -> None:
    """Also the second one on a connection, whose first request was served."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(post().replace(b"Connection: close\r\n", b""))
    assert (await reader.readline()).split()[1] == b"200"
    with pytest.raises(ConnectionError):
        await trickle(writer)
    writer.close()


async def trickle(writer: asyncio.StreamWriter) -> None:
    """Half a head, byte by byte, until the server lets go."""
    for letter in itertools.chain(b"POST /codec/decode HTTP/1.1\r\nX: ", itertools.repeat(ord("x"))):
        writer.write(bytes([letter]))
        await writer.drain()
        await asyncio.sleep(0.02)


class Waiting(PayloadCodec):
    """A codec whose work lasts until it is let go, as that of many large payloads."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()

    async def encode(self, payloads: object) -> list[Payload]:
        return []

    async def decode(self, payloads: object) -> list[Payload]:
        self.begun.set()
        self.go_on.wait(60)
        return [Payload(data=b"x")]


async def test_what_is_decoded_keeps_neither_the_loop_nor_more_memory_than_the_limit() -> None:
    codec = Waiting()
    body = json_format.MessageToJson(Payloads(payloads=[Payload(data=b"x" * 10_000)]))
    headers = {"Content-Type": "application/json"}
    async with (
        serving(codec_alone(converter=data_converter(codec=codec), limits=FEW_BYTES)) as url,
        httpx2.AsyncClient(base_url=url + CODEC_PATH, trust_env=False, timeout=60, headers=headers) as client,
    ):
        try:
            under_way = [asyncio.create_task(client.post("/decode", content=body)) for _ in range(3)]
            await asyncio.to_thread(codec.begun.wait, 60)
            refused = await client.post("/decode", content=body)  # the loop answers while the thread works
            assert (refused.status_code, refused.json()["code"]) == (503, "UNAVAILABLE")
        finally:
            codec.go_on.set()
        assert [(await each).status_code for each in under_way] == [200, 200, 200]
        assert (await client.post("/decode", content=body)).status_code == 200


async def test_decoding_that_takes_too_long_is_given_up() -> None:
    limits = CodecLimits(work_seconds=0.0)
    async with serving(codec_alone(limits=limits)) as url:
        assert await asyncio.to_thread(answered, url, post()) == 503
