"""What this process knows of the store's contents, and since when."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple


class _Known(NamedTuple):
    digest: bytes | None
    at: float


class DigestCache:
    """The digests that the store is known to have had less than `max_staleness` seconds ago.

    An older observation never replaces a younger one, so a load that began before a write cannot undo what the write
    made known. It remembers the `max_sessions` that were used last.
    """

    def __init__(
        self, max_staleness: float, *, max_sessions: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_staleness = max_staleness
        self._max_sessions = max_sessions
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()

    @property
    def used(self) -> bool:
        """Whether anything is ever believed without asking the store."""
        return self._max_staleness > 0

    def now(self) -> float:
        """The time to hand to `observe`: taken before the store was asked, or after it has confirmed a write."""
        return self._clock()

    def observe(self, session_id: str, digest: bytes | None, at: float) -> None:
        """The store had this digest; None: whatever it had may have changed."""
        if not self.used:
            return
        known = self._known.get(session_id)
        if known is not None and known.at > at:
            return
        self._known[session_id] = _Known(digest, at)
        self._known.move_to_end(session_id)
        if len(self._known) > self._max_sessions:
            self._known.popitem(last=False)

    def digests(self, session_ids: Sequence[str]) -> dict[str, bytes | None]:
        """Those digests that may be believed without asking."""
        if not self._known:
            return {}
        oldest = self._clock() - self._max_staleness
        found = {session_id: self._known.get(session_id) for session_id in session_ids}
        return {
            session_id: known.digest
            for session_id, known in found.items()
            if known is not None and known.digest is not None and known.at > oldest
        }
