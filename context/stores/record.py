"""A context as a store keeps it: its version, the digest of its bytes, and its bytes."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple, Self

from anabranch.context.distributed import DistributedContext
from anabranch.errors import InputError, WireFormatError
from anabranch.limits import MAX_CONTEXT_SIZE_BYTES

DIGEST_BYTES: Final = 16
VERSION_BYTES: Final = 8
HEADER_BYTES: Final = VERSION_BYTES + DIGEST_BYTES
_header: Final = struct.Struct(f">Q{DIGEST_BYTES}s").unpack_from
_LARGEST_VERSION: Final = 2**63 - 1
_blake2b: Final = hashlib.blake2b
_tuple: Final = tuple.__new__


class Record(NamedTuple):
    """What is stored of one context. Not to be believed before `context` has looked at it.

    `digest` is the BLAKE2b-128 of `packed`: two records with one digest hold the same context at the same version.
    """

    version: int
    digest: bytes
    packed: bytes

    @classmethod
    def of(cls, context: DistributedContext, *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES) -> Self:
        """The record of a context. Raises WireFormatError, SizeLimitExceeded, and InputError for a version below 1."""
        version = context.metadata.version
        if not 1 <= version <= _LARGEST_VERSION:
            raise InputError(
                f"the context {context.session_id!r} has the version {version}", suggestion="versions count from 1"
            )
        packed = context.serialize(max_bytes=max_bytes)
        return cls(version, digest_of(packed), packed)

    @classmethod
    def from_bytes(cls, framed: bytes) -> Self:
        """From the bytes of `to_bytes`, or from any others: `context` finds out."""
        version, digest = _header(framed) if len(framed) >= HEADER_BYTES else (0, b"")
        return _tuple(cls, (version, digest, framed[HEADER_BYTES:]))

    def to_bytes(self) -> bytes:
        """Version (8 bytes, big-endian), digest (16 bytes), and the MessagePack of the context."""
        return version_bytes(self.version) + self.digest + self.packed

    def is_whole(self) -> bool:
        """Whether the bytes have the digest."""
        return digest_of(self.packed) == self.digest

    def context(self, session_id: str, *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES) -> DistributedContext:
        """The context, which nobody else holds.

        Raises WireFormatError where the bytes are damaged or are not this session's context, and SizeLimitExceeded.
        """
        self.check_digest(session_id)
        return self.decode(session_id, max_bytes=max_bytes)

    def check_digest(self, session_id: str) -> None:
        """Raises WireFormatError where the bytes do not have the digest."""
        if not self.is_whole():
            raise _damaged(session_id, "damaged: its bytes do not have the stored digest")

    def decode(self, session_id: str, *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES) -> DistributedContext:
        """The context of a record that is known to be whole. Raises as `context` does."""
        context = DistributedContext.deserialize(self.packed, max_bytes=max_bytes)
        self.check(session_id, context)
        return context

    def check(self, session_id: str, context: DistributedContext) -> None:
        """Raises WireFormatError where the record's bytes gave another session's context, or another version."""
        version = context.metadata.version
        if context.session_id != session_id or version != self.version:
            raise _damaged(session_id, f"of the session {context.session_id!r}, version {version}")


def decode_records(
    session_ids: Sequence[str], records: Sequence[Record | None], *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES
) -> list[DistributedContext | None]:
    """The contexts of records that are known to be whole, as `Record.decode` gives them, faster. Raises as it does."""
    contexts = iter(
        DistributedContext.deserialize_many([record.packed for record in records if record], max_bytes=max_bytes)
    )
    found: list[DistributedContext | None] = []
    for session_id, record in zip(session_ids, records, strict=True):
        context = next(contexts) if record else None
        if record and context:
            record.check(session_id, context)
        found.append(context)
    return found


def _damaged(session_id: str, how: str) -> WireFormatError:
    return WireFormatError(
        f"what is stored of the context {session_id!r} is {how}",
        place=session_id,
        suggestion="delete the session, or save it again",
    )


def digest_of(packed: bytes) -> bytes:
    """The 16-byte digest of a context's bytes."""
    return _blake2b(packed, digest_size=DIGEST_BYTES).digest()


def version_bytes(version: int) -> bytes:
    """A version as the first 8 bytes of a record."""
    return version.to_bytes(VERSION_BYTES, "big")
