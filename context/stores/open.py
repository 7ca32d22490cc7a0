"""A store from its URL, as `STORE_URL` and `CACHE_URL` name it."""

from __future__ import annotations

from anabranch.cipher import Cipher
from anabranch.context.stores.memory import InMemoryStore
from anabranch.context.stores.protocol import ContextStore
from anabranch.errors import ConfigurationError, not_a_url
from anabranch.limits import MAX_CONTEXT_SIZE_BYTES
from anabranch.sql import DRIVERS


def open_store(
    url: str,
    *,
    max_connections: int = 50,
    max_bytes: int = MAX_CONTEXT_SIZE_BYTES,
    variable: str | None = None,
    cipher: Cipher | None = None,
) -> ContextStore:
    """The store that a URL names by its scheme; its client is imported here. Connects when it is first used.

    `memory://`, `redis://` (`rediss`, `unix`, `valkey`, `valkeys`; `redis+cluster`), `memcached://`, `sqlite://`,
    `postgresql://`, `mysql://`. Raises ConfigurationError, which does not repeat the URL: errors name the `variable`
    that holds it. With a `cipher` contexts are encrypted wherever they leave the process.
    """
    scheme = url.partition(":")[0].lower().partition("+")[0]
    if scheme == "memory":
        return InMemoryStore(max_bytes=max_bytes)
    if scheme in DRIVERS:
        from anabranch.context.stores.sql import SqlStore

        return SqlStore.from_url(url, max_bytes=max_bytes, variable=variable, cipher=cipher)
    if scheme == "memcached":
        try:
            from anabranch.context.stores.memcached import MemcachedStore
        except ImportError:
            raise ConfigurationError(
                "emcache is not installed", place=variable, suggestion="pip install 'anabranch[memcached]'"
            ) from None
        return MemcachedStore.from_url(
            url, max_connections=max_connections, max_bytes=max_bytes, variable=variable, cipher=cipher
        )
    from anabranch.context.stores.redis import RedisStore
    from anabranch.redis_client import SCHEMES

    if scheme in SCHEMES:
        return RedisStore.from_url(
            url, max_connections=max_connections, max_bytes=max_bytes, variable=variable, cipher=cipher
        )
    schemes = "use memory://, redis://, memcached://, sqlite://, postgresql:// or mysql://"
    raise not_a_url("a store", variable, schemes)
