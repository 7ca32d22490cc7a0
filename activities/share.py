"""`share_context`: puts a run's context where other services read it (`STORE_URL`, with `CACHE_URL` before it)."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Any, Final

from temporalio import activity

from anabranch.activities.attempts import run_attempt
from anabranch.activities.failures import as_application_errors, refuse_outside_of_runs
from anabranch.backoff import Backoff
from anabranch.context.cache.cache import DistributedCache
from anabranch.context.cache.strategy import CacheStrategy
from anabranch.context.distributed import DistributedContext
from anabranch.context.stores.open import open_store
from anabranch.context.stores.protocol import ContextStore
from anabranch.errors import ConfigurationError, InputError, Unavailable, VersionMismatch
from anabranch.settings import Settings

_ATTEMPTS: Final = 10
_BACKOFF: Final = Backoff(first=0.01, longest=0.2)
_COPIED: Final = frozenset({CacheStrategy.WRITE_THROUGH, CacheStrategy.WRITE_BEHIND})


class ContextSharing:
    """The stores of one worker, opened at the first publication."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._caches: dict[CacheStrategy, DistributedCache] = {}

    @activity.defn
    async def share_context(self, context: DistributedContext, options: dict[str, Any]) -> None:
        """Store the context by `strategy`, for `ttl` seconds (default: CONTEXT_TTL_SECONDS); it is stored on return."""
        refuse_outside_of_runs(activity.info())
        with run_attempt("share_context"), as_application_errors("share"):
            await self.share(context, options)

    async def share(self, context: DistributedContext, options: dict[str, Any]) -> None:
        """As `share_context`, without Temporal. Raises ConfigurationError, Unavailable, SizeLimitExceeded.

        A newer version of the same run is left as it is: this may be a late attempt that has been given up.
        """
        strategy = CacheStrategy.parse(options.get("strategy") or self._settings.cache_strategy)
        cache = self._caches.get(strategy) or self._open(strategy)
        ttl = options.get("ttl")
        await _keep(cache, context, ttl)
        if strategy in _COPIED and self._settings.cache_url is not None:
            await cache.put_cache(context, ttl=ttl)
        else:
            await cache.invalidate(context.session_id)

    def check(self) -> None:
        """Raises ConfigurationError where there is no store, or the settings of one are wrong. Connects to none."""
        try:
            strategy = CacheStrategy.parse(self._settings.cache_strategy)
        except InputError as error:
            place = "CACHE_STRATEGY"
            raise ConfigurationError(error.message, place=place, suggestion=error.suggestion) from None
        if strategy not in self._caches:
            self._open(strategy)

    async def aclose(self) -> None:
        """Close the stores."""
        while self._caches:
            await self._caches.popitem()[1].aclose()

    def _open(self, strategy: CacheStrategy) -> DistributedCache:
        settings = self._settings
        store = self._store("STORE_URL", settings.store_url)
        if store is None:
            store = self._store("REDIS_URL", settings.redis_url)
        if store is None:
            raise ConfigurationError(
                "a graph shares its context and this worker has no store for it",
                suggestion="set STORE_URL (or REDIS_URL), for example to redis://127.0.0.1:6379",
            )
        self._caches[strategy] = DistributedCache(
            store,
            self._store("CACHE_URL", settings.cache_url),
            strategy=strategy,
            default_ttl=settings.context_ttl_seconds,
        )
        return self._caches[strategy]

    def _store(self, variable: str, url: str | None) -> ContextStore | None:
        if url is None:
            return None
        settings = self._settings
        return open_store(
            url,
            max_connections=settings.redis_max_connections,
            max_bytes=settings.max_context_size_bytes,
            variable=variable,
            cipher=settings.cipher(),
        )


async def _keep(cache: DistributedCache, context: DistributedContext, ttl: float | None) -> None:
    for pause in islice(_BACKOFF, _ATTEMPTS):
        try:
            there = await cache.store.load(context.session_id)
            if there is not None and _is_of_later_in_the_run(there, context):
                return
            await cache.put_store(context, ttl, 0 if there is None else there.metadata.version)
        except VersionMismatch:
            await asyncio.sleep(pause)
            continue
        except InputError:  # the stored context is damaged, or this one cannot be stored at all
            await cache.put_store(context, ttl)
        return
    raise Unavailable("the stored context changed at every attempt to replace it", place=context.session_id)


def _is_of_later_in_the_run(there: DistributedContext, context: DistributedContext) -> bool:
    stored, published = there.metadata, context.metadata
    return stored.created_at == published.created_at and stored.version > published.version
