"""What is around a node's work if the graph asks for it: a cache of its results, a circuit breaker, limits."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Self

import msgpack
from temporalio import activity

from anabranch.activities.guards.breaker import Breakers, InMemoryBreakers, RedisBreakers
from anabranch.activities.guards.limits_of import is_limited, turn_of
from anabranch.activities.guards.node_cache import InMemoryResults, NodeResults, RedisResults, result_key
from anabranch.activities.guards.turns import Turns
from anabranch.activities.node_result import own_key
from anabranch.activities.rendering import values_of
from anabranch.cipher import Cipher
from anabranch.context.changes import ChangeSet
from anabranch.errors import NotYet, TimedOut, TurnNotYet
from anabranch.graph.model import HttpNode, Node
from anabranch.graph.policies import CircuitBreaker, NodeCache
from anabranch.limits import LEASE_SECONDS
from anabranch.observe import metrics
from anabranch.redis_client import RedisClient
from anabranch.transport.node_protocol import WAITING_FACTOR, NodeTask

Compute = Callable[[], Awaitable[ChangeSet]]


class Guards:
    """Caches and breakers, shared by all workers that use `redis`; without it, those of this process.

    With a `cipher` results are encrypted, and what they are kept under cannot be guessed.
    """

    def __init__(
        self, redis: RedisClient | None = None, cipher: Cipher | None = None, *, lease: float = LEASE_SECONDS
    ) -> None:
        self._redis = redis
        self._cipher = cipher
        self._breakers = Breakers(InMemoryBreakers() if redis is None else RedisBreakers(redis))
        self.turns = Turns(redis, lease=lease)
        self._results = NodeResults(InMemoryResults() if redis is None else RedisResults(redis, cipher))

    @classmethod
    def from_url(
        cls,
        url: str | None,
        max_connections: int,
        cipher: Cipher | None = None,
        *,
        lease: float = LEASE_SECONDS,
    ) -> Self:
        """Guards on the Redis at `url` (REDIS_URL), if there is one. Raises ConfigurationError."""
        if url is None:
            return cls(cipher=cipher)
        # One retry: waiting longer for a cached result than for the work gains nothing.
        redis = RedisClient.from_url(url, variable="REDIS_URL", max_connections=max_connections, retries=1)
        return cls(redis, cipher, lease=lease)

    async def around(self, task: NodeTask, node: Node, compute: Compute) -> ChangeSet:
        """The changes of a node: from the cache, or computed behind its breaker and within its limits.

        Raises Unavailable while the breaker is open, TurnNotYet where a limit does not let it begin.
        """
        seconds = seconds_of_work(node)
        if is_limited(node):
            compute = self._within_limits(task, node, compute)
        if node.cache is not None:
            compute = _within(seconds, compute)
        if (breaker := node.circuit_breaker) is not None:
            compute = self._behind(task, breaker, seconds, compute)
        if node.cache is None:
            return await compute()
        key = await _cache_key(task, node.cache, self._cipher)
        changes, reused = await self._results.through(key, node.cache.ttl, compute, patience=seconds)
        if not reused:
            return changes
        base, now = task.context.metadata.version, task.context.metadata.updated_at
        return replace(changes, base_version=base, by=task.address, at=now, usage=())

    async def aclose(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            await self._redis.aclose()

    def _behind(self, task: NodeTask, breaker: CircuitBreaker, seconds: float, compute: Compute) -> Compute:
        name = _breaker_name(task, breaker)

        async def guarded() -> ChangeSet:
            async with self._breakers.guard(name, breaker, seconds, graph=task.run.graph):
                return await compute()

        return guarded

    def _within_limits(self, task: NodeTask, node: Node, compute: Compute) -> Compute:
        async def limited() -> ChangeSet:
            turn = await turn_of(task, node, self._cipher)
            try:
                async with self.turns.held(turn, graph=task.run.graph, node=metrics.node_label(task.address)):
                    return await compute()
            except TurnNotYet as refused:
                if isinstance(node, HttpNode) and node.poll is not None:  # whose attempts are pauses as well
                    raise NotYet(f"it waits for its turn: {refused}", retry_after=refused.retry_after) from None
                raise

        return limited


def seconds_of_work(node: Node) -> float:
    """What an attempt of a node may take once its work has begun; without end outside of an activity."""
    timeout = activity.info().start_to_close_timeout if activity.in_activity() else None
    if timeout is None:
        return math.inf
    return (timeout if node.cache is None else timeout / WAITING_FACTOR).total_seconds()


def _within(seconds: float, compute: Compute) -> Compute:
    """The work, given up after so long: its attempt has more time, since it may have waited before."""

    async def limited() -> ChangeSet:
        try:
            async with asyncio.timeout(None if seconds == math.inf else seconds):
                return await compute()
        except TimeoutError:
            raise TimedOut(f"it took longer than its `timeout` of {seconds:g} s") from None

    return limited


def _breaker_name(task: NodeTask, breaker: CircuitBreaker) -> str:
    return breaker.name or f"{task.run.graph}/{own_key(task)}"


async def _cache_key(task: NodeTask, cache: NodeCache, cipher: Cipher | None) -> str:
    # The template itself is part of the node's definition: the values of its holes are what differs, each of its type.
    values = json.dumps(await values_of(cache.key, task), sort_keys=True)
    return result_key(task.run.graph, own_key(task), msgpack.packb(task.node) or b"", values, cipher)
