"""What any broker offers: a source of deliveries, and a sink to publish to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """An event as the broker holds it.

    `position` is its place there (`ORDERS-17`: stream and sequence; `orders-0-42`: topic, partition, offset);
    `message_id` is the id that its publisher gave to the broker, if the broker has such ids; `stored_at` is
    the broker's time for it in Unix milliseconds, 0 if it has none.
    """

    body: bytes
    headers: Mapping[str, str]
    position: str
    message_id: str | None = None
    stored_at: int = 0

    @property
    def identity(self) -> str:
        """What identifies it: positions repeat if a stream or a topic is created again."""
        return f"{self.position}@{self.stored_at}" if self.stored_at > 0 else self.position


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish. The broker detects duplicates by `id`, if it can; messages of one `key` stay in order."""

    topic: str
    body: bytes
    id: str
    key: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Delivery(Protocol):
    """One delivery of a message; the broker delivers it again until it is acknowledged."""

    @property
    def message(self) -> Message:
        """What was delivered."""
        ...

    async def acknowledge(self) -> None:
        """Say that it need not be delivered again."""
        ...

    async def extend(self) -> None:
        """Say that it is still being worked on."""
        ...


class EventSource(Protocol):
    """Delivers the events of a topic, to one of those who share a consumer's name. Reconnects by itself."""

    async def fetch(self, limit: int) -> Sequence[Delivery]:
        """At most `limit` deliveries; none if nothing came for a second. Raises Unavailable."""
        ...

    async def aclose(self) -> None:
        """Flush the acknowledgements and leave."""
        ...


class EventSink(Protocol):
    """Publishes to a broker's topics. Reconnects by itself."""

    async def publish(self, message: Outgoing) -> None:
        """Returns when the broker has stored the message.

        Raises Unavailable, and SizeLimitExceeded if the broker rejects a message of this size.
        """
        ...

    async def aclose(self) -> None:
        """Flush and leave."""
        ...
