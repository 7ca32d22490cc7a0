"""A proxy before a database that cuts a connection at a commit: before it is sent on, or before its answer is.

In the first case nothing happened, in the second everything did, and the worker cannot tell one from the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_COMMITS = (b"COMMIT", b"commit")
_CHUNK = 65536
_COMMIT_SECONDS = 60.0


class Cutter:
    """Cuts one connection for each strike, at the next commit."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], rng: random.Random) -> None:
        self._connect = connect
        self._rng = rng
        self._is_due = False
        self._cut = asyncio.Event()

    async def strike(self) -> None:
        """Cut at the next commit. Raises TimeoutError where none comes."""
        self._cut.clear()
        self._is_due = True
        async with asyncio.timeout(_COMMIT_SECONDS):
            await self._cut.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Between one client and the database, until either leaves or the connection is cut."""
        try:
            database_reader, database_writer = await self._connect()
        except OSError:
            writer.close()
            return
        answers = asyncio.create_task(_copy(database_reader, writer))
        try:
            await self._requests(reader, database_writer, answers)
        finally:
            answers.cancel()
            for each in (writer, database_writer):
                each.close()

    async def _requests(
        self, reader: asyncio.StreamReader, database: asyncio.StreamWriter, answers: asyncio.Task[None]
    ) -> None:
        with contextlib.suppress(OSError):
            while not answers.done() and (data := await reader.read(_CHUNK)):
                is_cut = self._is_due and any(word in data for word in _COMMITS)
                if is_cut:
                    self._is_due = False
                    self._cut.set()
                    if self._rng.random() < 0.5:
                        return
                    answers.cancel()  # the answer comes, and goes nowhere
                database.write(data)
                await database.drain()
                if is_cut:
                    await asyncio.sleep(0.05)
                    return


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def cutting_unix(path: str, to: str, rng: random.Random) -> AsyncGenerator[Cutter]:
    """Between the unix sockets `path` and `to`."""
    cutter = Cutter(lambda: asyncio.open_unix_connection(to), rng)
    async with await asyncio.start_unix_server(cutter.serve, path):
        yield cutter


@asynccontextmanager
async def cutting_tcp(port: int, to: int, rng: random.Random) -> AsyncGenerator[Cutter]:
    """Between two ports of the loopback interface."""
    cutter = Cutter(lambda: asyncio.open_connection("127.0.0.1", to), rng)
    async with await asyncio.start_server(cutter.serve, "127.0.0.1", port):
        yield cutter
