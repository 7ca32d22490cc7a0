"""A store from its URL, as `STORE_URL` and `CACHE_URL` name it."""

from __future__ import annotations

from anabranch.context.stores.memory import InMemoryStore
from anabranch.context.stores.protocol import ContextStore
from anabranch.context.wire import MAX_CONTEXT_SIZE_BYTES
from anabranch.errors import ConfigurationError

_REDIS = frozenset({"redis", "rediss", "unix", "valkey", "valkeys"})
_SQL = frozenset({"sqlite", "postgresql", "postgres", "mysql", "mariadb"})


def open_store(url: str, *, max_connections: int = 50, max_bytes: int = MAX_CONTEXT_SIZE_BYTES) -> ContextStore:
    """The store that a URL names by its scheme; its client is imported here. Connects when it is first used.

    `memory://`, `redis://` (`rediss`, `unix`, `valkey`, `valkeys`; `redis+cluster`), `memcached://`, `sqlite://`,
    `postgresql://`, `mysql://`. Raises ConfigurationError, which does not repeat the URL.
    """
    scheme, _, kind = url.partition(":")[0].lower().partition("+")
    if scheme == "memory":
        return InMemoryStore(max_bytes=max_bytes)
    if scheme in _REDIS:
        from anabranch.context.stores.redis import RedisStore

        plain = f"{scheme.replace('valkey', 'redis')}:{url.partition(':')[2]}"
        cluster = kind == "cluster"
        return RedisStore.from_url(plain, max_connections=max_connections, cluster=cluster, max_bytes=max_bytes)
    if scheme == "memcached":
        try:
            from anabranch.context.stores.memcached import MemcachedStore
        except ImportError:
            raise ConfigurationError("emcache is not installed", suggestion="install the extra memcached") from None
        return MemcachedStore.from_url(url, max_connections=max_connections, max_bytes=max_bytes)
    if scheme in _SQL:
        from anabranch.context.stores.sql import SqlStore

        return SqlStore.from_url(url, max_bytes=max_bytes)
    raise ConfigurationError(
        f"there is no store for URLs that begin with {scheme[:20]!r}",
        suggestion="use memory://, redis://, memcached://, sqlite://, postgresql:// or mysql://",
    )
