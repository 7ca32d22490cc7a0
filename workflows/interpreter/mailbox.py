"""The events that were sent to a run, and that no node has received yet. What does not fit is refused, never dropped.

An event that has an id is taken once: the newest ids are remembered, in a form of one length, whatever they were.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from anabranch.context.wire import measure
from anabranch.errors import SizeLimitExceeded
from anabranch.limits import RUN_LIMITS
from anabranch.workflows.interpreter.event import Event

_AROUND: Final = 64
"""What an event counts beside its data."""
_DIGEST_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class Kept:
    """An event in the mailbox. `number` counts those that came, `size` is in bytes."""

    number: int
    event: Event
    size: int


class Mailbox:
    """The mailbox of one run."""

    def __init__(
        self,
        *,
        events: int = RUN_LIMITS.mailbox_events,
        size: int = RUN_LIMITS.mailbox_bytes,
        ids: int = RUN_LIMITS.event_ids,
    ) -> None:
        self._most, self._most_bytes, self._most_ids = events, size, ids
        self._kept: dict[int, Kept] = {}
        self._bytes = 0
        self._known: dict[str, None] = {}
        self._count = 0

    def put(self, event: Event) -> Kept | None:
        """Keep an event; None where its id is known. Raises SizeLimitExceeded, WireFormatError."""
        mark = None if event.id is None else _mark(event.name, event.id)
        if mark is not None and mark in self._known:
            return None
        size = measure(event.data) + _AROUND
        if len(self._kept) >= self._most or self._bytes + size > self._most_bytes:
            raise SizeLimitExceeded(
                f"the mailbox has {len(self._kept)} events of {self._bytes} bytes, and one of {size} bytes does not "
                f"fit beside them: the limits are {self._most} events and {self._most_bytes} bytes",
                suggestion="send it again when the run has received some of them; keep large data elsewhere",
            )
        if mark is not None:
            self._remember(mark)
        return self._keep(event, size)

    def take(self, kept: Iterable[Kept]) -> None:
        """These are received."""
        for each in kept:
            del self._kept[each.number]
            self._bytes -= each.size

    def named(self, names: Iterable[str]) -> Iterator[Kept]:
        """The events of these names, the oldest first."""
        wanted = frozenset(names)
        return (each for each in self._kept.values() if each.event.name in wanted)

    def left(self) -> str | None:
        """How many events of which names nobody has received, in words."""
        if not self._kept:
            return None
        names = Counter(each.event.name for each in self._kept.values())
        count = len(self._kept)
        listed = ", ".join(f"{name} ({times})" for name, times in names.items())
        return f"{count} event{'s were' if count > 1 else ' was'} sent that no node has received: {listed}"

    def dump(self) -> dict[str, Any]:
        """The mailbox as JSON, for continue-as-new."""
        events = [each.event.dump() for each in self._kept.values()]
        return {"events": events, "known": [*self._known]}

    @classmethod
    def load(cls, dumped: Mapping[str, Any], **limits: int) -> Self:
        """The inverse of `dump`."""
        mailbox = cls(**limits)
        mailbox._known = dict.fromkeys(dumped["known"])
        for each in dumped["events"]:
            event = Event(*each)
            mailbox._keep(event, measure(event.data) + _AROUND)
        return mailbox

    def _keep(self, event: Event, size: int) -> Kept:
        self._count += 1
        self._kept[self._count] = kept = Kept(self._count, event, size)
        self._bytes += size
        return kept

    def _remember(self, mark: str) -> None:
        self._known[mark] = None
        while len(self._known) > self._most_ids:
            del self._known[next(iter(self._known))]


def _mark(name: str, event_id: str) -> str:
    return hashlib.blake2b(f"{name}\0{event_id}".encode(), digest_size=_DIGEST_BYTES).hexdigest()
