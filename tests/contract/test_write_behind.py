"""Write-behind at its end: what waits is reported at once, and nothing is left running."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from anabranch.context.cache.write_behind import WriteBehind
from anabranch.context.distributed import DistributedContext
from anabranch.context.stores.memory import InMemoryStore
from anabranch.context.stores.record import Record
from anabranch.errors import Unavailable

PATIENCE = 60.0


class Down(InMemoryStore):
    """Takes nothing."""

    async def save_many(self, contexts: Iterable[DistributedContext], ttl: float | None = None) -> None:
        raise Unavailable("down")


def records(name: str) -> dict[str, Record]:
    return {name: Record.of(DistributedContext(name))}


async def test_a_put_that_waits_for_room_is_told_that_the_cache_was_closed() -> None:
    given_up: list[str] = []
    behind = WriteBehind(Down(), max_pending=1, report=lambda context, _: given_up.append(context.session_id))
    await behind.put(records("first"), None)
    waiting = asyncio.create_task(behind.put(records("second"), None))
    await asyncio.sleep(0.05)
    with pytest.raises(Unavailable, match="1 contexts still wait"):
        await behind.aclose(0.1)
    with pytest.raises(Unavailable, match="this cache is closed"):
        await asyncio.wait_for(waiting, PATIENCE)
    assert (given_up, behind.pending) == (["first"], ())


async def test_a_put_after_the_end_starts_no_writer() -> None:
    behind = WriteBehind(InMemoryStore())
    await behind.aclose(1)
    running = asyncio.all_tasks()
    with pytest.raises(Unavailable, match="this cache is closed"):
        await behind.put(records("late"), None)
    assert asyncio.all_tasks() == running
