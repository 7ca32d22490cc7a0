"""Contexts in Memcached: compare-and-set by its own `cas` command. What it evicts or restarts without is gone.

Lifetimes count in whole seconds here (rounded up), and digests cost as much as reading.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Self, TypeVar
from urllib.parse import quote, unquote, urlsplit

import emcache

from anabranch.broken import BROKEN
from anabranch.cipher import Cipher
from anabranch.context.distributed import DistributedContext
from anabranch.context.stores.encoded import EncodedStore
from anabranch.context.stores.protocol import check_session_id
from anabranch.context.stores.record import Record
from anabranch.errors import (
    AnabranchError,
    EncryptionKeyMissing,
    InputError,
    SizeLimitExceeded,
    Unavailable,
    not_a_url,
)
from anabranch.limits import MAX_CONTEXT_SIZE_BYTES

LARGEST_VALUE: Final = 1_000_000
"""Bytes: Memcached's default limit is 1 MiB, key and header included."""

_LONGEST_KEY: Final = 250
_PREFIX: Final = "anabranch:context:"
_HASHED: Final = "anabranch:hashed:"
_RELATIVE_LIMIT: Final = 30 * 86_400
_DEFAULT_PORT: Final = 11_211
_LISTING_LIMIT: Final = 8_192
_BEGINS: Final = b"OK\r\n"
"""Before the items: seen of version 1.6.45. Version 1.6.18 begins with the first item."""

_Answer = TypeVar("_Answer")
_Address = emcache.MemcachedHostAddress
_BROKEN: Final = (emcache.CommandError, emcache.ClusterNoAvailableNodes, *BROKEN)


