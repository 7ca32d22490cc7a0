"""Results of nodes that are reused: in a real Valkey and in memory, by the same facts."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta

import pytest

from anabranch.activities.guards.node_cache import (
    InMemoryResults,
    Lease,
    NodeResults,
    RedisResults,
    ResultCache,
    result_key,
)
from anabranch.context.changes import ChangeSet
from anabranch.errors import Unavailable
from anabranch.redis_client import RedisClient
from tests.encryption_keys import cipher
from tests.json_values import packed

TTL = timedelta(hours=1)
BRIEF = 0.3
"""Seconds of a lease that nobody renews."""


@pytest.fixture(params=["memory", "valkey", "cluster"])
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[ResultCache]:
    if request.param == "memory":
        yield InMemoryResults()
        return
    redis = RedisClient.from_url(request.getfixturevalue(f"{request.param}_url"))
    yield RedisResults(redis)
    await redis.aclose()


class Work:
    """Counts how often it is done."""

    def __init__(self, seconds: float = 0) -> None:
        self.times = 0
        self.seconds = seconds

    async def __call__(self) -> ChangeSet:
        self.times += 1
        await asyncio.sleep(self.seconds)
        return ChangeSet(base_version=1, set={("rate",): self.times}, by="fetch")


async def test_the_second_call_gets_the_first_one_s_changes(cache: ResultCache) -> None:
    results, work, key = NodeResults(cache), Work(), uuid.uuid4().hex
    assert await results.through(key, TTL, work) == (ChangeSet(1, {("rate",): 1}, (), "fetch"), False)
    assert await results.through(key, TTL, work) == (ChangeSet(1, {("rate",): 1}, (), "fetch"), True)
    assert work.times == 1


async def test_another_key_is_another_result(cache: ResultCache) -> None:
    results, work = NodeResults(cache), Work()
    await results.through(uuid.uuid4().hex, TTL, work)
    await results.through(uuid.uuid4().hex, TTL, work)
    assert work.times == 2


async def test_an_expired_result_is_computed_anew(cache: ResultCache) -> None:
    results, work, key = NodeResults(cache), Work(), uuid.uuid4().hex
    await results.through(key, timedelta(milliseconds=50), work)
    await asyncio.sleep(0.1)
    assert (await results.through(key, TTL, work))[1] is False
    assert work.times == 2


async def test_many_callers_at_once_compute_one_result(cache: ResultCache) -> None:
    work, key = Work(0.1), uuid.uuid4().hex
    answers = await asyncio.gather(*(NodeResults(cache).through(key, TTL, work) for _ in range(20)))
    assert work.times == 1
    assert sorted(reused for _, reused in answers) == [False] + [True] * 19


async def test_a_caller_that_looked_too_early_gets_the_result_that_came_before_its_lease() -> None:
    """Its look finds nothing; then the first caller keeps its result and lets go; then its lease is granted."""
    work, key = Work(), uuid.uuid4().hex

    class Late(InMemoryResults):
        async def lease(self, key: str, seconds: float) -> Lease | None:
            if work.times == 0:
                work.times = 1
                await self.put(key, kept, TTL)
            return await super().lease(key, seconds)

    kept = packed(ChangeSet(1, {("rate",): 1}, (), "fetch").to_wire())
    late = Late()
    assert await NodeResults(late).through(key, TTL, work) == (ChangeSet(1, {("rate",): 1}, (), "fetch"), True)
    assert work.times == 1
    assert await late.lease(key, 30), "nobody holds the lease now"


async def test_a_failure_is_not_kept_and_the_next_caller_computes(cache: ResultCache) -> None:
    results, work, key = NodeResults(cache), Work(), uuid.uuid4().hex

    async def fails() -> ChangeSet:
        raise Unavailable("down")

    with pytest.raises(Unavailable):
        await results.through(key, TTL, fails)
    assert (await results.through(key, TTL, work))[1] is False


async def test_garbage_in_the_cache_is_no_answer(cache: ResultCache) -> None:
    results, work, key = NodeResults(cache), Work(), uuid.uuid4().hex
    await cache.put(key, b"\xc1garbage", TTL)
    assert (await results.through(key, TTL, work))[1] is False
    assert (await results.through(key, TTL, work))[1] is True


async def test_a_cache_that_is_down_costs_only_the_reuse() -> None:
    redis = RedisClient.from_url("redis://127.0.0.1:1", retries=0)
    results, work = NodeResults(RedisResults(redis)), Work()
    assert (await results.through("k", TTL, work))[1] is False
    assert work.times == 1
    await redis.aclose()


async def test_a_result_that_takes_longer_than_a_lease_is_computed_once(cache: ResultCache) -> None:
    work, key = Work(3.0), uuid.uuid4().hex
    answers = await asyncio.gather(*(NodeResults(cache).through(key, TTL, work, patience=8.0) for _ in range(10)))
    assert work.times == 1
    assert sorted(reused for _, reused in answers) == [False] + [True] * 9


async def test_one_of_those_who_wait_takes_over_from_a_worker_that_died(cache: ResultCache) -> None:
    work, key = Work(), uuid.uuid4().hex
    assert await cache.lease(key, BRIEF), "it is never renewed: its worker was killed"
    answers = await asyncio.gather(*(NodeResults(cache).through(key, TTL, work) for _ in range(10)))
    assert work.times == 1
    assert sorted(reused for _, reused in answers) == [False] + [True] * 9


async def test_a_lease_is_far_shorter_than_the_time_that_others_wait() -> None:
    class Noting(InMemoryResults):
        async def lease(self, key: str, seconds: float) -> Lease | None:
            leases.append(seconds)
            return await super().lease(key, seconds)

    leases: list[float] = []
    for patience in (2.0, 30.0, 86_400.0, math.inf):
        await NodeResults(Noting()).through("k", TTL, Work(), patience=patience)
    assert leases == [0.5, 7.5, 30.0, 30.0]


async def test_who_has_waited_long_enough_computes_beside_the_other(cache: ResultCache) -> None:
    work, key = Work(), uuid.uuid4().hex
    assert await cache.lease(key, 3600)
    answers = await asyncio.gather(*(NodeResults(cache).through(key, TTL, work, patience=0.1) for _ in range(3)))
    assert work.times == 3
    assert [reused for _, reused in answers] == [False] * 3


async def test_results_of_one_process_are_bounded_by_their_size() -> None:
    results = InMemoryResults(max_bytes=1000)
    for number in range(20):
        await results.put(f"k{number}", bytes(100), TTL)
    await results.put("k19", bytes(200), TTL)
    kept = [number for number in range(20) if await results.get(f"k{number}") is not None]
    assert kept == list(range(11, 20))


async def test_who_has_lost_a_lease_neither_renews_nor_releases_it_for_another(cache: ResultCache) -> None:
    key = uuid.uuid4().hex
    lost = await cache.lease(key, BRIEF)
    assert lost is not None
    await asyncio.sleep(BRIEF + 0.1)
    assert await cache.lease(key, 30)
    for end in (lost.renew, lost.release):
        with suppress(Unavailable):
            await end()
        assert await cache.lease(key, 30) is None


async def test_with_a_cipher_neither_a_result_nor_what_its_name_is_made_of_can_be_read(valkey_url: str) -> None:
    ours, others = cipher(), cipher()
    redis = RedisClient.from_url(valkey_url)
    name = result_key("orders", "fetch", b"body", "order-42", ours)
    await RedisResults(redis, ours).put(name, b"\x93canary", TTL)
    async with redis as commands:
        kept = await commands.get(f"anabranch:node:{{{name}}}:result")
    assert isinstance(kept, bytes)
    assert b"canary" not in kept
    assert await RedisResults(redis, ours).get(name) == b"\x93canary"
    assert [await RedisResults(redis, each).get(name) for each in (others, None)] == [None, None]
    names = {
        name,
        result_key("orders", "fetch", b"body", "order-42", others),
        result_key("orders", "fetch", b"body", "order-42"),
    }
    assert len(names) == 3
    await redis.aclose()
