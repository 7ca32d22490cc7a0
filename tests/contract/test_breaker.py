"""The circuit breaker's state: the script in a real Valkey, and its in-memory twin, by the same facts."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.testing import ActivityEnvironment

from anabranch.activities.guards.breaker import (
    Breakers,
    BreakerState,
    CallEvent,
    InMemoryBreakers,
    RedisBreakers,
)
from anabranch.errors import ConfigurationError, NodeError, Unavailable
from anabranch.graph.policies import CircuitBreaker
from anabranch.redis_client import RedisClient

HOUR = timedelta(hours=1)
POLICY = CircuitBreaker(failures=3, window=HOUR, reset=HOUR, probes=1)
OVER = POLICY.model_copy(update={"reset": timedelta(milliseconds=1)})
"""The same circuit, for a caller to whom its reset time has passed."""


@pytest.fixture(params=["memory", "valkey", "cluster"])
async def state(request: pytest.FixtureRequest) -> AsyncIterator[BreakerState]:
    if request.param == "memory":
        yield InMemoryBreakers()
        return
    redis = RedisClient.from_url(request.getfixturevalue(f"{request.param}_url"))
    yield RedisBreakers(redis)
    await redis.aclose()


@pytest.fixture
def name() -> str:
    return uuid.uuid4().hex


async def call(
    breakers: Breakers, name: str, error: Exception | None = None, *, policy: CircuitBreaker = POLICY
) -> None:
    async with breakers.guard(name, policy):
        if error is not None:
            raise error


async def fail(breakers: Breakers, name: str, times: int, *, policy: CircuitBreaker = POLICY) -> None:
    for _ in range(times):
        with pytest.raises(Unavailable, match="down"):
            await call(breakers, name, Unavailable("down"), policy=policy)


async def open_and_let_it_pass(breakers: Breakers, name: str) -> None:
    """A circuit that is open, and for which OVER's reset time has passed."""
    await fail(breakers, name, 3)
    await asyncio.sleep(0.01)


async def test_it_opens_after_the_declared_failures_and_says_when_to_come_back(state: BreakerState, name: str) -> None:
    breakers = Breakers(state)
    await fail(breakers, name, 3)
    with pytest.raises(Unavailable, match="is open") as caught:
        await call(breakers, name)
    assert caught.value.retry_after is not None
    assert timedelta(0) < caught.value.retry_after <= POLICY.reset


async def test_a_refusal_of_our_input_is_no_failure_of_the_service(state: BreakerState, name: str) -> None:
    breakers = Breakers(state)
    for _ in range(5):
        with pytest.raises(NodeError):
            await call(breakers, name, NodeError("bad query"))
    await call(breakers, name)


async def test_a_success_of_the_probe_closes_it(state: BreakerState, name: str) -> None:
    breakers = Breakers(state)
    await open_and_let_it_pass(breakers, name)
    await call(breakers, name, policy=OVER)
    await fail(breakers, name, 2)
    await call(breakers, name)


async def test_a_failure_of_the_probe_opens_it_again(state: BreakerState, name: str) -> None:
    breakers = Breakers(state)
    await open_and_let_it_pass(breakers, name)
    await fail(breakers, name, 1, policy=OVER)
    with pytest.raises(Unavailable, match="is open"):
        await call(breakers, name)


async def test_a_worker_that_lacks_a_key_does_not_close_it(state: BreakerState, name: str) -> None:
    breakers = Breakers(state)
    await open_and_let_it_pass(breakers, name)
    with pytest.raises(ConfigurationError):
        await call(breakers, name, ConfigurationError("the key is not set"), policy=OVER)
    await fail(breakers, name, 1, policy=OVER)
    with pytest.raises(Unavailable, match="is open"):
        await call(breakers, name)


async def test_half_open_lets_only_the_bounded_number_of_probes_through(state: BreakerState, name: str) -> None:
    breakers, inside, release = Breakers(state), asyncio.Event(), asyncio.Event()
    await open_and_let_it_pass(breakers, name)

    async def probe() -> None:
        async with breakers.guard(name, OVER):
            inside.set()
            await release.wait()

    first = asyncio.create_task(probe())
    await inside.wait()
    for _ in range(3):
        with pytest.raises(Unavailable, match="is open"):
            await call(breakers, name, policy=OVER)
    release.set()
    await first
    await call(breakers, name)


async def test_a_probe_whose_answer_was_lost_may_ask_again(state: BreakerState, name: str) -> None:
    await open_and_let_it_pass(Breakers(state), name)
    answers = [await state.record(name, OVER, "enter", call) for call in ("probe", "probe", "another")]
    assert [answer > 0 for answer in answers] == [False, False, True]


async def test_a_cancelled_probe_gives_its_place_back(state: BreakerState, name: str) -> None:
    breakers, inside = Breakers(state), asyncio.Event()
    await open_and_let_it_pass(breakers, name)

    async def probe() -> None:
        async with breakers.guard(name, OVER):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(probe())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await call(breakers, name, policy=OVER)


