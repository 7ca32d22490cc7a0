"""Circuit breakers around nodes: stop calling what keeps failing, for all workers at once.

`anabranch/circuit.py` defines the states. With Redis all workers share the state, which one atomic script changes by
the server's clock; without Redis each process has its own.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final, Literal, Protocol

from temporalio import activity

from anabranch.circuit import Circuit, CircuitPolicy, State
from anabranch.errors import AnabranchError, TimedOut, TurnNotYet, Unavailable
from anabranch.graph.policies import CircuitBreaker
from anabranch.observe import metrics
from anabranch.redis_client import RedisClient

_STATES: Final[tuple[State, ...]] = ("closed", "half_open", "open")
CallEvent = Literal["enter", "success", "failure", "leave"]
_KEPT_MS = 300_000
"""How long an open circuit is remembered after its reset time, and a probe at the longest."""

_SCRIPT = """
local now = redis.call('TIME'); now = now[1] * 1000 + math.floor(now[2] / 1000)
local op, call = ARGV[1], ARGV[2]
local failures, window, reset = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local probes, lease, kept = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local opened = tonumber(redis.call('GET', KEYS[1]) or '0')
local function count(at, failed)
  if redis.call('ZSCORE', KEYS[2], failed) then return end
  redis.call('ZADD', KEYS[2], at, failed); redis.call('PEXPIRE', KEYS[2], window)
end
local function open_if_due()
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - window)
  if redis.call('ZCARD', KEYS[2]) < failures then return end
  opened = now
  redis.call('SET', KEYS[1], now, 'PX', reset + kept); redis.call('DEL', KEYS[2])
end
if op == 'enter' then
  local late = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'WITHSCORES')
  if #late > 0 then redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now) end
  if #late > 0 and opened == 0 then
    for i = 1, #late, 2 do count(late[i + 1], late[i]) end
    open_if_due()
  end
  if opened == 0 then
    if lease > 0 then
      redis.call('ZADD', KEYS[4], now + lease, call)
      if redis.call('PTTL', KEYS[4]) < lease + window then redis.call('PEXPIRE', KEYS[4], lease + window) end
    end
    return 0
  end
  if now < opened + reset then return opened + reset - now end
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
  if redis.call('ZSCORE', KEYS[3], call) then return 0 end -- sent again: the answer was lost
  if redis.call('ZCARD', KEYS[3]) >= probes then return math.max(1, math.min(reset, 1000)) end
  if lease == 0 or lease > kept then lease = kept end
  redis.call('ZADD', KEYS[3], now + lease, call); redis.call('PEXPIRE', KEYS[3], kept)
  return 0
end
redis.call('ZREM', KEYS[4], call)
local probing = redis.call('ZREM', KEYS[3], call)
if op == 'success' then
  if probing == 1 then redis.call('DEL', KEYS[1], KEYS[2], KEYS[3]) end
  return 0
end
if op == 'leave' then return 0 end
if opened > 0 then
  if probing == 1 then redis.call('SET', KEYS[1], now, 'PX', reset + kept) end
  return 0
end
count(now, call)
open_if_due()
return 0
"""


class BreakerState(Protocol):
    """Where the state of breakers is kept."""

    async def record(
        self, name: str, policy: CircuitBreaker, event: CallEvent, call: str, seconds: float = math.inf
    ) -> int:
        """Record an event of a call. Returns milliseconds to wait; 0 lets a call that enters pass.

        `seconds` is what a call that enters may take: after that it has failed, whether or not it says so.
        """
        ...


class InMemoryBreakers:
    """The twin of the script, for one process: `Circuit`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._circuits: dict[str, Circuit] = {}

    async def record(
        self, name: str, policy: CircuitBreaker, event: CallEvent, call: str, seconds: float = math.inf
    ) -> int:
        """As the script does."""
        circuit = self._circuits.get(name)
        if circuit is None:
            circuit = self._circuits[name] = Circuit(_policy(policy), self._clock)
        circuit.policy = _policy(policy)  # another graph may name the same circuit with another policy
        match event:
            case "enter":
                return math.ceil(circuit.enter(call, seconds) * 1000)
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

    async def record(
        self, name: str, policy: CircuitBreaker, event: CallEvent, call: str, seconds: float = math.inf
    ) -> int:
        """One atomic script. While Redis does not answer, this process keeps a state of its own."""
        keys = [f"anabranch:breaker:{{{name}}}:{part}" for part in ("opened", "failures", "probes", "calls")]
        times = [policy.failures, _milliseconds(policy.window), _milliseconds(policy.reset), policy.probes]
        try:
            async with self._redis:
                return int(await self._script(keys=keys, args=[event, call, *times, _lease(seconds), _KEPT_MS]))
        except AnabranchError:
            return await self._fallback.record(name, policy, event, call, seconds)


