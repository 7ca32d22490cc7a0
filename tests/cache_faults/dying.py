"""Processes that put by write-behind and then die, at once or in an orderly way; what did the store get?

Run as a module with a URL, a prefix, a number of puts and `kill` or `stop`, it is such a process.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from dataclasses import dataclass

from anabranch.context.cache.cache import DistributedCache
from anabranch.context.distributed import DistributedContext
from anabranch.context.stores.open import open_store


@dataclass(frozen=True, slots=True)
class Death:
    """What a process had put, what its stats called pending and on its way when it died, and what is missing."""

    put: set[str]
    pending: set[str]
    writing: set[str]
    missing: set[str]
    exit_code: int


async def die(url: str, prefix: str, puts: int, how: str) -> Death:
    """Let a process put and die."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __spec__.name, url, prefix, str(puts), how, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    reported = json.loads(output)
    put = {f"{prefix}{index}" for index in range(puts)}
    store = open_store(url)
    there = {session_id async for session_id in store.list_sessions(prefix)}
    await store.aclose()
    return Death(put, set(reported["pending"]), set(reported["writing"]), put - there, process.returncode or 0)


async def put_and_die(url: str, prefix: str, puts: int, how: str) -> None:
    """Put, print what is pending, and die."""
    cached = DistributedCache(open_store(url), strategy="write_behind", linger=0.003)
    for index in range(puts):
        await cached.put(DistributedContext(f"{prefix}{index}", {"index": index}))
        if index % 10 == 0:
            await asyncio.sleep(random.uniform(0, 0.004))
    if how == "stop":
        await cached.aclose()
    stats = cached.stats()
    os.write(1, json.dumps({"pending": stats.pending, "writing": stats.writing}).encode())
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(put_and_die(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
