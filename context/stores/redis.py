"""Contexts in Redis or Valkey: one string for each session, and one script for what has to be atomic.

A value is a record (`context/stores/record.py`), so a plain `MGET` reads a hundred contexts, `GETRANGE` their digests,
and a script compares versions byte by byte. Keys carry the session id as their hash tag: in a cluster everything of one
session is in one slot.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Self
from urllib.parse import unquote

from redis.asyncio import Redis, RedisCluster

from anabranch.cipher import Cipher
from anabranch.context.stores.encoded import EncodedStore
from anabranch.context.stores.protocol import check_session_id
from anabranch.context.stores.record import HEADER_BYTES, VERSION_BYTES, Record, version_bytes
from anabranch.limits import MAX_CONTEXT_SIZE_BYTES
from anabranch.redis_client import RedisClient, as_bytes

_PREFIX: Final = b"anabranch:context:{"
_MARK: Final = b"anabranch:mark:{"
_find_reserved: Final = re.compile(rb"[{}%]").search
_GLOB: Final = re.compile(rb"([\\*?\[\]^-])")
_PAGE: Final = 500

_COMPARE_AND_SET: Final = """
if redis.call('EXISTS', KEYS[2]) == 1 then return false end
local found = redis.call('GETRANGE', KEYS[1], 0, 7)
if found ~= ARGV[1] then return found end
if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
redis.call('SET', KEYS[2], '', 'EX', ARGV[4])
return false
"""
"""KEYS: the context, the mark of this attempt. ARGV: the expected version, the record, the ttl, the mark's ttl.

The mark makes an attempt whose answer was lost safe to send again: it has been done, and is not done twice, even where
another writer came in between. Answers the version found where it was not the expected one.
"""

_DIGESTS: Final = f"""
local found = {{}}
for index, key in ipairs(KEYS) do found[index] = redis.call('GETRANGE', key, {VERSION_BYTES}, {HEADER_BYTES - 1}) end
return found
"""


class RedisStore(EncodedStore):
    """Keeps contexts in Redis. The client belongs to the store and is closed with it."""

    def __init__(
        self,
        client: Redis | RedisCluster | RedisClient,
        *,
        max_bytes: int = MAX_CONTEXT_SIZE_BYTES,
        mark_seconds: int = 60,
        cipher: Cipher | None = None,
    ) -> None:
        super().__init__(max_bytes=max_bytes, cipher=cipher)
        self._redis = client if isinstance(client, RedisClient) else RedisClient(client)
        self._mark_seconds = mark_seconds
        self._compare_and_set = self._redis.commands.register_script(_COMPARE_AND_SET)
        self._digests = self._redis.commands.register_script(_DIGESTS)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        max_connections: int = 50,
        timeout: float = 2.0,
        retries: int = 3,
        max_bytes: int = MAX_CONTEXT_SIZE_BYTES,
        variable: str | None = None,
        cipher: Cipher | None = None,
    ) -> Self:
        """A store at `redis://[user:password@]host:port/db`, or at `redis+cluster://` by a node of a cluster.

        The arguments are those of `RedisClient.from_url`, which lists the other schemes. Raises ConfigurationError for
        another kind of URL, without repeating it.
        """
        client = RedisClient.from_url(
            url, variable=variable, max_connections=max_connections, timeout=timeout, retries=retries
        )
        mark_seconds = int(timeout * (retries + 1)) + 5 * (retries + 1)
        return cls(client, max_bytes=max_bytes, mark_seconds=mark_seconds, cipher=cipher)

    async def _records(self, session_ids: Sequence[str]) -> list[Record | None]:
        """What is kept, by one MGET."""
        keys = [_key(session_id) for session_id in session_ids]
        if not keys:
            return []
        values = await self._redis.mget(keys)
        return [None if value is None else Record.from_bytes(value) for value in values]

    async def _digests_of(self, session_ids: Sequence[str]) -> list[bytes | None]:
        """The digests of what is kept, by one script (which sees one slot: in a cluster by a call for each)."""
        keys = [_key(session_id) for session_id in session_ids]
        if not keys:
            return []
        async with self._redis as redis:
            if len(keys) == 1:
                found = [await self._digest(keys[0])]
            elif isinstance(redis, RedisCluster):
                found = await asyncio.gather(*map(self._digest, keys))
            else:
                found = await self._digests(keys=keys)
            return [as_bytes(digest) or None for digest in found]

    async def exists(self, session_id: str) -> bool:
        """Whether there is a context."""
        key = _key(session_id)
        async with self._redis as redis:
            return bool(await redis.exists(key))

    async def delete(self, session_id: str) -> bool:
        """Whether there was something to delete."""
        key = _key(session_id)
        async with self._redis as redis:
            return bool(await redis.delete(key))

    async def list_sessions(self, prefix: str = "") -> AsyncIterator[str]:
        """The session ids that begin with a prefix, by SCAN."""
        pattern = _GLOB.sub(rb"\\\1", _PREFIX + _escaped(prefix.encode())) + b"*"
        keys = aiter(self._redis.commands.scan_iter(match=pattern, count=_PAGE))
        while True:
            async with self._redis:
                key = await anext(keys, None)
            if key is None:
                return
            yield unquote(as_bytes(key)[len(_PREFIX) : -1].decode())

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _write(self, records: Mapping[str, Record], ttl: float | None) -> None:
        milliseconds = _milliseconds(ttl)
        async with self._redis as redis:
            if len(records) == 1:
                ((session_id, record),) = records.items()
                await redis.set(_key(session_id), record.to_bytes(), px=milliseconds)
                return
            async with redis.pipeline(transaction=False) as pipeline:
                for session_id, record in records.items():
                    pipeline.set(_key(session_id), record.to_bytes(), px=milliseconds)
                await pipeline.execute()

    async def _digest(self, key: bytes) -> Any:
        return await self._redis.commands.getrange(key, VERSION_BYTES, HEADER_BYTES - 1)

    async def _swap(self, session_id: str, record: Record, ttl: float | None, expected: int) -> tuple[bool, int | None]:
        mark = b"%b%b}:%b" % (_MARK, _escaped(session_id.encode()), secrets.token_hex(8).encode())
        wanted = version_bytes(expected) if expected else b""
        arguments = [wanted, record.to_bytes(), _milliseconds(ttl) or "", self._mark_seconds]
        async with self._redis:
            found = await self._compare_and_set(keys=[_key(session_id), mark], args=arguments)
        if found is None:
            return True, None
        return False, int.from_bytes(as_bytes(found), "big") or None


def _key(session_id: str) -> bytes:
    """Bytes, which the client sends as they are: encoding a hundred keys costs it as much as decoding the answers."""
    return _PREFIX + _escaped(check_session_id(session_id).encode()) + b"}"


def _escaped(session_id: bytes) -> bytes:
    """The session id without braces: those of the hash tag stay the only ones."""
    if not _find_reserved(session_id):
        return session_id
    return session_id.replace(b"%", b"%25").replace(b"{", b"%7B").replace(b"}", b"%7D")


def _milliseconds(ttl: float | None) -> int | None:
    return None if ttl is None else max(1, round(ttl * 1000))
