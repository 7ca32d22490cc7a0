"""Events from NATS, each of which becomes a run whose result is published."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import nats
from nats.js import JetStreamContext
from nats.js.api import StreamConfig

from anabranch.brokers.address import parse_address
from anabranch.events.consumer import Flow
from anabranch.events.service import Route, events_queue, serve_events
from anabranch.loopback import LOOPBACK, free_port
from benchmarks.scale.growth import Cost
from benchmarks.scale.site import Site

GRAPH: Final = "event"
_TOPIC: Final = "orders"
_RESULTS: Final = "done"
_POLL_SECONDS: Final = 0.05


@asynccontextmanager
async def broker(folder: Path) -> AsyncGenerator[str]:
    """A NATS server with JetStream; its URL."""
    port = free_port()
    command = [str(Path(sys.executable).parent / "nats-server"), "-a", LOOPBACK, "-p", str(port), "-js", "-sd"]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([*command, str(folder)], stdout=quiet, stderr=quiet)  # noqa: ASYNC220 - it starts at once
    try:
        while not _answers(port):  # noqa: ASYNC110 - another process starts to listen
            await asyncio.sleep(_POLL_SECONDS)
        yield f"nats://{LOOPBACK}:{port}"
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex((LOOPBACK, port)) == 0


class Feed:
    """Sends events, and waits for the results of their runs."""

    def __init__(self, site: Site, stream: JetStreamContext) -> None:
        self._site = site
        self._stream = stream

    async def run(self, count: int) -> Cost:
        """From the first event that is sent to the last result."""
        before = await self._results()
        clock = self._site.clock()
        for _ in range(count):
            await self._stream.publish(_TOPIC, json.dumps({"id": uuid.uuid4().hex}).encode())
        while await self._results() < before + count:  # noqa: ASYNC110 - the broker counts them
            await asyncio.sleep(_POLL_SECONDS)
        return clock()

    async def _results(self) -> int:
        return (await self._stream.stream_info(_RESULTS)).state.messages


async def _quiet(_: Exception) -> None:
    """The broker ends before what is connected to it does."""


@asynccontextmanager
async def feed(site: Site, folder: Path) -> AsyncGenerator[Feed]:
    """A broker, and what consumes its events in this process."""
    async with broker(folder) as url:
        connection = await nats.connect(url, allow_reconnect=False, error_cb=_quiet)
        stream = connection.jetstream()
        for topic in (_TOPIC, _RESULTS, f"{_RESULTS}-dead"):
            await stream.add_stream(StreamConfig(name=topic, subjects=[topic]))
        source = parse_address(f"{url}/{_TOPIC}", "--from")
        route = Route(source, parse_address(f"{url}/{_RESULTS}", "--to"), "scale")
        queue = events_queue(site.task_queue, GRAPH, source)
        flow = Flow(GRAPH, _RESULTS, f"{_RESULTS}-dead", task_queue=site.task_queue, events_queue=queue)
        stop = asyncio.Event()
        serving = asyncio.create_task(serve_events(site.client, flow, route, stop))
        try:
            yield Feed(site, stream)
        finally:
            stop.set()
            await serving
            await connection.close()
