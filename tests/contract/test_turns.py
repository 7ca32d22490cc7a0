"""Limits of rate and concurrency, by their scripts in a real Valkey: never exceeded, never stuck, in order."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from anabranch.activities.guards.turns import Turns
from anabranch.errors import ConfigurationError, TurnNotYet, Unavailable
from anabranch.observe import metrics
from anabranch.redis_client import RedisClient
from anabranch.transport.turn import Limit, Turn
from tests.metrics_kit import hearing

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Valkey")

LEASE = 1.0


@pytest.fixture(params=["valkey", "cluster"])
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[RedisClient]:
    client = RedisClient.from_url(request.getfixturevalue(f"{request.param}_url"))
    yield client
    await client.aclose()


@pytest.fixture
def turns(redis: RedisClient) -> Turns:
    return Turns(redis, lease=LEASE)


def rate(limit: int, per: float, name: str = "") -> Limit:
    name = name or uuid.uuid4().hex
    return Limit("rate", name, f"rate/{name}", limit, int(per * 1000))


def slots(limit: int, name: str = "") -> Limit:
    name = name or uuid.uuid4().hex
    return Limit("concurrency", name, f"slots/{name}", limit)


def turn(*limits: Limit, holder: str = "") -> Turn:
    return Turn(holder or uuid.uuid4().hex, limits)


async def begins(turns: Turns, wanted: Turn) -> bool:
    try:
        async with turns.held(wanted):
            return True
    except TurnNotYet:
        return False


async def refused(turns: Turns, wanted: Turn) -> TurnNotYet:
    with pytest.raises(TurnNotYet) as caught:
        async with turns.held(wanted):
            pass
    return caught.value


async def parts(redis: RedisClient, limit: Limit, part: str) -> int:
    async with redis as commands:
        return int(await commands.zcard(f"anabranch:limit:{{{limit.id}}}:{part}"))


async def test_a_rate_lets_as_many_begin_as_it_says_and_tells_the_others_when(turns: Turns) -> None:
    limit = rate(3, 3600)
    assert [await begins(turns, turn(limit)) for _ in range(5)] == [True, True, True, False, False]
    wait = await turns.ask(turn(limit))
    assert wait is not None
    assert 3_590_000 < wait.left <= 3_600_000
    assert 359_000 < wait.pause <= 360_000
    assert wait.before == 2


async def test_each_that_waits_for_a_rate_has_a_time_of_its_own(turns: Turns) -> None:
    limit = rate(2, 60)
    for _ in range(2):
        assert await begins(turns, turn(limit))
    waits = [await turns.ask(turn(limit)) for _ in range(6)]
    minutes = [round(each.left / 60_000, 1) for each in waits if each is not None]
    assert minutes == [1, 1, 2, 2, 3, 3]


async def test_what_begins_twice_because_the_answer_was_lost_counts_once(turns: Turns) -> None:
    limit = rate(2, 3600)
    first = turn(limit, holder=uuid.uuid4().hex)
    assert [await begins(turns, first) for _ in range(3)] == [True, True, True]
    assert await begins(turns, turn(limit))
    assert not await begins(turns, turn(limit))


async def test_a_new_one_does_not_overtake_those_that_wait(turns: Turns) -> None:
    limit = rate(1, 0.5)
    assert await begins(turns, turn(limit))
    first, second = turn(limit), turn(limit)
    assert [(await turns.ask(each)) is None for each in (first, second)] == [False, False]
    await asyncio.sleep(0.55)
    assert not await begins(turns, turn(limit))
    assert not await begins(turns, second)
    assert await begins(turns, first)


async def test_who_does_not_come_back_holds_up_nobody_for_long(turns: Turns) -> None:
    limit = rate(1, 0.2)
    assert await begins(turns, turn(limit))
    for _ in range(5):
        await refused(turns, turn(limit))  # gone: nobody tells Redis
    last = turn(limit)
    wait = await turns.ask(last)
    for _ in range(40):
        if wait is None:
            break
        await asyncio.sleep(wait.pause / 1000)
        wait = await turns.ask(last)
    assert wait is None
    assert await begins(turns, last)


async def test_a_slot_is_free_again_when_its_work_is_over(turns: Turns) -> None:
    limit = slots(2)
    async with turns.held(turn(limit)), turns.held(turn(limit)):
        assert not await begins(turns, turn(limit))
    assert await begins(turns, turn(limit))


async def test_a_slot_is_free_again_when_its_work_fails(turns: Turns) -> None:
    limit = slots(1)
    with pytest.raises(ValueError, match="broken"):
        async with turns.held(turn(limit)):
            raise ValueError("broken")
    assert await begins(turns, turn(limit))


async def test_a_slot_is_held_for_longer_than_its_lease_while_its_work_goes_on(turns: Turns) -> None:
    limit = slots(1)
    async with turns.held(turn(limit)):
        await asyncio.sleep(LEASE * 2)
        assert not await begins(turns, turn(limit))


async def test_the_lease_of_a_worker_that_is_gone_expires(redis: RedisClient, turns: Turns) -> None:
    limit = slots(1)
    dead = Turns(redis, lease=LEASE)
    assert await dead._begin(turn(limit)) is None
    other = turn(limit)
    await refused(turns, other)
    await asyncio.sleep(LEASE + 0.1)
    assert await begins(turns, other)


async def test_a_lease_that_was_lost_is_taken_again_and_counts(redis: RedisClient, turns: Turns) -> None:
    limit = slots(1)
    async with turns.held(turn(limit)):
        async with redis as commands:
            await commands.delete(f"anabranch:limit:{{{limit.id}}}:used")  # as where Redis has lost what it had
        await asyncio.sleep(LEASE / 2)
        assert not await begins(turns, turn(limit))


async def test_those_that_wait_for_a_slot_get_it_in_the_order_in_which_they_came(turns: Turns) -> None:
    limit = slots(1)
    first, second = turn(limit), turn(limit)
    async with turns.held(turn(limit)):
        for each in (first, second):
            await refused(turns, each)
            await asyncio.sleep(0.01)
    assert await turns.ask(first) is None
    assert not await begins(turns, second)
    assert not await begins(turns, turn(limit))
    assert await begins(turns, first)


async def test_a_place_that_was_offered_is_kept_until_its_run_begins(turns: Turns) -> None:
    limit = slots(1)
    waiting = turn(limit)
    async with turns.held(turn(limit)):
        await refused(turns, waiting)
    assert await turns.ask(waiting) is None
    await refused(turns, turn(limit))
    assert await begins(turns, waiting)


async def test_two_limits_are_kept_together(turns: Turns) -> None:
    few, often = slots(1), rate(2, 3600)
    second = turn(few, often)
    async with turns.held(turn(few, often)):
        assert not await begins(turns, second)  # it has not begun: it does not count for the rate
    assert await begins(turns, second)
    assert not await begins(turns, turn(few, often))
    async with turns.held(turn(few)):  # what waits for the rate holds no slot
        pass


async def test_limits_of_other_numbers_share_what_has_begun(turns: Turns) -> None:
    name = uuid.uuid4().hex
    wide, narrow = rate(4, 3600, name), rate(2, 60, name)
    assert [await begins(turns, turn(narrow)) for _ in range(3)] == [True, True, False]
    assert [await begins(turns, turn(wide)) for _ in range(3)] == [True, True, False]


async def test_nothing_is_left_in_redis_for_ever(redis: RedisClient, turns: Turns) -> None:
    few, often = slots(1), rate(1, 1)
    async with turns.held(turn(few, often)):
        await refused(turns, turn(few))
    await refused(turns, turn(often))
    async with redis as commands:
        for limit in (few, often):
            for part in ("used", "line", "due", "offers", "places", "memory"):
                assert await commands.pttl(f"anabranch:limit:{{{limit.id}}}:{part}") != -1


async def test_what_waits_and_which_leases_were_lost_is_counted(redis: RedisClient, turns: Turns) -> None:
    few, often = slots(1), rate(1, 3600)
    with hearing() as heard:
        async with turns.held(turn(few), graph="g", node="a"):
            with pytest.raises(TurnNotYet):
                async with turns.held(turn(few), graph="g", node="b"):
                    pass
            async with redis as commands:
                await commands.delete(f"anabranch:limit:{{{few.id}}}:used")
            for _ in range(200):
                if heard.values(metrics.LEASES_LOST):
                    break
                await asyncio.sleep(0.05)
        assert await begins(turns, turn(often))
        assert not await begins(turns, turn(often))
    assert heard.values(metrics.LEASES_LOST) == [(1, ("g", "a"))]
    assert heard.values(metrics.LIMIT_WAITS) == [(1, ("g", "b", "concurrency")), (1, ("", "", "rate"))]


async def test_a_worker_without_redis_begins_nothing() -> None:
    with pytest.raises(ConfigurationError, match="REDIS_URL"):
        async with Turns(None).held(turn(rate(1, 1))):
            pass


async def test_while_redis_does_not_answer_nothing_begins() -> None:
    redis = RedisClient.from_url("redis://127.0.0.1:1/0", retries=0, timeout=0.2)
    turns = Turns(redis)
    try:
        with pytest.raises(TurnNotYet, match="Redis has to say"):
            async with turns.held(turn(slots(1))):
                pass
        with pytest.raises(Unavailable):
            await turns.ask(turn(slots(1)))
    finally:
        await redis.aclose()


PLAYER = """
import asyncio, json, sys, time, uuid
from anabranch.activities.guards.turns import Turns
from anabranch.errors import TurnNotYet
from anabranch.redis_client import RedisClient
from anabranch.transport.turn import Limit, Turn