class Breakers:
    """Guards calls by the circuit breakers that nodes declare."""

    def __init__(self, state: BreakerState) -> None:
        self._state = state
        self._met: dict[str, State] = {}
        """As the last calls of this worker met the circuits, where it was not closed."""

    @asynccontextmanager
    async def guard(
        self, name: str, policy: CircuitBreaker, seconds: float = math.inf, *, graph: str = ""
    ) -> AsyncGenerator[None]:
        """Let a call pass, or raise Unavailable with the time after which it is worth another try.

        What counts as a failure of the service is `Unavailable`, anything unforeseen, and a call that is not over after
        `seconds`; not a refusal of our input, nor a call that is cancelled, or for which the worker lacks something.
        """
        call = uuid.uuid4().hex
        if wait := await self._state.record(name, policy, "enter", call, seconds):
            self._meets(graph, name, "open")
            metrics.count(metrics.BREAKER_REFUSALS, graph, name)
            raise _refused(name, policy, wait)
        self._meets(graph, name, "half_open" if name in self._met else "closed")
        until = time.monotonic() + seconds
        verdict: CallEvent = "leave"
        try:
            yield
            verdict = "success"
        except asyncio.CancelledError:
            verdict = "failure" if _timed_out(until) else "leave"
            raise
        except Exception as error:
            verdict = _verdict(error)
            raise
        finally:
            await self._state.record(name, policy, verdict, call)
            if verdict == "success":
                self._meets(graph, name, "closed")
            elif verdict == "failure" and name in self._met:  # the probe has opened it again
                self._meets(graph, name, "open")

    def _meets(self, graph: str, name: str, state: State) -> None:
        if state == "closed":
            self._met.pop(name, None)
        else:
            self._met[name] = state
        metrics.note(metrics.BREAKER_STATE, _STATES.index(state), graph, name)


def _refused(name: str, policy: CircuitBreaker, wait: int) -> Unavailable:
    refused = Unavailable(
        f"the circuit breaker {name!r} is open after {policy.failures} failures",
        suggestion="it lets a probe through when its reset time has passed",
        retry_after=timedelta(milliseconds=wait),
    )
    refused.happened = False
    return refused


def _timed_out(until: float) -> bool:
    """Whether a call was cancelled because its attempt took too long, and not by request or with its worker."""
    details = activity.cancellation_details() if activity.in_activity() else None
    if details is None:
        return False
    # The server no longer knows an attempt whose time is over, nor one whose run was terminated.
    return details.timed_out or (details.not_found and time.monotonic() >= until)


def _verdict(error: Exception) -> CallEvent:
    """What a call that failed says of the service."""
    if not isinstance(error, AnabranchError) or isinstance(error, Unavailable | TimedOut):
        return "failure"
    if isinstance(error, TurnNotYet):  # it has not been called
        return "leave"
    return "leave" if error.elsewhere else "success"  # a worker that lacks a key has not called it


def _policy(breaker: CircuitBreaker) -> CircuitPolicy:
    return CircuitPolicy(
        failures=breaker.failures,
        window=breaker.window.total_seconds(),
        reset=breaker.reset.total_seconds(),
        probes=breaker.probes,
    )


def _lease(seconds: float) -> int:
    """Milliseconds that a call may take; 0 where nobody knows."""
    return 0 if seconds == math.inf else max(1, int(seconds * 1000))


def _milliseconds(duration: timedelta) -> int:
    return max(1, int(duration.total_seconds() * 1000))
