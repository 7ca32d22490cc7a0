"""Circuit breakers around nodes: stop calling what keeps failing, for all workers at once.

`anabranch/circuit.py` defines the states. With Redis all workers share the state, which one atomic script changes by
the server's clock; without Redis each process has its own.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Literal, Protocol

from temporalio import activity

from anabranch.circuit import Circuit, CircuitPolicy
from anabranch.errors import AnabranchError, Unavailable
from anabranch.graph.model import CircuitBreaker
from anabranch.redis_client import RedisClient

CallEvent = Literal["enter", "success", "failure", "leave"]
_KEPT_MS = 300_000
"""How long an open circuit is remembered after its reset time, and a probe at the longest."""

_SCRIPT = """
local now = redis.call('TIME'); now = now[1] * 1000 + math.floor(now[2] / 1000)
local op, call = ARGV[1], ARGV[2]
local failures, window, reset = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local probes, lease, kept = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local opened = tonumber(redis.call('GET', KEYS[1]) or '0')
if op == 'enter' then
  if opened == 0 then return 0 end
  if now < opened + reset then return opened + reset - now end
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
  if redis.call('ZSCORE', KEYS[3], call) then return 0 end -- sent again: the answer was lost
  if redis.call('ZCARD', KEYS[3]) >= probes then return math.max(1, math.min(reset, 1000)) end
  redis.call('ZADD', KEYS[3], now + lease, call); redis.call('PEXPIRE', KEYS[3], kept)
  return 0
end
local probing = redis.call('ZREM', KEYS[3], call)
if op == 'success' then
  if probing == 1 then redis.call('DEL', KEYS[1], KEYS[2], KEYS[3]) end
  return 0
end
if op == 'leave' then return 0 end
if opened > 0 and probing == 0 then return 0 end
if opened > 0 then
  redis.call('SET', KEYS[1], now, 'PX', reset + kept); return 0
end
redis.call('ZADD', KEYS[2], now, call); redis.call('PEXPIRE', KEYS[2], window)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - window)
if redis.call('ZCARD', KEYS[2]) >= failures then
  redis.call('SET', KEYS[1], now, 'PX', reset + kept); redis.call('DEL', KEYS[2])
end
return 0
"""


class BreakerState(Protocol):
    """Where the state of breakers is kept."""

    async def record(self, name: str, policy: CircuitBreaker, event: CallEvent, call: str) -> int:
        """Record an event of a call. Returns milliseconds to wait; 0 lets a call that enters pass."""
        ...


class InMemoryBreakers:
    """The twin of the script, for one process: `Circuit`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._circuits: dict[str, Circuit] = {}

    async def record(self, name: str, policy: CircuitBreaker, event: CallEvent, call: str) -> int:
        """As the script does."""
        circuit = self._circuits.get(name)
        if circuit is None:
            circuit = self._circuits[name] = Circuit(_policy(policy), self._clock)
        circuit.policy = _policy(policy)  # another graph may name the same circuit with another policy
        match event:
            case "enter":
                return math.ceil(circuit.enter(call, _lease_ms() / 1000) * 1000)
            case "success":
                circuit.succeeded(call)
            case "failure":
                circuit.failed(call)
            case "leave":
                circuit.left(call)
        return 0


class RedisBreakers:
    """State shared by all workers that use one Redis."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._script = redis.commands.register_script(_SCRIPT)
        self._fallback = InMemoryBreakers()

    async def record(self, name: str, policy: CircuitBreaker, event: CallEvent, call: str) -> int:
        """One atomic script. While Redis does not answer, this process keeps a state of its own."""
        keys = [f"anabranch:breaker:{{{name}}}:{part}" for part in ("opened", "failures", "probes")]
        times = [policy.failures, _milliseconds(policy.window), _milliseconds(policy.reset), policy.probes]
        try:
            async with self._redis:
                return int(await self._script(keys=keys, args=[event, call, *times, _lease_ms(), _KEPT_MS]))
        except AnabranchError:
            return await self._fallback.record(name, policy, event, call)


class Breakers:
    """Guards calls by the circuit breakers that nodes declare."""

    def __init__(self, state: BreakerState) -> None:
        self._state = state

    @asynccontextmanager
    async def guard(self, name: str, policy: CircuitBreaker) -> AsyncGenerator[None]:
        """Let a call pass, or raise Unavailable with the time after which it is worth another try.

        What counts as a failure of the service is `Unavailable` and anything unforeseen, not a refusal of our input.
        """
        call = uuid.uuid4().hex
        if wait := await self._state.record(name, policy, "enter", call):
            raise Unavailable(
                f"the circuit breaker {name!r} is open after {policy.failures} failures",
                suggestion="it lets a probe through when its reset time has passed",
                retry_after=timedelta(milliseconds=wait),
            )
        verdict: CallEvent = "leave"
        try:
            yield
            verdict = "success"
        except Exception as error:
            refused = isinstance(error, AnabranchError) and not isinstance(error, Unavailable)
            verdict = "success" if refused else "failure"
            raise
        finally:
            await self._state.record(name, policy, verdict, call)


def _policy(breaker: CircuitBreaker) -> CircuitPolicy:
    return CircuitPolicy(
        failures=breaker.failures,
        window=breaker.window.total_seconds(),
        reset=breaker.reset.total_seconds(),
        probes=breaker.probes,
    )


def _lease_ms() -> int:
    """For how many milliseconds a probe counts: its worker may die, and this attempt of its activity is over then."""
    timeout = activity.info().start_to_close_timeout if activity.in_activity() else None
    return _KEPT_MS if timeout is None else min(_KEPT_MS, _milliseconds(timeout))


def _milliseconds(duration: timedelta) -> int:
    return max(1, int(duration.total_seconds() * 1000))
