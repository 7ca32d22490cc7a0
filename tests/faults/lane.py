"""Worker processes that are killed and replaced. A lane is a task queue that one of them serves at a time."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Spares:
    """Processes that have imported everything and wait for a task queue."""

    def __init__(self, address: str, orders: Path, environ: Mapping[str, str]) -> None:
        self._command = (sys.executable, "-m", "tests.faults.worker", address, str(orders))
        self._environ = {**os.environ, **environ}
        self._next: asyncio.Task[Process] | None = None

    async def take(self) -> Process:
        """A spare; the next one starts meanwhile."""
        taken = self._next or asyncio.create_task(self._start())
        process = await taken
        self._next = asyncio.create_task(self._start())
        return process

    async def aclose(self) -> None:
        """End the spare that nobody took."""
        if self._next is not None:
            await end(await self._next)

    async def _start(self) -> Process:
        return await asyncio.create_subprocess_exec(*self._command, stdin=PIPE, cwd=ROOT, env=self._environ)


class Lane:
    """A task queue with a worker process, and another one whenever it was killed. `killed` counts those."""

    def __init__(self, task_queue: str, spares: Spares) -> None:
        self.task_queue = task_queue
        self.killed = 0
        self._spares = spares
        self._process: Process | None = None

    @asynccontextmanager
    async def served(self) -> AsyncIterator[Lane]:
        """Keep a worker there while the block runs. A worker that ends by itself is an error."""
        serving = asyncio.create_task(self._serve())
        try:
            yield self
        finally:
            if serving.done():
                serving.result()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            if self._process is not None:
                await end(self._process)

    async def _serve(self) -> None:
        while True:
            self._process = process = await self._spares.take()
            assert process.stdin is not None
            process.stdin.write(f"{self.task_queue}\n".encode())
            status = await process.wait()
            if status != -signal.SIGKILL:
                raise RuntimeError(f"a worker ended by itself, with {status}")
            self.killed += 1


async def end(process: Process) -> None:
    """Close the input of a worker, which ends it, and wait for that."""
    if process.stdin is not None:
        process.stdin.close()
    await process.wait()
