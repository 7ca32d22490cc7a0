"""Payloads too large for a history, kept in Redis or a SQL table by the SHA-256 of their bytes (claim check).

The SDK's external storage calls these drivers for payloads over the threshold; what enters the history is the digest. A
payload is stored again whenever a workflow task is replayed, and is the same entry. Nothing is deleted: see
`docs/operations.md` for what may be. (The SDK calls this interface experimental.)
"""

from __future__ import annotations

import hashlib
import time
from abc import abstractmethod
from collections.abc import Sequence

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import RedisError
from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, String, Table, insert, select, update
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ExternalStorage,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from anabranch.context.stores.sql import create_tables, open_engine
from anabranch.errors import Unavailable, WireFormatError

_DIGEST = "sha256"
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
    """External storage at `redis://…`, or a database's URL, for payloads of `threshold` bytes and more."""
    driver: StorageDriver
    if url.partition(":")[0] in {"redis", "rediss", "unix"}:
        # What fails here fails the attempt of an activity whose work is done; to send it again changes nothing.
        retry = Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.5), 3)
        driver = RedisPayloads(Redis.from_url(url, socket_timeout=5, socket_connect_timeout=2, retry=retry))
    else:
        driver = SqlPayloads(open_engine(url))
    return ExternalStorage(drivers=[driver], payload_size_threshold=threshold)


class _ByDigest(StorageDriver):
    """Keys payloads by content, and refuses what does not match its digest."""

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Keep the payloads; one claim for each, in order."""
        packed = [payload.SerializeToString(deterministic=True) for payload in payloads]
        digests = [hashlib.sha256(each).hexdigest() for each in packed]
        await self._put(dict(zip(digests, packed, strict=True)))
        return [StorageDriverClaim(claim_data={_DIGEST: digest}) for digest in digests]

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """The payloads of the claims, in order. Raises WireFormatError for one that is gone or altered."""
        digests = [claim.claim_data.get(_DIGEST, "") for claim in claims]
        found = await self._get(digests)
        return [_verified(digest, found.get(digest)) for digest in digests]

    @abstractmethod
    async def _put(self, packed: dict[str, bytes]) -> None: ...

    @abstractmethod
    async def _get(self, digests: Sequence[str]) -> dict[str, bytes]: ...


class RedisPayloads(_ByDigest):
    """Payloads in Redis, without an expiry."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def name(self) -> str:
        """What claims in the history name."""
        return "anabranch-redis"

    async def _put(self, packed: dict[str, bytes]) -> None:
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for digest, payload in packed.items():
                    pipeline.set(_key(digest), payload)
                await pipeline.execute()
        except RedisError as error:
            raise Unavailable(f"the payload store did not answer: {type(error).__name__}") from None

    async def _get(self, digests: Sequence[str]) -> dict[str, bytes]:
        try:
            values = await self._redis.mget([_key(digest) for digest in digests])
        except RedisError as error:
            raise Unavailable(f"the payload store did not answer: {type(error).__name__}") from None
        return {digest: value for digest, value in zip(digests, values, strict=True) if isinstance(value, bytes)}


class SqlPayloads(_ByDigest):
    """Payloads in the table `anabranch_payloads`, created at the first use."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._ready = False

    def name(self) -> str:
        """What claims in the history name."""
        return "anabranch-sql"

    async def _put(self, packed: dict[str, bytes]) -> None:
        try:
            await self._create()
            for digest, payload in packed.items():
                await self._add(digest, payload)
        except (SQLAlchemyError, OSError) as error:
            raise Unavailable(f"the payload store did not answer: {type(error).__name__}") from None

    async def _add(self, digest: str, payload: bytes) -> None:
        now = int(time.time())
        try:
            async with self._engine.begin() as connection:
                await connection.execute(insert(_PAYLOADS).values(digest=digest, payload=payload, stored_at=now))
        except IntegrityError:  # it is there already, and its name says that it is the same
            async with self._engine.begin() as connection:
                there = _PAYLOADS.c.digest == digest
                await connection.execute(update(_PAYLOADS).where(there).values(stored_at=now))

    async def _get(self, digests: Sequence[str]) -> dict[str, bytes]:
        try:
            await self._create()
            async with self._engine.connect() as connection:
                rows = await connection.execute(select(_PAYLOADS).where(_PAYLOADS.c.digest.in_(digests)))
                return {row.digest: bytes(row.payload) for row in rows}
        except (SQLAlchemyError, OSError) as error:
            raise Unavailable(f"the payload store did not answer: {type(error).__name__}") from None

    async def _create(self) -> None:
        if not self._ready:
            await create_tables(self._engine, _METADATA)
            self._ready = True


def _verified(digest: str, packed: bytes | None) -> Payload:
    if packed is None:
        raise WireFormatError(
            f"the payload {digest[:16]}… is not in the payload store",
            suggestion="it was deleted before the workflow's retention was over, or the store is another one",
        )
    if hashlib.sha256(packed).hexdigest() != digest:
        raise WireFormatError(f"the payload {digest[:16]}… was altered in the payload store")
    return Payload.FromString(packed)


def _key(digest: str) -> str:
    return f"anabranch:payload:{digest}"
