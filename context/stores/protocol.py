"""What every store can do, and the rules for its arguments."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final, Protocol

from anabranch.context.distributed import DistributedContext
from anabranch.context.stores.record import Record
from anabranch.errors import InputError, VersionMismatch

MAX_SESSION_ID_BYTES: Final = 512
_LONGEST_TTL: Final = 100 * 365 * 86_400.0


class ContextStore(Protocol):
    """Keeps contexts by their session id.

    A context lives for `ttl` seconds from its last save; without one until it is deleted. What has expired is not
    there. Every method raises Unavailable (which may be retried) where the store does not answer, and InputError for a
    session id that is empty, longer than 512 bytes of UTF-8 or holds a NUL, and for a `ttl` that is not positive.
    Results are in the order of what was asked for. `in_process` says that the store answers at once, so
    that nothing is gained by asking another one meanwhile.
    """

    in_process: bool

    async def save(
        self, context: DistributedContext, ttl: float | None = None, expected_version: int | None = None
    ) -> None:
        """Keep a context. With `expected_version` only where that version is there now (0: where nothing is).

        Raises VersionMismatch, WireFormatError and SizeLimitExceeded, and has changed nothing then.
        """
        ...

    async def load(self, session_id: str) -> DistributedContext | None:
        """The context, or None. Raises WireFormatError where what is stored is damaged."""
        ...

    async def delete(self, session_id: str) -> bool:
        """Whether there was something to delete."""
        ...

    async def exists(self, session_id: str) -> bool:
        """Whether there is a context."""
        ...

    def list_sessions(self, prefix: str = "") -> AsyncIterator[str]:
        """The session ids that begin with a prefix, page by page, in no order.

        What is saved or deleted meanwhile may be named or not; Redis may then name an id twice.
        """
        ...

    async def save_many(self, contexts: Iterable[DistributedContext], ttl: float | None = None) -> None:
        """Keep several contexts in one round trip; of one session the last. Raises as `save`."""
        ...

    async def load_many(self, session_ids: Sequence[str]) -> list[DistributedContext | None]:
        """Several contexts in one round trip. Raises as `load`."""
        ...

    async def read(self, session_ids: Sequence[str]) -> list[Record | None]:
        """What `load_many` would decode, as it is stored."""
        ...

    async def digests(self, session_ids: Sequence[str]) -> list[bytes | None]:
        """The digests of what is stored, without reading the contexts (Memcached has to read them)."""
        ...

    async def aclose(self) -> None:
        """Close the connections. A closed store is not used again."""
        ...


def check_session_id(session_id: str) -> str:
    """The session id itself. Raises InputError."""
    if (
        type(session_id) is str
        and session_id.isascii()
        and 0 < len(session_id) <= MAX_SESSION_ID_BYTES
        and "\0" not in session_id
    ):
        return session_id
    try:
        size = len(session_id.encode())
    except (UnicodeEncodeError, AttributeError):
        raise InputError(f"{session_id!r} is not a session id", suggestion="a session id is text") from None
    if not 1 <= size <= MAX_SESSION_ID_BYTES or "\0" in session_id:
        raise InputError(
            f"a session id has 1 to {MAX_SESSION_ID_BYTES} bytes of UTF-8 and no NUL; this one has {size} bytes",
            place=session_id[:50],
        )
    return session_id


def check_ttl(ttl: float | None) -> float | None:
    """The lifetime in seconds itself. Raises InputError."""
    if ttl is not None and not (math.isfinite(ttl) and 0 < ttl <= _LONGEST_TTL):
        raise InputError(f"ttl must be a positive number of seconds, not {ttl!r}", suggestion="give None for no end")
    return ttl


def check_expected(version: int) -> int:
    """The expected version itself. Raises InputError."""
    if version < 0:
        raise InputError(f"{version} is not a version", suggestion="expect a version from 1, or 0 for no context")
    return version


def mismatch(session_id: str, expected: int, found: int | None) -> VersionMismatch:
    """The error of a failed compare-and-set; `found` is None where no context is stored."""
    there = "does not exist" if found is None else f"has version {found}"
    wanted = "it should not exist" if expected == 0 else f"version {expected} was expected"
    return VersionMismatch(
        f"the context {session_id!r} {there}, and {wanted}",
        place=session_id,
        suggestion="load it again and repeat the change, as DistributedCache.update does",
    )
