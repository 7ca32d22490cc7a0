"""`make faults`, the caches' part: competing writers, failing caches, dying processes; prints what came."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

from rich.console import Console

from anabranch.context.cache.cache import DistributedCache
from anabranch.context.stores.open import open_store
from anabranch.context.stores.redis import RedisStore
from tests import servers
from tests.cache_faults import dying, load, writers
from tests.cache_faults.faulty_cache import FAULTS, FaultyCache

UPDATES = 10_000
CALLS = 1_500
DEATHS = 40
STRATEGIES = ("write_through", "read_through", "write_behind")

screen = Console()


async def compete(url: str) -> list[str]:
    """Fifty writers in four processes."""
    started = time.monotonic()
    written = await writers.write_in_processes(url, uuid.uuid4().hex, 50, UPDATES)
    seconds = time.monotonic() - started
    screen.print(f"50 writers in 4 processes: {written.count} of {UPDATES} updates in {seconds:.0f} s")
    right = written.versions == list(range(2, UPDATES + 2)) and (written.count, written.version) == (
        UPDATES,
        UPDATES + 1,
    )
    return [] if right else [f"updates were lost or versions are not contiguous: {written.count}, {written.version}"]


async def fail_under_load() -> list[str]:
    """Every fault with every strategy."""
    wrong: list[str] = []
    screen.print(f"{CALLS} calls with each fault after a third of them; times are of one call", highlight=False)
    expected = await load.run([DistributedCache(open_store("memory://"))], CALLS, seed=11)
    for fault in FAULTS:
        for strategy in STRATEGIES:
            actual, hits, errors = await _loaded(fault, strategy)
            differ = sum(a != b for a, b in zip(actual.answers, expected.answers, strict=True))
            if differ:
                wrong.append(f"{fault}, {strategy}: {differ} answers differ from those without a cache")
            after = sorted(actual.during)
            times = {
                "median before": statistics.median(actual.before),
                "after": statistics.median(after),
                "p99 after": after[len(after) * 99 // 100],
            }
            reported = ", ".join(f"{name} {seconds * 1000:.1f} ms" for name, seconds in times.items())
            screen.print(
                f"  {fault:18}{strategy:14} {differ} answers differ, {hits} hits, {errors} errors; {reported}",
                highlight=False,
            )
    return wrong


async def _loaded(fault: str, strategy: str) -> tuple[load.Run, int, int]:
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{Path(folder) / 'store.db'}"
        async with FaultyCache.open() as cache:
            clients = [
                DistributedCache(open_store(store), RedisStore.from_url(cache.url, retries=0), strategy=strategy)
                for _ in range(1 if strategy == "write_behind" else 2)
            ]
            outcome = await load.run(clients, CALLS, seed=11, fault=lambda: cache.fail(fault))
            stats = [client.stats() for client in clients]
            for client in clients:
                await client.aclose()
    return outcome, sum(each.hits for each in stats), sum(each.errors for each in stats)


async def kill(url: str) -> list[str]:
    """Processes that die with puts pending."""
    wrong: list[str] = []
    pending = uncertain = missing = 0
    for number in range(DEATHS):
        death = await dying.die(url, f"{uuid.uuid4().hex}/", 100 + number, "kill")
        pending, missing = pending + len(death.pending), missing + len(death.missing)
        uncertain += len(death.writing)
        if not death.pending <= death.missing <= death.pending | death.writing:
            wrong.append(f"of {number}: missing {sorted(death.missing)}, pending {sorted(death.pending)}")
    orderly = await dying.die(url, f"{uuid.uuid4().hex}/", 10_000, "stop")
    if orderly.missing:
        wrong.append(f"an orderly stop lost {len(orderly.missing)} contexts")
    screen.print(
        f"{DEATHS} processes killed: {pending} puts were pending, {uncertain} on their way, {missing} are missing; "
        f"an orderly stop lost {len(orderly.missing)} of {len(orderly.put)}"
    )
    return wrong


async def prove(url: str) -> list[str]:
    """Everything; what was wrong, in sentences."""
    return [*await compete(url), *await fail_under_load(), *await kill(url)]


def main() -> int:
    """Exit status 0 if nothing was wrong."""
    with servers.valkey() as url:
        wrong = asyncio.run(prove(url))
    for finding in wrong:
        screen.print(finding, markup=False)
    screen.print(f"{len(wrong)} findings")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
