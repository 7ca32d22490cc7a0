import asyncio

import pytest

from anabranch.context.distributed import DistributedContext
from anabranch.context.shared import SharedContext
from anabranch.context.values import Json
from anabranch.errors import SizeLimitExceeded
from tests.json_values import items


async def test_what_one_task_sets_another_gets() -> None:
    shared = SharedContext("session-123", at=1000)
    await asyncio.create_task(shared.set("counter", 1, at=1100))
    assert await shared.get("counter") == 1
    assert await shared.get("nothing", "default") == "default"
    assert await shared.version() == 2
    assert shared.session_id == "session-123"


async def test_a_remove_tells_whether_there_was_something() -> None:
    shared = SharedContext("session-123", {"counter": 1})
    assert await shared.remove("counter") is True
    assert await shared.remove("counter") is False
    assert await shared.version() == 2


async def test_a_hundred_concurrent_updates_lose_none() -> None:
    shared = SharedContext("session-123", {"counter": 0})

    async def increment(context: DistributedContext) -> None:
        counter = context["counter"]
        assert isinstance(counter, int)
        await asyncio.sleep(0)
        context.set("counter", counter + 1)

    await asyncio.gather(*(shared.update(increment) for _ in range(100)))
    assert await shared.get("counter") == 100
    assert await shared.version() == 101


async def test_an_update_gives_the_new_context() -> None:
    shared = SharedContext("session-123")
    updated = await shared.update(lambda context: context.merge({"a": 1, "b": 2}))
    assert updated.data == {"a": 1, "b": 2}
    assert updated.metadata.version == 2


async def test_an_update_that_raises_changes_nothing_and_frees_the_others() -> None:
    shared = SharedContext("session-123", {"items": [1]})

    def half(context: DistributedContext) -> None:
        items(context["items"]).append(2)
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        await shared.update(half)
    assert await shared.get("items") == [1]
    assert await shared.version() == 1


async def test_a_cancelled_update_changes_nothing() -> None:
    shared = SharedContext("session-123", {"counter": 0})

    async def endless(context: DistributedContext) -> None:
        context.set("counter", 1)
        await asyncio.Event().wait()

    task = asyncio.create_task(shared.update(endless))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await shared.get("counter") == 0


async def test_what_was_given_or_read_is_a_copy() -> None:
    given: dict[str, Json] = {"items": [1]}
    shared = SharedContext("session-123", given)
    items(given["items"]).append(2)
    read = await shared.get("items")
    assert read == [1]
    items(read).append(3)
    written: list[Json] = [4]
    await shared.set("written", written)
    written.append(5)
    updated = await shared.update(lambda context: context.set("done", True))
    updated.data.clear()
    assert (await shared.snapshot()).data == {"items": [1], "written": [4], "done": True}


async def test_it_serializes_as_a_distributed_context() -> None:
    shared = SharedContext("session-123", {"k": "v"}, at=1000)
    decoded = DistributedContext.deserialize(await shared.serialize())
    assert decoded == DistributedContext("session-123", {"k": "v"}, at=1000)
    with pytest.raises(SizeLimitExceeded):
        await shared.serialize(max_bytes=10)
