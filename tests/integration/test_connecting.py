"""What a connection waits for, and what it refuses at once: a server that is down, TLS, credentials, a namespace."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import structlog
from temporalio.service import TLSConfig

from anabranch.dev.devserver import DevServer
from anabranch.errors import ConfigurationError, Unavailable
from anabranch.loopback import free_port
from anabranch.settings import Settings
from anabranch.transport.client import connect, connect_when_up
from tests.integration.graph_kit import until
from tests.json_values import unchecked

TLS = Path(__file__).parents[1] / "fixtures" / "tls"
SOON = [0.1] * 1000
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve, **options: Any) -> AsyncGenerator[str]:
    """The address of a server on the loopback interface."""
    held: set[asyncio.Task[None]] = set()

    async def entered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.add(unchecked(asyncio.current_task()))
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await serve(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(entered, "127.0.0.1", 0, **options)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    for task in held:
        task.cancel()
    await asyncio.gather(*held)
    await asyncio.sleep(0.1)  # for the transports, which close in callbacks


def tls_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
    context.set_alpn_protocols(["h2"])
    return context


async def close_at_once(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    pass


def header(name: bytes, value: bytes) -> bytes:
    """A header as HPACK has it, without compression (RFC 7541, 6.2.2)."""
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    """A frame of HTTP/2 (RFC 9113, 4.1)."""
    return len(content).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + content


def answering(status: int) -> Serve:
    """A gRPC server that answers its first call with a status."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(24)  # the preface
        writer.write(frame(4, 0, 0) + frame(4, 1, 0))
        while True:
            head = await reader.readexactly(9)
            await reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] == 1:  # HEADERS
                break
        headers = header(b":status", b"200") + header(b"content-type", b"application/grpc")
        headers += header(b"grpc-status", str(status).encode()) + header(b"grpc-message", b"no such key")
        writer.write(frame(1, 5, int.from_bytes(head[5:], "big"), headers))
        await writer.drain()
        await reader.read()

    return answer


async def refusal(address: str, **options: Any) -> str:
    """Why a connection is refused, for which no worker waits."""
    with pytest.raises(ConfigurationError) as refused:
        await asyncio.wait_for(connect_when_up(Settings(), target_host=address, **options), 30)
    assert refused.value.place == address
    return refused.value.message


@pytest.mark.parametrize("status", [7, 16])
async def test_credentials_that_are_refused_are_not_waited_for(status: int) -> None:
    async with listening(answering(status)) as address:
        message = await refusal(address, api_key="wrong", tls=False)
    assert message == "the Temporal server refuses the credentials: no such key"


async def test_a_server_without_tls_is_not_waited_for_where_tls_is_set(dev_server: DevServer) -> None:
    assert "no TLS connection" in await refusal(dev_server.address, tls=True)


async def test_a_certificate_of_an_unknown_authority_is_not_waited_for() -> None:
    async with listening(close_at_once, ssl=tls_context()) as address:
        assert "InvalidCertificate(UnknownIssuer)" in await refusal(address, tls=True)


async def test_a_certificate_of_another_name_is_not_waited_for() -> None:
    tls = TLSConfig(server_root_ca_cert=(TLS / "certificate.pem").read_bytes(), domain="other.example")
    async with listening(close_at_once, ssl=tls_context()) as address:
        assert "NotValidForName" in await refusal(address, tls=tls)


async def test_a_server_that_asks_for_tls_is_not_waited_for_without_it() -> None:
    async with listening(close_at_once, ssl=tls_context()) as address:
        assert await refusal(address) == "the Temporal server asks for TLS"


async def test_a_namespace_that_the_server_lacks_is_not_waited_for(dev_server: DevServer) -> None:
    assert await refusal(dev_server.address, namespace="nowhere") == "the Temporal server has no namespace 'nowhere'"


async def test_what_is_no_address_is_not_waited_for() -> None:
    assert "not the address of a server" in await refusal("not a host")


async def test_a_server_that_comes_later_is_waited_for_and_the_log_says_where() -> None:
    port = free_port()
    address = f"127.0.0.1:{port}"
    with structlog.testing.capture_logs() as logged:
        connecting = asyncio.create_task(connect_when_up(Settings(), pauses=SOON, target_host=address))
        await until(lambda: bool(logged))
        async with await DevServer.start(port=port):
            client = await asyncio.wait_for(connecting, 60)
            assert client.service_client.config.target_host == address
    (entry,) = logged  # however often it tries
    assert (entry["event"], entry["address"]) == ("waiting for Temporal", address)
    assert "Connection refused" in entry["reason"]


@pytest.mark.parametrize("serve", [close_at_once, answering(14)])
async def test_a_server_that_does_not_serve_yet_is_waited_for(serve: Serve) -> None:
    async with listening(serve) as address:
        with pytest.raises(Unavailable):
            await connect_when_up(Settings(), pauses=[0, 0, 0], target_host=address)


async def test_a_command_waits_for_no_server() -> None:
    with pytest.raises(Unavailable, match=r"no Temporal server answers: Connection refused"):
        await connect(Settings(), target_host="127.0.0.1:1")
