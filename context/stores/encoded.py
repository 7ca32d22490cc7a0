"""What the stores have in common: contexts become records, and records become contexts, in one place.

With a cipher it is encrypted records that are kept: the context's bytes as a box, their digest as one encrypted block,
so that who reads the store cannot try contexts until one has the digest. The version stays readable: stores compare it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Final

from anabranch.cipher import Cipher, is_box, open_plain
from anabranch.context.distributed import DistributedContext
from anabranch.context.stores.protocol import check_expected, check_session_id, check_ttl, mismatch
from anabranch.context.stores.record import DIGEST_BYTES, Record, decode_records, digest_of
from anabranch.limits import MAX_CONTEXT_SIZE_BYTES

_CONTEXT: Final = "context"
_DIGEST: Final = "digest of a context"


class EncodedStore(ABC):
    """A ContextStore over a place that keeps records. `max_bytes` bounds a context's MessagePack, both ways.

    With a `cipher` contexts are encrypted, and those from before it are still read unless it is strict.
    """

    in_process = False

    def __init__(self, *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES, cipher: Cipher | None = None) -> None:
        self.max_bytes = max_bytes
        self._cipher = cipher

    async def save(
        self, context: DistributedContext, ttl: float | None = None, expected_version: int | None = None
    ) -> None:
        """Keep a context; with `expected_version` by compare-and-set (see ContextStore)."""
        session_id = check_session_id(context.session_id)
        record = Record.of(context, max_bytes=self.max_bytes)
        if expected_version is None:
            await self._write({session_id: self._closed(record)}, check_ttl(ttl))
            return
        expected = check_expected(expected_version)
        swapped, found = await self._swap(session_id, self._closed(record), check_ttl(ttl), expected)
        if not swapped:
            raise mismatch(session_id, expected, found)

    async def save_many(self, contexts: Iterable[DistributedContext], ttl: float | None = None) -> None:
        """Keep several contexts in one round trip."""
        records = {
            check_session_id(context.session_id): self._closed(Record.of(context, max_bytes=self.max_bytes))
            for context in contexts
        }
        if records:
            await self._write(records, check_ttl(ttl))

    async def load(self, session_id: str) -> DistributedContext | None:
        """The context, or None."""
        record = (await self.read([session_id]))[0]
        return record and record.context(session_id, max_bytes=self.max_bytes)

    async def load_many(self, session_ids: Sequence[str]) -> list[DistributedContext | None]:
        """Several contexts in one round trip."""
        records = await self.read(session_ids)
        for session_id, record in zip(session_ids, records, strict=True):
            if record is not None:
                record.check_digest(session_id)
        return decode_records(session_ids, records, max_bytes=self.max_bytes)

    async def exists(self, session_id: str) -> bool:
        """Whether there is a context."""
        return (await self.digests([session_id]))[0] is not None

    @abstractmethod
    async def delete(self, session_id: str) -> bool:
        """Whether there was something to delete."""

    @abstractmethod
    def list_sessions(self, prefix: str = "") -> AsyncIterator[str]:
        """The session ids that begin with a prefix."""

    async def read(self, session_ids: Sequence[str]) -> list[Record | None]:
        """What `load_many` would decode. Raises EncryptionKeyMissing, PlaintextRefused, WireFormatError."""
        return [record and self._opened(record) for record in await self._records(session_ids)]

    async def digests(self, session_ids: Sequence[str]) -> list[bytes | None]:
        """The digests of what is stored. Of what was encrypted with another key than the first they are others."""
        digests = await self._digests_of(session_ids)
        if (cipher := self._cipher) is None:
            return digests
        return [
            cipher.show_block(digest, _DIGEST) if digest is not None and len(digest) == DIGEST_BYTES else digest
            for digest in digests
        ]

    def _closed(self, record: Record) -> Record:
        """As it is kept."""
        if (cipher := self._cipher) is None:
            return record
        return Record(record.version, cipher.hide_block(record.digest, _DIGEST), cipher.seal(record.packed, _CONTEXT))

    def _opened(self, record: Record) -> Record:
        """As it was before `_closed`. The digest is made anew, by whichever key the box was closed."""
        cipher, box = self._cipher, record.packed
        packed = open_plain(box, _CONTEXT) if cipher is None else cipher.open(box, _CONTEXT)
        return record._replace(digest=digest_of(packed), packed=packed) if is_box(box) else record

    @abstractmethod
    async def _records(self, session_ids: Sequence[str]) -> list[Record | None]:
        """What is kept."""

    @abstractmethod
    async def _digests_of(self, session_ids: Sequence[str]) -> list[bytes | None]:
        """The digests of what is kept, as they are kept."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close the connections."""

    @abstractmethod
    async def _write(self, records: Mapping[str, Record], ttl: float | None) -> None:
        """Keep records whatever was there."""

    @abstractmethod
    async def _swap(self, session_id: str, record: Record, ttl: float | None, expected: int) -> tuple[bool, int | None]:
        """Keep a record where the expected version (0: nothing) is there: whether it was, and the version found."""
