"""Fifty writers in four processes update one context; every update must be in the result, under a version of its own.

Run as a module with a URL, a session id, a number of writers and a number of updates, it is one of the processes.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import Any

from anabranch.context.cache.cache import DistributedCache
from anabranch.context.distributed import DistributedContext
from anabranch.context.stores.memory import InMemoryStore
from anabranch.context.stores.open import open_store

PROCESSES = 4


@dataclass(frozen=True, slots=True)
class Written:
    """What came out: the versions that the updates made, the context's last state."""

    versions: list[int]
    count: int
    version: int


async def write_in_processes(url: str, session_id: str, writers: int, updates: int) -> Written:
    """Let that many writers make that many updates, divided among four processes."""
    shares = [(writers * (i + 1) // PROCESSES - writers * i // PROCESSES) for i in range(PROCESSES)]
    counts = [(updates * (i + 1) // PROCESSES - updates * i // PROCESSES) for i in range(PROCESSES)]
    outcomes = await asyncio.gather(
        *(_process(url, session_id, share, count) for share, count in zip(shares, counts, strict=True))
    )
    store = open_store(url)
    final = await store.load(session_id)
    await store.aclose()
    assert final is not None
    count: Any = final.data["count"]
    return Written(sorted(version for made in outcomes for version in made), count, final.metadata.version)


async def _process(url: str, session_id: str, writers: int, updates: int) -> list[int]:
    arguments = [url, session_id, str(writers), str(updates)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __spec__.name, *arguments, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    versions: list[int] = json.loads(output)
    return versions


async def write(url: str, session_id: str, writers: int, updates: int) -> list[int]:
    """One process's share: the versions that its updates made."""
    cached = DistributedCache(open_store(url), InMemoryStore())
    left = updates
    versions: list[int] = []

    def add_one(context: DistributedContext) -> None:
        count: Any = context.get("count", 0)
        context.set("count", count + 1)

    async def writer() -> None:
        nonlocal left
        while left:
            left -= 1
            versions.append((await cached.update(session_id, add_one)).metadata.version)

    await asyncio.gather(*(writer() for _ in range(writers)))
    await cached.aclose()
    return versions


if __name__ == "__main__":
    print(json.dumps(asyncio.run(write(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))))
