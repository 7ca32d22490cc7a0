"""Payloads too large for a history, kept in Redis or a SQL table by the SHA-256 of their bytes (claim check).

The SDK's external storage calls these drivers for payloads over the threshold; the history holds the digest. When
a workflow task is replayed its payloads are stored again, as the same entries. Nothing is deleted: see
`docs/operations.md` for what you may delete. (The SDK calls this interface experimental.)
"""

from __future__ import annotations

import hashlib
import re
import time
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager

from google.protobuf.message import DecodeError
from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, String, Table, select
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ExternalStorage,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from anabranch.errors import Unavailable, WireFormatError, not_a_url
from anabranch.redis_client import SCHEMES, RedisClient
from anabranch.sql import DRIVERS
from anabranch.sql.engines import open_engine
from anabranch.sql.errors import as_unavailable
from anabranch.sql.sqlite_session import share_file
from anabranch.sql.tables import LazyTables
from anabranch.sql.transactions import in_transaction
from anabranch.sql.upsert import upsert
from anabranch.transport.undecodable import undecodable

_VARIABLE = "PAYLOAD_STORE_URL"
_DIGEST = "sha256"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_METADATA = MetaData()
_PAYLOADS = Table(
    "anabranch_payloads",
    _METADATA,
    Column("digest", String(64), primary_key=True),
    Column("payload", LargeBinary().with_variant(mysql.LONGBLOB(), "mysql"), nullable=False),
    Column("stored_at", BigInteger, nullable=False, index=True, comment="Unix seconds; the last time"),
    mysql_engine="InnoDB",
)


def offloading(url: str, *, threshold: int) -> ExternalStorage:
    """External storage at the URL of a Redis or of a database, for payloads of `threshold` bytes and more.

    Raises ConfigurationError naming PAYLOAD_STORE_URL.
    """
    scheme = url.partition(":")[0].lower().partition("+")[0]
    driver: StorageDriver
    if scheme in SCHEMES:
        # A failure here fails an activity whose work is done, so calls wait long and are retried.
        driver = RedisPayloads(RedisClient.from_url(url, variable=_VARIABLE, timeout=5))
    elif scheme in DRIVERS:
        driver = SqlPayloads(open_engine(url, variable=_VARIABLE, read_committed=True))
    else:
        raise not_a_url("a Redis or a database", _VARIABLE, "write redis://host:6379/0 or postgresql://user@host/name")
    return ExternalStorage(drivers=[driver], payload_size_threshold=threshold)


class _ByDigest(StorageDriver):
    """Keys payloads by content, and gives none that does not match its digest."""

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Keep the payloads; one claim for each, in order."""
        packed = [payload.SerializeToString(deterministic=True) for payload in payloads]
        digests = [hashlib.sha256(each).hexdigest() for each in packed]
        await self._put(dict(zip(digests, packed, strict=True)))
        return [StorageDriverClaim(claim_data={_DIGEST: digest}) for digest in digests]

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """The payloads of the claims, in order. In place of one that is gone or altered comes the reason."""
        digests = [claim.claim_data.get(_DIGEST, "") for claim in claims]
        # A claim may be forged, and a database that refuses a wrong text would look like one that is down.
        asked = [digest for digest in digests if _SHA256.fullmatch(digest)]
        found = await self._get(asked) if asked else {}
        return [_verified(digest, found.get(digest)) for digest in digests]

    @abstractmethod
    async def _put(self, packed: dict[str, bytes]) -> None: ...

    @abstractmethod
    async def _get(self, digests: Sequence[str]) -> dict[str, bytes]: ...


class RedisPayloads(_ByDigest):
    """Payloads in Redis, without an expiry."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis

    def name(self) -> str:
        """The name of the driver in the history's claims."""
        return "anabranch-redis"

    async def _put(self, packed: dict[str, bytes]) -> None:
        async with self._redis as redis, redis.pipeline(transaction=False) as pipeline:
            for digest, payload in packed.items():
                pipeline.set(_key(digest), payload)
            await pipeline.execute()

    async def _get(self, digests: Sequence[str]) -> dict[str, bytes]:
        values = await self._redis.mget([_key(digest) for digest in digests])
        return {digest: value for digest, value in zip(digests, values, strict=True) if value is not None}


class SqlPayloads(_ByDigest):
    """Payloads in the table `anabranch_payloads`, created at the first use."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._tables = LazyTables(engine, _METADATA)
        # A payload that exists already is the same one: only its age is renewed.
        self._upsert = upsert(_PAYLOADS, engine.dialect.name, ["stored_at"])
        share_file(engine)

    def name(self) -> str:
        """The name of the driver in the history's claims."""
        return "anabranch-sql"

    async def _put(self, packed: dict[str, bytes]) -> None:
        now = int(time.time())
        # Sorted, so that two writers of the same rows never wait for each other.
        rows = [{"digest": digest, "payload": packed[digest], "stored_at": now} for digest in sorted(packed)]
        with _failures():
            await self._tables.ready()
            await in_transaction(self._engine, lambda connection: connection.execute(self._upsert, rows))

    async def _get(self, digests: Sequence[str]) -> dict[str, bytes]:
        with _failures():
            await self._tables.ready()
            async with self._engine.connect() as connection:
                rows = await connection.execute(select(_PAYLOADS).where(_PAYLOADS.c.digest.in_(digests)))
                return {row.digest: bytes(row.payload) for row in rows}


def _failures() -> AbstractContextManager[None]:
    return as_unavailable(_VARIABLE, "is it up, and may this user create and write anabranch_payloads?")


def _verified(digest: str, packed: bytes | None) -> Payload:
    if packed is None:
        gone = Unavailable(
            f"the payload {digest[:16]}… is not in the payload store",
            suggestion="it was deleted before the workflow's retention was over, or the store is another one",
        )
        return undecodable(gone)
    if hashlib.sha256(packed).hexdigest() != digest:
        return undecodable(WireFormatError(f"the payload {digest[:16]}… was altered in the payload store"))
    try:
        return Payload.FromString(packed)
    except DecodeError:
        return undecodable(WireFormatError(f"what the payload store has for {digest[:16]}… is not a payload"))


def _key(digest: str) -> str:
    return f"anabranch:payload:{digest}"
