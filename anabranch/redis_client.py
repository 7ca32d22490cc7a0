"""The one way to a Redis or Valkey: its URL, time-outs, attempts, how many calls at once, and its errors as ours."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Self
from urllib.parse import urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import FullJitterBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from anabranch import spans
from anabranch.errors import AnabranchError, ConfigurationError, Unavailable, not_a_url

SCHEMES: Final = frozenset({"redis", "rediss", "valkey", "valkeys", "unix"})
"""Of the URLs that are understood. `+cluster` may follow: `redis+cluster://host:6379` names a node of a cluster."""
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.5
_DATABASE: Final = re.compile(r"/?\d*")


class RedisClient:
    """A client that does `max_connections` calls at a time, and whose errors are ours, without the address they name.

        async with redis as commands:
            await commands.get("key")

    The block raises Unavailable, and ConfigurationError where the server refuses the credentials. (The library's
    blocking pool limits calls too, but makes each a tenth dearer.)
    """

    __slots__ = ("_cancelled", "_slots", "_timeout", "_variable", "commands")

    def __init__(
        self,
        client: Redis | RedisCluster,
        *,
        max_connections: int = 50,
        timeout: float = 2.0,
        variable: str | None = None,
    ) -> None:
        self.commands = client
        self._cancelled: dict[asyncio.Task[Any], int] = {}
        if spans.tracer() is not None:
            _trace_calls(client)
        self._slots = asyncio.Semaphore(max_connections)
        self._timeout = timeout
        self._variable = variable

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        variable: str | None = None,
        max_connections: int = 50,
        timeout: float = 2.0,
        retries: int = 3,
    ) -> Self:
        """A client for `redis://[user:password@]host:port/db`, TLS at `rediss://`, a socket at `unix:///path?db=0`.

        `valkey` and `valkeys` are `redis` and `rediss`. It connects at its first use. `timeout` (seconds) bounds
        connecting, one answer, and the wait for one of `max_connections`. A call that fails is sent again `retries`
        times, with exponential back-off and jitter. Raises ConfigurationError, which names `variable` (where the URL
        comes from) and never repeats the URL; all its errors name the variable.
        """
        options: dict[str, Any] = {
            "max_connections": max_connections,
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "retry": Retry(FullJitterBackoff(base=_FIRST_PAUSE, cap=_LONGEST_PAUSE), retries),
        }
        try:
            client = _open(url, options)
        except (ValueError, TypeError, RedisError):
            example = "write redis://host:6379/0, rediss://… for TLS, or unix:///path/to/socket"
            raise not_a_url("a Redis", variable, example) from None
        return cls(client, max_connections=max_connections, timeout=timeout, variable=variable)

    async def mget(self, keys: Sequence[str | bytes]) -> list[bytes | None]:
        """The values of keys, which may be in several slots of a cluster. Raises as the block does."""
        async with self as commands:
            if isinstance(commands, RedisCluster):
                values: list[Any] = await commands.mget_nonatomic(keys)
            else:
                values = await commands.mget(keys)
        is_list = isinstance(values, list) and len(values) == len(keys)
        if not is_list or not {bytes, type(None)}.issuperset(map(type, values)):
            raise no_value()
        return values

    async def aclose(self) -> None:
        """Close the connections."""
        async with self as commands:
            await commands.aclose()
            if isinstance(commands, RedisCluster):
                # Its own way does nothing after a call that failed: it takes the client for closed, though other calls
                # of that moment have connected again.
                await commands.nodes_manager.aclose("nodes_cache")
                await commands.nodes_manager.aclose("startup_nodes")

    async def __aenter__(self) -> Redis | RedisCluster:
        commands = await self._when_free()
        task = asyncio.current_task()
        if task is not None and (count := task.cancelling()):
            self._cancelled[task] = count
        return commands

    async def _when_free(self) -> Redis | RedisCluster:
        if not self._slots.locked():
            await self._slots.acquire()
            return self.commands
        try:
            async with asyncio.timeout(self._timeout):
                await self._slots.acquire()
        except TimeoutError:
            raise Unavailable(
                f"no connection to Redis was free for {self._timeout} seconds",
                place=self._variable,
                suggestion="raise REDIS_MAX_CONNECTIONS",
            ) from None
        return self.commands

    async def __aexit__(self, kind: type[BaseException] | None, failed: BaseException | None, _: object) -> None:
        self._slots.release()
        # The library sends through `asyncio.wait_for`, which in Python 3.11 forgets a cancellation that comes when the
        # bytes have just been sent: a timeout around the block would then never end it.
        task = asyncio.current_task()
        known = self._cancelled.pop(task, 0) if task else 0
        if task and task.cancelling() > known and (failed is None or isinstance(failed, Exception)):
            raise asyncio.CancelledError from failed
        if isinstance(failed, AuthenticationError | NoPermissionError):
            raise ConfigurationError(
                f"Redis refused the credentials: {type(failed).__name__}",
                place=self._variable,
                suggestion="set the user and the password in the Redis URL",
            ) from None
        # Beside its own errors: what another kind of server sent, decoded as an answer of Redis.
        broken = RedisError | OSError | EOFError | ValueError | TypeError | IndexError
        if isinstance(failed, broken) and not isinstance(failed, AnabranchError):
            raise Unavailable(
                f"Redis did not answer as it should: {type(failed).__name__}",
                place=self._variable,
                suggestion="is the server up and writable?",
            ) from failed


def _trace_calls(client: Redis | RedisCluster) -> None:
    """Have a span for each command, with its name and without its keys and values."""
    execute: Callable[..., Awaitable[Any]] = client.execute_command

    async def traced(*command: Any, **options: Any) -> Any:
        with spans.span(str(command[0]), {"db.system.name": "redis"}, kind="client"):
            return await execute(*command, **options)

    client.__dict__["execute_command"] = traced


def as_bytes(value: Any) -> bytes:
    """What is bytes when the server is a Redis. Raises Unavailable for anything else."""
    if not isinstance(value, bytes):
        raise no_value()
    return value


def no_value() -> Unavailable:
    """The error for an answer that no Redis gives."""
    return Unavailable("Redis answered with something that is not a value", suggestion="look at what listens there")


def _open(url: str, options: dict[str, Any]) -> Redis | RedisCluster:
    """The client. Raises ValueError, TypeError and RedisError where the URL is wrong."""
    head, separator, rest = url.partition(":")
    scheme, plus, kind = head.lower().partition("+")
    if not separator or scheme not in SCHEMES or (plus and kind != "cluster"):
        raise ValueError(scheme)
    path = urlsplit(f"redis:{rest}").path
    if scheme == "unix" and (plus or not path):
        raise ValueError(scheme)
    if scheme != "unix" and not _DATABASE.fullmatch(path):
        raise ValueError(path)  # the library would take database 0
    url = f"{scheme.replace('valkey', 'redis')}:{rest}"
    if plus:
        return RedisCluster.from_url(url, **options)
    client = Redis.from_url(url, **options)
    # Whether it takes the URL's options, a pool would find out at the first call.
    client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)
    return client
