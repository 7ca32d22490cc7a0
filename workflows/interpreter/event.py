"""An `Event`: what a signal brings to a run, and what a node makes of it that receives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from anabranch.context.values import Json
from anabranch.errors import InputError
from anabranch.graph.model import ReceiveNode

LONGEST_ID: Final = 256
"""Characters of an event's id."""
LONGEST_NAME: Final = 100
"""Characters of the name of who sends an event."""
FORM: Final = 'send {"name": …, "id": …, "data": …}; `id` and `data` may be left out'
"""Of the results of runs that are recorded: `by` is not in it, so that these stay the same."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that somebody tells a run. `id` is the same however often it is sent."""

    name: str
    id: str | None
    data: Json
    by: str | None = None
    """Who says to have sent it. The run has no proof of it."""

    def dump(self) -> list[Json]:
        """As `Event(*dumped)` takes it again. Without a sender it is what earlier releases wrote."""
        return [self.name, self.id, self.data, *([] if self.by is None else [self.by])]

    def sent(self) -> dict[str, Json]:
        """As the signal brings it: the inverse of `event_of`."""
        said: dict[str, Json] = {"name": self.name, "id": self.id, "data": self.data, "by": self.by}
        return {field: value for field, value in said.items() if field == "data" or value is not None}

    def root(self) -> dict[str, Json]:
        """The event as `result` shows it."""
        return {"name": self.name, "id": self.id, "data": self.data}


def received(node: ReceiveNode, events: Sequence[Event]) -> Json:
    """What the node's `output` sees as `result`: the event, or with `mode: all` each of them by its name."""
    if node.mode == "any":
        return events[0].root()
    return {event.name: event.root() for event in events}


def data_of(node: ReceiveNode, result: Json) -> Json:
    """What the node writes without an `output`: the data of the event, or of each by its name."""
    found = cast("dict[str, dict[str, Json]]", result)
    if node.mode == "any":
        return cast("dict[str, Json]", result)["data"]
    return {name: event["data"] for name, event in found.items()}


def event_of(sent: object) -> Event:
    """The event that a signal brings: `{name, id, data, by}`. Raises InputError, WireFormatError."""
    if not isinstance(sent, dict) or not isinstance(name := sent.get("name"), str) or not name:
        raise InputError("the signal takes one JSON object with a `name`", suggestion=FORM)
    if unknown := sorted(map(str, sent.keys() - {"name", "id", "data", "by"})):
        raise InputError(f"an event has no field {unknown[0][:64]!r}", suggestion=FORM)
    event_id = sent.get("id")
    if isinstance(event_id, bool) or not isinstance(event_id, str | int | None):
        raise InputError("an event's id is text or an integer", suggestion=FORM)
    text = None if event_id is None or event_id == "" else str(event_id)
    if text is not None and (len(text) > LONGEST_ID or not text.isprintable()):
        raise InputError(f"an event's id has at most {LONGEST_ID} characters, all of which print", suggestion=FORM)
    return Event(name, text, sent.get("data"), _sender(sent.get("by")))


def _sender(by: object) -> str | None:
    if by is None or by == "":
        return None
    if not isinstance(by, str) or len(by) > LONGEST_NAME or not by.isprintable():
        raise InputError(f"an event's `by` is a name of at most {LONGEST_NAME} printable characters", suggestion=FORM)
    return by
