"""Dead letters, sent again: each is published to the topic that it came from, without what made it a dead letter.

An event whose run has failed gets another id, or its workflow id would be taken: `7~2` for `7`. One that was never
taken keeps its id. Whoever is killed on the way sends again what was not acknowledged, under the same message ids.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from anabranch.brokers.source import EventSink, EventSource, Message, Outgoing
from anabranch.events.publishing import BODY_LEFT_OUT, EVENT_ID, OWN, RUN, is_reserved

_AGAIN: Final = re.compile(r"(.*)~(\d{1,6})", re.DOTALL)
_QUIET: Final = 2
"""So many times nothing has come in a row, then there is no more."""

log = structlog.get_logger("anabranch.events")


@dataclass(slots=True)
class Resent:
    """What became of dead letters. Those that are `left` have lost their body: there is nothing to send."""

    sent: int = 0
    left: int = 0


async def resend(
    source: EventSource, sink: EventSink, topic: str, *, id_header: str = EVENT_ID, at_once: int = 32
) -> Resent:
    """Send the dead letters again that `source` has now, to `topic`. Raises Unavailable, SizeLimitExceeded.

    `id_header` is where those who take them look for an event's id. What comes meanwhile may be a letter of this very
    command, whose event has failed again: it is left there.
    """
    counts, quiet, began = Resent(), 0, time.time() * 1000
    while quiet < _QUIET:
        found = [each for each in await source.fetch(at_once) if each.message.stored_at <= began]
        quiet = 0 if found else quiet + 1
        for delivery in found:
            if _header(delivery.message, BODY_LEFT_OUT) is not None:
                log.warning("a dead letter has no body to send", position=delivery.message.position)
                counts.left += 1
            else:
                await sink.publish(again(delivery.message, topic, id_header))
                counts.sent += 1
            await delivery.acknowledge()
    return counts


def again(message: Message, topic: str, id_header: str = EVENT_ID) -> Outgoing:
    """The event of a dead letter, with its id in the header `id_header`."""
    own = {name.lower() for name in OWN}
    headers = {
        name: value for name, value in message.headers.items() if name.lower() not in own and not is_reserved(name)
    }
    is_of_run = _header(message, RUN) is not None
    if (event_id := _header(message, EVENT_ID)) is not None and (is_of_run or not _has(headers, id_header)):
        headers = {name: value for name, value in headers.items() if name.lower() != id_header.lower()}
        headers[id_header] = _next(event_id) if is_of_run else event_id
    return Outgoing(topic, message.body, f"again/{message.identity}", message.identity, headers)


def _has(headers: Mapping[str, str], name: str) -> bool:
    return any(given.lower() == name.lower() for given in headers)


def _next(event_id: str) -> str:
    found = _AGAIN.fullmatch(event_id)
    return f"{event_id}~2" if found is None else f"{found[1]}~{int(found[2]) + 1}"


def _header(message: Message, name: str) -> str | None:
    return next((value for given, value in message.headers.items() if given.lower() == name.lower()), None)