class MemcachedStore(EncodedStore):
    """Keeps contexts in one or several Memcached servers."""

    def __init__(
        self,
        addresses: Sequence[tuple[str, int]],
        *,
        max_connections: int = 50,
        timeout: float = 2.0,
        max_bytes: int = MAX_CONTEXT_SIZE_BYTES,
        variable: str | None = None,
        cipher: Cipher | None = None,
    ) -> None:
        super().__init__(max_bytes=max_bytes, cipher=cipher)
        self._addresses = [_Address(host, port) for host, port in addresses]
        self._max_connections = max_connections
        self._timeout = timeout
        self._variable = variable
        self._client: emcache.Client | None = None
        self._connecting = asyncio.Lock()

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        max_connections: int = 50,
        timeout: float = 2.0,
        max_bytes: int = MAX_CONTEXT_SIZE_BYTES,
        variable: str | None = None,
        cipher: Cipher | None = None,
    ) -> Self:
        """A store at `memcached://host:port[,host:port…]`. Connects when it is first used.

        `timeout` (seconds) bounds one call. Raises ConfigurationError for another kind of URL, which it does not
        repeat: errors name the `variable`.
        """
        try:
            servers = [urlsplit(f"//{server}") for server in urlsplit(url).netloc.split(",")]
            addresses = [(each.hostname or "", each.port or _DEFAULT_PORT) for each in servers]
        except ValueError:
            addresses = []
        if not addresses or not all(host for host, _ in addresses) or "@" in url:
            raise not_a_url("a Memcached", variable, "write memcached://host:11211")
        return cls(
            addresses,
            max_connections=max_connections,
            timeout=timeout,
            max_bytes=max_bytes,
            variable=variable,
            cipher=cipher,
        )

    async def _records(self, session_ids: Sequence[str]) -> list[Record | None]:
        """What is kept, by one `get` to each server."""
        keys = [_key(session_id) for session_id in session_ids]
        if not keys:
            return []
        found = await self._call(lambda client: client.get_many(list(dict.fromkeys(keys))))
        return [Record.from_bytes(bytes(found[key].value)) if key in found else None for key in keys]

    async def _digests_of(self, session_ids: Sequence[str]) -> list[bytes | None]:
        """The digests of what is kept."""
        return [record and record.digest for record in await self._records(session_ids)]

    async def delete(self, session_id: str) -> bool:
        """Whether there was something to delete."""
        key = _key(session_id)
        return await self._call(lambda client: _deleted(client, key))

    async def list_sessions(self, prefix: str = "") -> AsyncIterator[str]:
        """The session ids that begin with a prefix, from each server's own listing of its items.

        A listing may leave out what is used at that moment: Memcached walks its items while it moves them.
        """
        for address in self._addresses:
            for key in [key async for key in self._listing(address)]:
                session_id = await self._session_of(key)
                if session_id is not None and session_id.startswith(prefix):
                    yield session_id

    async def aclose(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(*_BROKEN):
                await client.close()

    async def _write(self, records: Mapping[str, Record], ttl: float | None) -> None:
        values = [(_key(session_id), _value(session_id, record)) for session_id, record in records.items()]
        expires = _expiry(ttl)

        await self._call(
            lambda client: asyncio.gather(*(client.set(key, value, exptime=expires) for key, value in values))
        )

    async def _swap(self, session_id: str, record: Record, ttl: float | None, expected: int) -> tuple[bool, int | None]:
        key, value, expires = _key(session_id), _value(session_id, record), _expiry(ttl)
        there = await self._call(lambda client: client.gets(key))
        cas = None if there is None else there.cas
        found = None if there is None else Record.from_bytes(bytes(there.value)).version
        if (found or 0) != expected:
            return False, found

        swapped = await self._call(lambda client: _swapped(client, key, value, expires, cas))
        return swapped, found

    async def _call(self, command: Callable[[emcache.Client], Awaitable[_Answer]]) -> _Answer:
        client: emcache.Client | None = None
        try:
            client = self._client or await self._connect()
            async with asyncio.timeout(self._timeout):
                return await command(client)
        except AnabranchError:
            raise
        except emcache.StorageCommandError as refused:
            raise _storage_error(refused) from None
        except _BROKEN as failed:
            # The client waits up to a minute before it connects again: a new one connects at once.
            if client is not None and self._client is client:
                await self.aclose()
            raise Unavailable(
                f"Memcached did not answer as it should: {type(failed).__name__}",
                place=self._variable,
                suggestion="is the server up?",
            ) from failed

    async def _connect(self) -> emcache.Client:
        async with self._connecting:
            if self._client is None:
                self._client = await emcache.create_client(
                    self._addresses,
                    timeout=None,  # _call has one
                    connection_timeout=self._timeout,
                    max_connections=self._max_connections,
                    purge_unused_connections_after=None,
                )
            return self._client

    async def _listing(self, address: _Address) -> AsyncIterator[str]:
        """The keys of one server, by a command that the client does not know."""
        try:
            async with asyncio.timeout(self._timeout):
                reader, writer = await asyncio.open_connection(address.address, address.port, limit=_LISTING_LIMIT)
            try:
                writer.write(b"lru_crawler metadump all\r\n")
                while not (line := await self._line(reader)).startswith(b"END"):
                    if line == _BEGINS:
                        continue
                    if not line.startswith(b"key="):
                        raise Unavailable("Memcached does not list its items", suggestion="it needs version 1.4.31")
                    yield unquote(line.split(b" ", 1)[0][4:].decode("ascii", "replace"))
            finally:
                writer.close()
        except AnabranchError:
            raise
        except BROKEN as failed:
            raise Unavailable(
                f"Memcached did not list its items: {type(failed).__name__}", suggestion="is the server up?"
            ) from failed

    async def _line(self, reader: asyncio.StreamReader) -> bytes:
        async with asyncio.timeout(self._timeout):
            return await reader.readline()

    async def _session_of(self, key: str) -> str | None:
        if key.startswith(_PREFIX):
            return unquote(key.removeprefix(_PREFIX))
        if not key.startswith(_HASHED):
            return None
        item = await self._call(lambda client: client.get(key.encode()))
        if item is None:
            return None
        kept = Record.from_bytes(bytes(item.value))
        with suppress(InputError, EncryptionKeyMissing):  # damaged, say: loading it says so
            packed = self._opened(kept).packed
            return DistributedContext.deserialize(packed, max_bytes=self.max_bytes).session_id
        return None


def _key(session_id: str) -> bytes:
    key = _PREFIX + quote(check_session_id(session_id), safe="/:@#$&+,;=?!*()'")
    if len(key) > _LONGEST_KEY:
        key = _HASHED + hashlib.sha256(session_id.encode()).hexdigest()
    return key.encode()


def _value(session_id: str, record: Record) -> bytes:
    value = record.to_bytes()
    if len(value) > LARGEST_VALUE:
        raise SizeLimitExceeded(
            f"the context {session_id!r} has {len(value)} bytes, over Memcached's limit of {LARGEST_VALUE}",
            place=session_id,
            suggestion="keep large values elsewhere and put a reference here, or use another store",
        )
    return value


def _expiry(ttl: float | None) -> int:
    """As Memcached counts: whole seconds, which are a date where they are more than 30 days."""
    if ttl is None:
        return 0
    seconds = math.ceil(ttl)
    return seconds if seconds <= _RELATIVE_LIMIT else int(time.time()) + seconds


async def _deleted(client: emcache.Client, key: bytes) -> bool:
    try:
        await client.delete(key)
    except emcache.NotFoundCommandError:
        return False
    return True


async def _swapped(client: emcache.Client, key: bytes, value: bytes, expires: int, cas: int | None) -> bool:
    try:
        if cas is None:
            await client.add(key, value, exptime=expires)
        else:
            await client.cas(key, value, cas, exptime=expires)
    except emcache.NotStoredStorageCommandError:
        return False
    except emcache.StorageCommandError as refused:
        if "NOT_FOUND" in str(refused):  # it was there, and is gone
            return False
        raise
    return True


def _storage_error(refused: emcache.StorageCommandError) -> AnabranchError:
    if "too large" in str(refused):
        return SizeLimitExceeded(
            "the context is over the limit of this Memcached", suggestion="raise the server's item size (-I)"
        )
    return Unavailable("Memcached did not store a context", suggestion="is it out of memory?")