async def test_a_probe_whose_worker_died_counts_as_long_as_its_attempt_may_take(state: BreakerState, name: str) -> None:
    await open_and_let_it_pass(Breakers(state), name)
    for worker, seconds in (("a worker that is killed", 0.001), ("one that is killed later", 3600.0)):
        assert await state.record(name, OVER, "enter", worker, seconds) == 0
        await asyncio.sleep(0.01)
    with pytest.raises(Unavailable, match="is open"):
        await call(Breakers(state), name, policy=OVER)


async def test_calls_that_are_not_over_in_their_time_open_it(state: BreakerState, name: str) -> None:
    """Their workers were killed, or wait for a service that does not answer."""
    for number in range(3):
        assert await state.record(name, POLICY, "enter", f"call {number}", 0.001) == 0
    await asyncio.sleep(0.01)
    assert await state.record(name, POLICY, "enter", "the next") > 0


async def test_a_call_that_says_late_that_it_failed_has_failed_once(state: BreakerState, name: str) -> None:
    for number in range(2):
        assert await state.record(name, POLICY, "enter", f"call {number}", 0.001) == 0
    await asyncio.sleep(0.01)
    assert await state.record(name, POLICY, "enter", "another", 3600) == 0
    for number in range(2):
        await state.record(name, POLICY, "failure", f"call {number}")
    assert await state.record(name, POLICY, "enter", "yet another", 3600) == 0
    await state.record(name, POLICY, "failure", "another")
    assert await state.record(name, POLICY, "enter", "the next") > 0


@pytest.mark.parametrize("end", ["success", "leave"])
async def test_a_call_that_ended_in_time_is_not_late_afterwards(state: BreakerState, name: str, end: CallEvent) -> None:
    for number in range(3):
        assert await state.record(name, POLICY, "enter", f"call {number}", 0.05) == 0
        await state.record(name, POLICY, end, f"call {number}")
    await asyncio.sleep(0.1)
    assert await state.record(name, POLICY, "enter", "the next") == 0


CANCELLED = (
    (ActivityCancellationDetails(timed_out=True), HOUR, "failure"),
    (ActivityCancellationDetails(not_found=True), timedelta(0), "failure"),
    (ActivityCancellationDetails(not_found=True), HOUR, "leave"),
    (ActivityCancellationDetails(cancel_requested=True), timedelta(0), "leave"),
    (ActivityCancellationDetails(worker_shutdown=True), timedelta(0), "leave"),
    (ActivityCancellationDetails(paused=True), timedelta(0), "leave"),
)


@pytest.mark.parametrize(("details", "time", "verdict"), CANCELLED)
async def test_a_call_whose_time_is_over_has_failed_and_one_that_is_cancelled_has_not(
    details: ActivityCancellationDetails, time: timedelta, verdict: str
) -> None:
    recorded: list[str] = []

    class Recording(InMemoryBreakers):
        async def record(
            self, name: str, policy: CircuitBreaker, event: CallEvent, call: str, seconds: float = math.inf
        ) -> int:
            recorded.append(event)
            return 0

    environment, inside = ActivityEnvironment(), asyncio.Event()

    async def wait() -> None:
        async with Breakers(Recording()).guard("b", POLICY, time.total_seconds()):
            inside.set()
            await asyncio.Event().wait()

    running = asyncio.ensure_future(environment.run(wait))
    await inside.wait()
    environment.cancel(cancellation_details=details)
    with pytest.raises(asyncio.CancelledError):
        await running
    assert recorded == ["enter", verdict]


async def test_failures_outside_of_the_window_are_forgotten(state: BreakerState, name: str) -> None:
    breakers = Breakers(state)
    short = POLICY.model_copy(update={"window": timedelta(milliseconds=100)})
    for _ in range(4):
        with pytest.raises(Unavailable, match="down"):
            async with breakers.guard(name, short):
                raise Unavailable("down")
        await asyncio.sleep(0.06)
    await call(breakers, name)


async def test_breakers_of_two_workers_share_their_state(valkey_url: str, name: str) -> None:
    one, two = RedisClient.from_url(valkey_url), RedisClient.from_url(valkey_url)
    await fail(Breakers(RedisBreakers(one)), name, 3)
    with pytest.raises(Unavailable, match="is open"):
        await call(Breakers(RedisBreakers(two)), name)
    await one.aclose()
    await two.aclose()


async def test_without_its_redis_a_breaker_still_works_for_its_process(name: str) -> None:
    redis = RedisClient.from_url("redis://127.0.0.1:1", retries=0)
    breakers = Breakers(RedisBreakers(redis))
    await fail(breakers, name, 3)
    with pytest.raises(Unavailable, match="is open"):
        await call(breakers, name)
    await redis.aclose()
