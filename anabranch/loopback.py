"""Ports of the loopback interface, which only this machine reaches, and an ASGI app on one of them, or on another."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from anabranch.errors import Unavailable
from anabranch.limits import PATIENCE, Patience

if TYPE_CHECKING:
    from starlette.types import ASGIApp

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """Find a TCP port of the loopback interface that nothing listens on."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        address = listener.getsockname()
        # The connection's rest (TIME_WAIT) keeps the system from giving the port to somebody else meanwhile.
        with socket.create_connection(address), listener.accept()[0]:
            port: int = address[1]
            return port


@contextmanager
def listening(port: int = 0, host: str = LOOPBACK) -> Generator[socket.socket]:
    """Listen on a port, 0 for any free one. Raises Unavailable when the port is taken, or the host is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = "the port is taken" if error.errno == errno.EADDRINUSE else "nothing can listen there"
        raise Unavailable(f"{reason}: {error.strerror}", place=f"{host}:{port}") from error
    with listener:
        yield listener


@asynccontextmanager
async def serving(app: ASGIApp, port: int = 0, *, patience: Patience = PATIENCE) -> AsyncGenerator[str]:
    """Serve an app on a loopback port, 0 for any free one, in this process; gives its URL.

    Signals stay with the program. Raises Unavailable when the port is taken.
    """
    with listening(port) as listener:
        async with answering(app, listener, patience=patience):
            yield f"http://{LOOPBACK}:{listener.getsockname()[1]}"


@asynccontextmanager
async def answering(app: ASGIApp, listener: socket.socket, *, patience: Patience = PATIENCE) -> AsyncGenerator[None]:
    """Serve an app on a listener while the block runs. Signals stay with the program."""
    import uvicorn

    from anabranch.impatience import impatient

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Generator[None]:
            yield

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        http=impatient(patience),
        timeout_graceful_shutdown=1,
    )
    server = Server(config)
    task = asyncio.create_task(server.serve([listener]))
    try:
        # Connections wait in the listener's queue until the server looks, so it is usable at once.
        yield
    finally:
        server.should_exit = True
        await task
