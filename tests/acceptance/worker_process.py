"""A worker as a process of its own (`python worker.py`), and a service that its graphs call and tests hold back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from temporalio.client import WorkflowHandle

ROOT = Path(__file__).parents[2]
PATIENCE = 100.0
"""Seconds for what takes two on an idle machine: a worker's start is mostly imports, and many tests may start one."""

Handle = WorkflowHandle[Any, dict[str, Any]]


@contextmanager
def worker_process(
    environment: Mapping[str, str], *, program: str = "worker.py", log: IO[bytes] | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """`python worker.py` with this environment, killed at the end where it still runs.

    What it logs goes to the file `log`, or where the test's own standard error goes: in a pipe that nobody reads it
    would come to a stop.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ANABRANCH_", "TEMPORAL_"))}
    command = [sys.executable, str(ROOT / program)]
    process = subprocess.Popen(command, cwd=ROOT, env={**inherited, **environment}, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def kill(process: subprocess.Popen[bytes]) -> None:
    """End it as a power cut would."""
    process.send_signal(signal.SIGKILL)
    process.wait(10)


@dataclass
class Service:
    """Answers `{"answer": <path>}` to every request, while `opened` is set."""

    port: int = 0
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    keys: list[str] = field(default_factory=list)
    """The `Idempotency-Key` of each request, as they came."""
    unavailable: int = 0
    """So many requests are refused first."""

    async def requests(self, count: int) -> None:
        """Wait until so many requests have come."""
        deadline = time.monotonic() + PATIENCE
        while len(self.keys) < count:
            assert time.monotonic() < deadline, f"{len(self.keys)} requests came, not {count}"
            await asyncio.sleep(0.02)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if line)
            self.keys.append(lines["idempotency-key"])
            if len(self.keys) <= self.unavailable:
                writer.write(b"HTTP/1.1 503 Later\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                await writer.drain()
                writer.close()
                return
            await self.opened.wait()
            body = json.dumps({"answer": head.split()[1]}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n")
            writer.write(f"content-length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def service(*, unavailable: int = 0) -> AsyncGenerator[Service]:
    """A service on a free port of the loopback interface; so many requests it refuses first."""
    held = Service(unavailable=unavailable)
    server = await asyncio.start_server(held.answer, "127.0.0.1", 0)
    held.port = server.sockets[0].getsockname()[1]
    async with server:
        yield held
        held.opened.set()


async def until_waiting(handle: Handle, node_id: str) -> None:
    """Wait until a node waits for its timer."""
    deadline = time.monotonic() + PATIENCE
    while True:
        reported = await handle.query("status")
        if reported.get("nodes", {}).get(node_id, {}).get("status") == "waiting":
            return
        assert time.monotonic() < deadline, reported
        await asyncio.sleep(0.05)


async def refusal(handle: Handle) -> str:
    """What a worker says of the workflow task that it failed."""
    for _ in range(600):
        async for event in handle.fetch_history_events():
            if event.HasField("workflow_task_failed_event_attributes"):
                return event.workflow_task_failed_event_attributes.failure.message
        await asyncio.sleep(0.1)
    raise AssertionError("no worker failed a workflow task in time")


async def answer(handle: Handle) -> None:
    """Decide what the node `ask` asks."""
    await handle.execute_update("complete_task", {"node": "ask", "answer": {"ok": True}})