async def play(turns, redis, limit, counter, told):
    wanted = Turn(uuid.uuid4().hex, (Limit(*limit),))
    while True:
        try:
            async with turns.held(wanted):
                async with redis as commands:
                    clock = await commands.time()
                    at_once = await commands.incr(counter)
                    await asyncio.sleep(0.01)
                    await commands.decr(counter)
                told.append([clock[0] * 1000 + clock[1] / 1000, at_once])
                return
        except TurnNotYet as wait:
            await asyncio.sleep(wait.retry_after.total_seconds())

async def main():
    url, count = sys.argv[1], int(sys.argv[2])
    redis, told = RedisClient.from_url(url), {}
    turns, playing = Turns(redis, lease=5.0), []
    for limit in json.loads(sys.argv[3]):
        told[limit[0]] = []
        playing += [play(turns, redis, limit, f"counter:{limit[2]}", told[limit[0]]) for _ in range(count)]
    await asyncio.gather(*playing)
    await redis.aclose()
    print(json.dumps(told))

asyncio.run(main())
"""


async def test_three_processes_together_never_exceed_a_limit(valkey_url: str) -> None:
    few, often, client = slots(3), rate(5, 0.5), RedisClient.from_url(valkey_url)
    limits = [[each.kind, each.name, each.id, each.limit, each.per] for each in (few, often)]
    assert await begins(Turns(client), turn(rate(10_000, 3600, often.name)))  # Redis remembers it for an hour
    players = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", PLAYER, valkey_url, "8", json.dumps(limits), stdout=subprocess.PIPE
        )
        for _ in range(3)
    ]
    began: dict[str, list[tuple[float, int]]] = {"rate": [], "concurrency": []}
    for each in players:
        output, _ = await each.communicate()
        assert each.returncode == 0
        for kind, found in json.loads(output).items():
            began[kind].extend((at, at_once) for at, at_once in found)
    assert {kind: len(found) for kind, found in began.items()} == {"rate": 24, "concurrency": 24}
    assert max(at_once for _, at_once in began["concurrency"]) <= 3
    async with client as commands:
        told: list[Any] = list(await commands.zrange(f"anabranch:limit:{{{often.id}}}:used", 0, -1, withscores=True))
    await client.aclose()
    starts = [float(at) for _, at in told]
    assert len(starts) == 25
    assert all(later - earlier >= 500 for earlier, later in zip(starts, starts[5:], strict=False))
