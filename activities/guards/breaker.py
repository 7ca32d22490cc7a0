"""Circuit breakers: stop calling what keeps failing, for all workers at once (Nygard, *Release It!*, 2007).

Closed: calls pass, and failures within the window are counted. Open: calls fail at once, until `reset` has passed.
Half-open: at most `probes` calls at a time pass; the first success closes, a failure opens again. With Redis the state
is shared by all workers and changed by one atomic script on the server's clock; without, it is this process's own.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError
from temporalio import activity

from anabranch.errors import AnabranchError, Unavailable
from anabranch.graph.model import CircuitBreaker

_KEPT_MS = 300_000
"""How long an open circuit is remembered after its reset time, and a probe at most."""

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

    async def tell(self, name: str, policy: CircuitBreaker, what: str, call: str) -> int:
        """`enter`, `success`, `failure` or `leave` (neither). Returns milliseconds to wait; 0 lets the call pass."""
        ...


@dataclass(slots=True)
class _Circuit:
    opened: int = 0
    failures: list[int] = field(default_factory=list)
    probes: dict[str, int] = field(default_factory=dict)


class InMemoryBreakers:
    """The twin of the script, for one process."""

    def __init__(self, clock: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000) -> None:
        self._clock = clock
        self._circuits: dict[str, _Circuit] = {}

    async def tell(self, name: str, policy: CircuitBreaker, what: str, call: str) -> int:
        """As the script does."""
        now, circuit = self._clock(), self._circuits.setdefault(name, _Circuit())
        reset = _milliseconds(policy.reset)
        if what == "enter":
            return _enter(circuit, now, call, reset, policy.probes)
        probing = circuit.probes.pop(call, None) is not None
        if what == "success" and probing:
            self._circuits[name] = _Circuit()
        if what != "failure":
            return 0
        if circuit.opened:
            circuit.opened = now if probing else circuit.opened
            return 0
        window = _milliseconds(policy.window)
        circuit.failures = [at for at in circuit.failures if at > now - window] + [now]
        if len(circuit.failures) >= policy.failures:
            circuit.opened, circuit.failures = now, []
        return 0


class RedisBreakers:
    """State shared by all workers that use one Redis."""

    def __init__(self, redis: Redis) -> None:
        self._script = redis.register_script(_SCRIPT)
        self._fallback = InMemoryBreakers()

    async def tell(self, name: str, policy: CircuitBreaker, what: str, call: str) -> int:
        """One atomic script. While Redis does not answer, this process keeps a state of its own."""
        keys = [f"anabranch:breaker:{{{name}}}:{part}" for part in ("opened", "failures", "probes")]
        times = [policy.failures, _milliseconds(policy.window), _milliseconds(policy.reset), policy.probes]
        try:
            wait: Any = await self._script(keys=keys, args=[what, call, *times, _lease(), _KEPT_MS])
        except RedisError:
            return await self._fallback.tell(name, policy, what, call)
        return int(wait)


class Breakers:
    """Guards calls by the circuit breakers that nodes declare."""

    def __init__(self, state: BreakerState) -> None:
        self._state = state

    @asynccontextmanager
    async def guard(self, name: str, policy: CircuitBreaker) -> AsyncIterator[None]:
        """Let a call pass, or raise Unavailable with the time after which it is worth another try.

        What counts as a failure of the service is `Unavailable` and anything unforeseen, not a refusal of our input.
        """
        call = uuid.uuid4().hex
        if wait := await self._state.tell(name, policy, "enter", call):
            raise Unavailable(
                f"the circuit breaker {name!r} is open after {policy.failures} failures",
                suggestion="it lets a probe through when its reset time has passed",
                retry_after=timedelta(milliseconds=wait),
            )
        verdict = "leave"
        try:
            yield
            verdict = "success"
        except Exception as error:
            refused = isinstance(error, AnabranchError) and not isinstance(error, Unavailable)
            verdict = "success" if refused else "failure"
            raise
        finally:
            await self._state.tell(name, policy, verdict, call)


def _enter(circuit: _Circuit, now: int, call: str, reset: int, probes: int) -> int:
    if not circuit.opened:
        return 0
    if now < circuit.opened + reset:
        return circuit.opened + reset - now
    circuit.probes = {each: until for each, until in circuit.probes.items() if until > now}
    if len(circuit.probes) >= probes:
        return max(1, min(reset, 1000))
    circuit.probes[call] = now + _lease()
    return 0


def _lease() -> int:
    """For how many milliseconds a probe counts: its worker may die, and this attempt of its activity is over then."""
    timeout = activity.info().start_to_close_timeout if activity.in_activity() else None
    return _KEPT_MS if timeout is None else min(_KEPT_MS, _milliseconds(timeout))


def _milliseconds(duration: timedelta) -> int:
    return max(1, int(duration.total_seconds() * 1000))
