"""Limits of rate and concurrency: a node begins when Redis says so, and a run that has to wait does so by itself.

Unlike a breaker they are nothing without Redis: what counts in one process alone would be no limit. So a node that has
one never begins without it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Final, Literal, NamedTuple

from anabranch.activities.guards.turn_script import CONCURRENCY, RATE
from anabranch.errors import AnabranchError, ConfigurationError, TurnNotYet, Unavailable
from anabranch.limits import LEASE_SECONDS
from anabranch.observe import metrics
from anabranch.redis_client import RedisClient
from anabranch.transport.node_protocol import iso_time
from anabranch.transport.turn import Limit, Turn

log = logging.getLogger("anabranch.worker")

_PARTS: Final = ("used", "line", "due", "offers", "places", "memory")
_UNANSWERED: Final = timedelta(seconds=5)
_NOTHING_DONE: Final = -1
_Op = Literal["begin", "wait", "keep", "end"]


class Wait(NamedTuple):
    """What one waits for that may not begin yet."""

    limit: Limit
    pause: int
    """Milliseconds until one asks again."""
    before: int
    """How many are before it."""
    left: int
    """Milliseconds until its turn, of concurrency a guess."""

    def __str__(self) -> str:
        expected = iso_time(int(time.time() * 1000) + self.left)
        about = "" if self.limit.kind == "rate" else "about "
        return f"{self.limit}, {self.before} before it, expected {about}at {expected}"


class Turns:
    """The limits of all workers that use one Redis. A worker that is not heard of for `lease` seconds holds nothing."""

    def __init__(self, redis: RedisClient | None, *, lease: float = LEASE_SECONDS) -> None:
        self._redis = redis
        self._lease = lease
        if redis is not None:
            self._rate = redis.commands.register_script(RATE)
            self._concurrency = redis.commands.register_script(CONCURRENCY)

    @asynccontextmanager
    async def held(self, turn: Turn, *, graph: str = "", node: str = "") -> AsyncGenerator[None]:
        """What the block does counts for the limits. Raises TurnNotYet where it may not begin, ConfigurationError."""
        if self._redis is None:
            raise no_redis()
        try:
            wait = await self._begin(turn)
        except Unavailable as error:
            metrics.count(metrics.LIMIT_WAITS, graph, node, "redis")
            told = f"Redis has to say whether it is its turn: {error}"
            raise TurnNotYet(told, turn=turn.to_wire(), retry_after=_UNANSWERED) from None
        if wait is not None:
            metrics.count(metrics.LIMIT_WAITS, graph, node, wait.limit.kind)
            pause = timedelta(milliseconds=wait.pause)
            raise TurnNotYet(str(wait), turn=turn.to_wire(), retry_after=pause)
        slots = [each for each in turn.limits if each.kind == "concurrency"]
        async with self._kept(slots, turn.holder, (graph, node)):
            yield

    async def ask(self, turn: Turn) -> Wait | None:
        """What is still to be waited for; None where it may begin now. Raises Unavailable, ConfigurationError."""
        found: Wait | None = None
        for each in turn.limits:
            wait = await self._ask("wait", each, turn.holder)
            if wait is not None and (found is None or wait.pause > found.pause):
                found = wait
        if found is not None:
            await self._postpone(turn, found)
        return found

    async def _begin(self, turn: Turn) -> Wait | None:
        """Begin, where all limits allow it: of two, each is asked before the first one counts."""
        if len(turn.limits) > 1 and (wait := await self.ask(turn)) is not None:
            return wait
        begun: list[Limit] = []
        for each in turn.limits:
            wait = await self._ask("begin", each, turn.holder)
            if wait is None:
                begun.append(each)
                continue
            for other in begun:
                await self._call("end", other, turn.holder, _NOTHING_DONE)
            await self._postpone(turn, wait)
            return wait
        return None

    async def _postpone(self, turn: Turn, wait: Wait) -> None:
        """Have the other limits expect it when it comes back, and offer it no place until then."""
        for each in turn.limits:
            if each is not wait.limit:
                await self._call("wait", each, turn.holder, wait.pause)

    async def _ask(self, op: _Op, limit: Limit, holder: str) -> Wait | None:
        may, pause, before, left = await self._call(op, limit, holder, 0)
        return None if may else Wait(limit, pause, before, left)

    @asynccontextmanager
    async def _kept(self, slots: list[Limit], holder: str, labels: tuple[str, str]) -> AsyncGenerator[None]:
        """Renew the leases while the block runs, and give them back."""
        if not slots:
            yield
            return
        over, began = asyncio.Event(), time.monotonic()
        keeping = asyncio.create_task(self._keep(slots, holder, over, labels))
        try:
            yield
        finally:
            over.set()
            await keeping  # one on its way could come behind the end, and bring the lease back
            for each in slots:
                with suppress(AnabranchError):  # then it expires
                    await self._call("end", each, holder, int((time.monotonic() - began) * 1000))

    async def _keep(self, slots: list[Limit], holder: str, over: asyncio.Event, labels: tuple[str, str]) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._lease / 4):
                    await over.wait()
                return
            for each in slots:
                with suppress(AnabranchError):  # it is tried again, and may be late
                    there, *_ = await self._call("keep", each, holder, 0)
                    if not there:
                        metrics.count(metrics.LEASES_LOST, *labels)
                        log.warning("a lease was lost, and is taken again", extra={"limit": each.name})

    async def _call(self, op: _Op, limit: Limit, holder: str, at_least: int) -> list[int]:
        """Ask one script. Raises Unavailable, ConfigurationError."""
        if self._redis is None:
            raise no_redis()
        is_rate = limit.kind == "rate"
        if is_rate and op == "end":
            return [0, 0, 0, 0]  # what has begun counts
        own = limit.per if is_rate else int(self._lease * 1000)
        script = self._rate if is_rate else self._concurrency
        keys = [f"anabranch:limit:{{{limit.id}}}:{part}" for part in _PARTS]
        async with self._redis:
            answer = await script(keys=keys, args=[op, holder, limit.limit, at_least, own])
        if not isinstance(answer, list) or len(answer) != 4:  # noqa: PLR2004 - what the scripts return
            raise Unavailable("Redis answered with something that is no turn", suggestion="look at what listens there")
        return [int(each) for each in answer]


def no_redis() -> ConfigurationError:
    """The error of a worker that cannot keep any limit."""
    return ConfigurationError(
        "the node has a `rate_limit` or a `concurrency`, which this worker cannot keep: it has no REDIS_URL",
        suggestion="set REDIS_URL to the Redis that all workers share",
    )
