"""A task queue with one worker process at a time, which is killed and replaced."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(slots=True)
class Lane:
    """`killed` counts the workers that were."""

    task_queue: str
    killed: int = 0


@asynccontextmanager
async def lane(task_queue: str, address: str, orders: Path, environ: Mapping[str, str]) -> AsyncGenerator[Lane]:
    """Keep a worker there while the block runs. RuntimeError where one ended by itself."""
    command = (sys.executable, "-m", "tests.faults.worker", address, str(orders), task_queue)
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, cwd=ROOT, env={**os.environ, **environ}
    )
    assert process.stdin is not None
    assert process.stdout is not None
    served = Lane(task_queue)
    try:
        yield served
    finally:
        process.stdin.close()
        said, _ = await asyncio.gather(process.stdout.read(), process.wait())
        served.killed = said.count(b"killed")
    if process.returncode:
        raise RuntimeError(f"a worker ended by itself, with {process.returncode}")
