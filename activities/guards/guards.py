"""What is around a node's work if the graph asks for it: a cache of its results, a circuit breaker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Self

import msgpack

from anabranch.activities.guards.breaker import Breakers, InMemoryBreakers, RedisBreakers
from anabranch.activities.guards.node_cache import InMemoryResults, NodeResults, RedisResults, result_key
from anabranch.activities.node_result import own_key
from anabranch.activities.rendering import render
from anabranch.context.changes import ChangeSet
from anabranch.graph.expressions.templates import text_of
from anabranch.graph.model import CircuitBreaker, Node, NodeCache
from anabranch.redis_client import RedisClient
from anabranch.transport.node_protocol import NodeTask

Compute = Callable[[], Awaitable[ChangeSet]]


class Guards:
    """Caches and breakers, shared by all workers that use `redis`; without it, those of this process."""

    def __init__(self, redis: RedisClient | None = None) -> None:
        self._redis = redis
        self._breakers = Breakers(InMemoryBreakers() if redis is None else RedisBreakers(redis))
        self._results = NodeResults(InMemoryResults() if redis is None else RedisResults(redis))

    @classmethod
    def from_url(cls, url: str | None, max_connections: int) -> Self:
        """Guards on the Redis at `url` (REDIS_URL), if there is one. Raises ConfigurationError."""
        if url is None:
            return cls()
        # One retry: waiting longer for a cached result than for the work gains nothing.
        return cls(RedisClient.from_url(url, variable="REDIS_URL", max_connections=max_connections, retries=1))

    async def around(self, task: NodeTask, node: Node, compute: Compute) -> ChangeSet:
        """The changes of a node: from the cache, or computed behind its breaker. Raises Unavailable while open."""
        if (breaker := node.circuit_breaker) is not None:
            compute = self._behind(_breaker_name(task, breaker), breaker, compute)
        if node.cache is None:
            return await compute()
        changes, reused = await self._results.through(_cache_key(task, node.cache), node.cache.ttl, compute)
        if not reused:
            return changes
        base, now = task.context.metadata.version, task.context.metadata.updated_at
        return replace(changes, base_version=base, by=task.address, at=now)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            await self._redis.aclose()

    def _behind(self, name: str, breaker: CircuitBreaker, compute: Compute) -> Compute:
        async def guarded() -> ChangeSet:
            async with self._breakers.guard(name, breaker):
                return await compute()

        return guarded


def _breaker_name(task: NodeTask, breaker: CircuitBreaker) -> str:
    return breaker.name or f"{task.run.graph}/{own_key(task)}"


def _cache_key(task: NodeTask, cache: NodeCache) -> str:
    rendered = text_of(render(cache.key, task))
    return result_key(task.run.graph, own_key(task), msgpack.packb(task.node) or b"", rendered)
