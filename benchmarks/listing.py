"""How long a page of 10,000 runs takes, as the console and `anabranch runs` list them: `python -m benchmarks.listing`.

The runs say in search attributes what they are. One in fifty is open; the others are closed by their timeout.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from anabranch.dev.devserver import FAST, DevServer
from anabranch.inspection.inspect import Inspector
from anabranch.inspection.listing import Listing
from anabranch.inspection.runs import Runs
from anabranch.inspection.selection import Selection
from anabranch.settings import Settings
from anabranch.transport.client import connect
from anabranch.transport.search_attributes import GRAPH, SEARCH_ATTRIBUTES, STATE, WAITING_FOR

_AT_ONCE = 50
_ROUNDS = 21
_OPEN = 50
SIZE = 50


async def start(client: Client, count: int) -> None:
    """Start the runs, which no worker takes, and wait until visibility has them as they are."""
    free = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int) -> None:
        is_open = number % _OPEN == 0
        said: list[SearchAttributePair[Any]] = [SearchAttributePair(GRAPH, f"graph{number % 20}")]
        said += [SearchAttributePair(STATE, "waiting" if is_open else "running")]
        said += [SearchAttributePair(WAITING_FOR, ["approval", "approval:ask"] if is_open else [])]
        async with free:
            await client.start_workflow(
                f"graph{number % 20}",
                id=f"order-{number}",
                task_queue="nobody",
                run_timeout=None if is_open else timedelta(seconds=1),
                search_attributes=TypedSearchAttributes(said),
            )

    await asyncio.gather(*map(one, range(count)))
    closed = count - len(range(0, count, _OPEN))
    while (await client.count_workflows("ExecutionStatus = 'TimedOut'")).count < closed:  # noqa: ASYNC110 - a server's
        await asyncio.sleep(1)


async def timed(what: str, act: Callable[[], Awaitable[object]]) -> None:
    """Print the median and the longest time of an act."""
    await act()
    rounds = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        await act()
        rounds.append((time.perf_counter() - began) * 1000)
    sys.stdout.write(f"{what:<44}{statistics.median(rounds):>8.1f} ms{max(rounds):>9.1f} ms\n")
    sys.stdout.flush()


async def measure(count: int) -> None:
    """Print the figures."""
    async with await DevServer.start(dynamic_config=FAST, search_attributes=SEARCH_ATTRIBUTES) as server:
        client = await connect(Settings(), target_host=server.address)
        began = time.perf_counter()
        await start(client, count)
        sys.stdout.write(f"{count:,} runs, made in {time.perf_counter() - began:.0f} s{'median':>24}{'longest':>12}\n")
        inspector = Inspector(client.data_converter)
        listing = Listing(client, Runs(client, inspector))
        everything = Selection()
        await timed(f"first page of {SIZE}", lambda: listing.page(everything, size=SIZE))
        after = None
        for _ in range(count // SIZE // 2):
            after = (await listing.page(everything, size=SIZE, after=after)).next
        middle = after
        await timed("page in the middle", lambda: listing.page(everything, size=SIZE, after=middle))
        await timed("of one graph", lambda: listing.page(Selection("graph7"), size=SIZE))
        await timed("those that wait", lambda: listing.page(Selection(states=("waiting",)), size=SIZE))
        await timed("an id's beginning", lambda: listing.page(Selection(id_starts="order-77"), size=SIZE))
        await timed("counts of all states", lambda: listing.counts(everything))
        inspector.close()


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    asyncio.run(measure(parser.parse_args().runs))


if __name__ == "__main__":
    main()
