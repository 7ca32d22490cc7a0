"""What a process answers at its metrics address: `/metrics`, `/livez` and `/readyz`.

The event loop of the process answers: where it is stuck, `/livez` has no answer.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from temporalio.runtime import Runtime

from anabranch.errors import AnabranchError, ConfigurationError, Unavailable
from anabranch.loopback import answering, listening
from anabranch.observe.metrics_registry import Registry

TEXT_FORMAT: Final = "text/plain; version=0.0.4; charset=utf-8"
PLACE: Final = "ANABRANCH_METRICS_ADDRESS"
_CHECK_SECONDS: Final = 2.0
_LAST_PORT: Final = 65_535
_WRITE: Final = "write host:port of this machine, such as 0.0.0.0:9464, or :9464 for every interface"

Check = Callable[[], Awaitable[None]]
"""Raises AnabranchError for what is not ready."""


@asynccontextmanager
async def observing(
    address: str | None, collector: str | None, checks: Mapping[str, Check]
) -> AsyncGenerator[Runtime | None]:
    """A runtime of the SDK whose metrics are shown at `address`, beside the probes, and sent to an OTLP `collector`.

    None where neither is asked for: then nothing is measured. Raises ConfigurationError.
    """
    if address is None and collector is None:
        yield None
        return
    async with AsyncExitStack() as stack:
        listener = None if address is None else stack.enter_context(_listening_at(address))
        registry = Registry.start()
        if listener is not None:
            await stack.enter_async_context(answering(answers(registry.text, checks), listener))
        if collector is not None:
            sending = _sending()
            await stack.enter_async_context(sending(registry.text, collector))
        yield registry.runtime


def _sending() -> Callable[[Callable[[], Awaitable[bytes]], str], AbstractAsyncContextManager[None]]:
    try:
        from anabranch.observe.metrics_otlp import sending
    except ImportError as error:
        raise ConfigurationError(
            f"metrics cannot be sent to a collector: {error.name} is not installed",
            place="OTEL_EXPORTER_OTLP_ENDPOINT",
            suggestion="pip install 'anabranch[otel]', or set OTEL_METRICS_EXPORTER=none",
        ) from None
    return sending


def answers(text: Callable[[], Awaitable[bytes]], checks: Mapping[str, Check]) -> Starlette:
    """The ASGI app; `text` is every metric, `checks` are what has to hold before a process is ready."""

    async def metrics(_request: Request) -> Response:
        try:
            return Response(await text(), media_type=TEXT_FORMAT)
        except Unavailable as error:
            return PlainTextResponse(f"{error}\n", status_code=503)

    async def livez(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        found = dict(zip(checks, await asyncio.gather(*map(_outcome, checks.values())), strict=True))
        is_ready = all(outcome == "ok" for outcome in found.values())
        return JSONResponse({"ready": is_ready, "checks": found}, status_code=200 if is_ready else 503)

    return Starlette(routes=[Route("/metrics", metrics), Route("/livez", livez), Route("/readyz", readyz)])


async def _outcome(check: Check) -> str:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except AnabranchError as error:
        return str(error)
    except TimeoutError:
        return f"no answer within {_CHECK_SECONDS:g} s"
    return "ok"


def readable(folder: Path) -> Check:
    """That the graphs' folder can be listed."""

    async def check() -> None:
        try:
            await asyncio.to_thread(os.listdir, folder)
        except OSError as error:
            raise Unavailable(f"the graphs cannot be listed: {error.strerror}", place=str(folder)) from error

    return check


@contextmanager
def _listening_at(address: str) -> Generator[socket.socket]:
    host, colon, port = address.rpartition(":")
    if not (colon and port.isdecimal() and int(port) <= _LAST_PORT):
        raise ConfigurationError(f"{address[:80]!r} is no address", place=PLACE, suggestion=_WRITE)
    with ExitStack() as stack:
        try:
            listener = stack.enter_context(listening(int(port), host.strip("[]")))
        except Unavailable as error:
            raise ConfigurationError(f"{error.message} ({error.place})", place=PLACE, suggestion=_WRITE) from error
        yield listener
