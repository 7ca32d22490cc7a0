"""The console: one ASGI app on the loopback interface. The codec server is at `/codec`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp
from temporalio.converter import PayloadCodec

from anabranch.console.codec_server import codec_server
from anabranch.errors import Unavailable

LOOPBACK = "127.0.0.1"
CODEC_PATH = "/codec"


def console(origins: Sequence[str] = (), codec: PayloadCodec | None = None) -> Starlette:
    """Make the app. `origins` are the pages that may use the codec server: those of the Temporal Web UI."""
    return Starlette(routes=[Mount(CODEC_PATH, codec_server(origins, codec))])


@asynccontextmanager
async def serving(app: ASGIApp, port: int = 0) -> AsyncIterator[str]:
    """Serve an app on a loopback port, 0 for any free one, in this process; gives its URL.

    Raises `Unavailable` when the port is taken.
    """
    with _listening(port) as listener:
        config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1)
        server = _Server(config)
        task = asyncio.create_task(server.serve([listener]))
        try:
            # Connections wait in the listener's queue until the server looks, so it is usable at once.
            yield f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals belong to the process that embeds this server.
        yield


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    try:
        listener = socket.create_server((LOOPBACK, port))
    except OSError as error:
        raise Unavailable(f"the port is taken: {error.strerror}", place=f"{LOOPBACK}:{port}") from error
    with listener:
        yield listener
