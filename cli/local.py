"""What a command starts for as long as it runs, a Temporal server and a worker, and a worker alone."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any

from temporalio.client import Client

from anabranch.cli.leaving import BEYOND_GRACE, interruptible
from anabranch.dev.devserver import DevServer
from anabranch.errors import ConfigurationError
from anabranch.loopback import LOOPBACK
from anabranch.settings import Settings
from anabranch.transport.client import connect
from anabranch.worker import GRACE, serve

_GRACE = timedelta(seconds=2)
"""What still runs when a command ends is cancelled: whoever pressed Ctrl-C does not want to wait for it."""


@asynccontextmanager
async def embedded_server(settings: Settings, **options: Any) -> AsyncGenerator[tuple[DevServer, Client]]:
    """A dev server and a client of it; `options` are those of `DevServer.start`.

    Raises ConfigurationError, Unavailable.
    """
    async with await DevServer.start(**options) as server:
        # Whatever server, namespace and credentials the environment names are not meant for this one.
        yield (
            server,
            await connect(
                settings, target_host=server.address, namespace="default", api_key=None, tls=False, rpc_metadata={}
            ),
        )


@asynccontextmanager
async def worker_beside(
    settings: Settings, client: Client, *, alone: bool = False
) -> AsyncGenerator[asyncio.Task[None]]:
    """A worker of this process. Its task ends early only if it fails: wait for it beside what you wait for.

    What a worker lacks that is `alone` with its server, no other will have.
    """
    if alone:
        settings = settings.model_copy(update={"elsewhere_seconds": 0.0, "graph_elsewhere_seconds": 0.0})
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(settings, client, stop, grace=_GRACE), name="worker")
    try:
        yield serving
    finally:
        stop.set()
        await serving


async def first_of(*wanted: asyncio.Future[Any], worker: asyncio.Task[None] | None) -> None:
    """Wait until one of `wanted` is done. Raises what made the worker fail, if it fails before."""
    await asyncio.wait({*wanted, worker} if worker else wanted, return_when=asyncio.FIRST_COMPLETED)
    if worker and worker.done() and not any(each.done() for each in wanted):
        worker.result()


@contextmanager
def environment(given: Mapping[str, str]) -> Generator[None]:
    """Set environment variables for a while."""
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def check_port(port: int, option: str) -> None:
    """Refuse a port that something listens on. Raises ConfigurationError naming the option."""
    try:
        with socket.create_server((LOOPBACK, port)):
            return
    except OSError as error:
        raise ConfigurationError(
            f"port {port} cannot be used: {os.strerror(error.errno or 0)}",
            place=option,
            suggestion=f"give another with {option}, or stop what listens on {port}",
        ) from None


async def work(settings: Settings, *, grace: timedelta = GRACE) -> None:
    """A worker for the server that the environment names, until Ctrl-C or SIGTERM.

    It waits for one that is down. Raises ConfigurationError; NotStopped, where the process is to end all the same.
    """
    stop = asyncio.Event()
    with interruptible(lambda _: stop.set(), within=grace.total_seconds() + BEYOND_GRACE):
        await serve(settings, stop=stop, grace=grace)
