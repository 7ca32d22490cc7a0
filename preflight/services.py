"""The servers that a worker's own settings name, and whether each answers. Nothing is written to them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from temporalio.service import RPCError

from anabranch.activities.share import ContextSharing
from anabranch.errors import ConfigurationError, Unavailable
from anabranch.graph.model import Graph
from anabranch.redis_client import SCHEMES, RedisClient
from anabranch.settings import Settings
from anabranch.sql import DRIVERS
from anabranch.transport.client import check_namespace, connect, converter_for
from anabranch.transport.search_attributes import is_registered, own_keys, registered
from anabranch.transport.working import closed

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_NO_SESSION = "anabranch-preflight"
"""A session id that nobody has."""


def services(settings: Settings) -> dict[str, str]:
    """The URLs of the settings, by the variables that hold them."""
    urls = {
        "REDIS_URL": settings.redis_url,
        "STORE_URL": settings.store_url,
        "CACHE_URL": settings.cache_url,
        "PAYLOAD_STORE_URL": settings.payload_store_url,
    }
    return {variable: url for variable, url in urls.items() if url is not None}


def check_settings(settings: Settings) -> None:
    """Refuse settings of the worker itself that no waiting mends: a URL that is none, a driver that is not installed.

    It connects to nothing. Raises ConfigurationError.
    """
    converter_for(settings)
    if settings.store_url is not None or settings.redis_url is not None:
        ContextSharing(settings).check()


async def reach(variable: str, url: str) -> None:
    """Ask a Redis, a database or a Memcached for a sign of life. Raises Unavailable, ConfigurationError."""
    scheme = url.partition(":")[0].lower().partition("+")[0]
    if scheme in SCHEMES:
        await _reach_redis(variable, url)
    elif scheme in DRIVERS:
        await _reach_database(variable, url)
    elif scheme != "memory":
        await _reach_store(variable, url)


async def reach_temporal(settings: Settings) -> None:
    """Ask the Temporal server for the namespace. Raises Unavailable, ConfigurationError."""
    await check_namespace(await connect(settings))


async def check_attributes(settings: Settings, graphs: Iterable[Graph]) -> None:
    """Ask the namespace for the graphs' own search attributes. Raises ConfigurationError, which names those it lacks.

    A server that does not answer is no matter of theirs.
    """
    keys = own_keys(graphs)
    if not keys:
        return
    with suppress(Unavailable, RPCError):
        found = await registered(await connect(settings))
        if lacking := [f"{key.name} ({key.indexed_value_type.name})" for key in keys if not is_registered(key, found)]:
            raise ConfigurationError(
                f"the namespace lacks search attributes of graphs: {', '.join(lacking)}",
                suggestion="runs do not set them until `anabranch setup-namespace --graphs DIR` has registered them",
            )


def is_new_file(engine: AsyncEngine) -> bool:
    """Whether a connection would make a SQLite file: that is left to its first use."""
    file = engine.url.database
    if engine.dialect.name != "sqlite" or not file or file == ":memory:":
        return False
    return not Path(file).exists() and Path(file).parent.is_dir()


async def _reach_redis(variable: str, url: str) -> None:
    redis = RedisClient.from_url(url, variable=variable, max_connections=1, retries=0)
    try:
        async with redis as commands:
            await commands.ping()
    finally:
        await closed(redis.aclose())


async def _reach_database(variable: str, url: str) -> None:
    from anabranch.sql.engines import open_engine
    from anabranch.sql.errors import as_unavailable

    engine = open_engine(url, variable=variable)
    try:
        with as_unavailable(variable, "is the server up, and does the URL name it?"):
            if not is_new_file(engine):
                async with engine.connect():
                    pass
    finally:
        await closed(engine.dispose())


async def _reach_store(variable: str, url: str) -> None:
    from anabranch.context.stores.open import open_store

    store = open_store(url, variable=variable)
    try:
        await store.load(_NO_SESSION)
    finally:
        await closed(store.aclose())
