"""The activity `publish_event`, and what published messages look like."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, cast

from temporalio import activity
from temporalio.exceptions import ApplicationError

from anabranch import spans
from anabranch.brokers.source import EventSink, Message, Outgoing
from anabranch.cipher import Cipher, is_box
from anabranch.context.distributed import ContextMetadata, DistributedContext
from anabranch.errors import AnabranchError, SizeLimitExceeded
from anabranch.events.event import CONTENT_TYPES, ENCRYPTED, LABEL, Event, Format, encode_body
from anabranch.events.event_workflow import PUBLISH, EventContext, Publication, run_id
from anabranch.limits import MAX_CONTEXT_SIZE_BYTES
from anabranch.observe import metrics

EVENT_ID: Final = "Anabranch-Event-Id"
SESSION_ID: Final = "Anabranch-Session-Id"
VERSION: Final = "Anabranch-Context-Version"
GRAPH: Final = "Anabranch-Graph"
RUN: Final = "Anabranch-Run"
SOURCE: Final = "Anabranch-Source"
CODE: Final = "Anabranch-Error-Code"
REASON: Final = "Anabranch-Error-Reason"
BODY_LEFT_OUT: Final = "Anabranch-Body-Left-Out"
OWN: Final = frozenset({EVENT_ID, SESSION_ID, VERSION, GRAPH, RUN, SOURCE, CODE, REASON, BODY_LEFT_OUT})
_LONGEST_REASON: Final = 1000
_LONGEST_SEALED: Final = 300
"""Characters of a reason that is encrypted, which takes four times as many bytes at most."""


class Publisher:
    """Publishes the outcomes of runs, and events that cannot be read.

    With a `cipher` bodies and the reasons of dead letters are encrypted.
    """

    def __init__(
        self, sink: EventSink, *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES, cipher: Cipher | None = None
    ) -> None:
        self._sink = sink
        self._max_bytes = max_bytes
        self._cipher = cipher

    @activity.defn(name=PUBLISH)
    async def publish(self, publication: Publication) -> None:
        """Publish a run's context, or the dead letter of a run that failed."""
        graph = publication.run.graph
        with spans.span(f"publish {graph}", {"anabranch.graph": graph}, kind="producer"):
            try:
                if publication.code is None:
                    await self._sink.publish(self._outgoing(publication))
                    metrics.count(metrics.EVENTS_PUBLISHED, graph, "result")
                else:
                    await self._publish_dead_letter(self._outgoing(publication))
                    metrics.count(metrics.EVENTS_PUBLISHED, graph, "dead_letter")
            except AnabranchError as error:
                raise ApplicationError(str(error), type=error.code, non_retryable=not error.retryable) from error

    async def dead_letter(
        self, message: Message, topic: str, graph: str, error: AnabranchError, event: Event | None = None
    ) -> None:
        """Publish a message as it came, with the reason, and the id of the `event` in it. Raises Unavailable."""
        headers = {name: value for name, value in message.headers.items() if not is_reserved(name)}
        headers |= {GRAPH: graph, SOURCE: message.position, CODE: error.code, REASON: self._reason(str(error))}
        if event is not None:  # it may be its place in the broker, which another message will not have
            headers[EVENT_ID] = event.id
        letter = Outgoing(topic, message.body, f"dead/{graph}:{message.identity}", message.position, headers)
        await self._publish_dead_letter(self._closed(letter))
        metrics.count(metrics.EVENTS_PUBLISHED, graph, "dead_letter")

    async def _publish_dead_letter(self, letter: Outgoing) -> None:
        headers = {**letter.headers, BODY_LEFT_OUT: f"{len(letter.body)} bytes"}
        try:
            await self._sink.publish(letter)
        except SizeLimitExceeded:
            try:
                await self._sink.publish(replace(letter, body=b"", headers=headers))
            except SizeLimitExceeded:  # the message's own headers are as large as the broker allows
                own = {name: value for name, value in headers.items() if name in OWN}
                await self._sink.publish(replace(letter, body=b"", headers=own))

    def _outgoing(self, publication: Publication) -> Outgoing:
        run, context = publication.run, _context(publication.context)
        form = cast("Format", run.format)
        headers = {
            **(spans.headers() or run.trace),
            "Content-Type": CONTENT_TYPES[form],
            EVENT_ID: run.event_id,
            SESSION_ID: context.session_id,
            VERSION: str(context.metadata.version),
            GRAPH: run.graph,
            RUN: run.run,
        }
        message_id = run_id(run.graph, run.event_id)
        if publication.code is not None:
            headers |= {SOURCE: run.position, CODE: publication.code, REASON: self._reason(publication.reason or "")}
            message_id = f"dead/{message_id}"
        body = encode_body(context, form, max_bytes=self._max_bytes)
        return self._closed(Outgoing(publication.topic, body, message_id, context.session_id, _lines(headers)))

    def _closed(self, message: Outgoing) -> Outgoing:
        """The message with its body encrypted, which may have come so."""
        if self._cipher is None or is_box(message.body):
            return message
        body = self._cipher.seal(message.body, LABEL)
        return replace(message, body=body, headers={**message.headers, **ENCRYPTED})

    def _reason(self, reason: str) -> str:
        """A reason as a header's value. An error may quote values, so that it is encrypted too, as base64."""
        if self._cipher is None:
            return _line(reason)
        return base64.b64encode(self._cipher.seal(_line(reason[:_LONGEST_SEALED]).encode(), LABEL)).decode()


def event_context(context: DistributedContext) -> EventContext:
    """A context as a run's input has it."""
    created_at, updated_at, version, modified_by, tags = context.metadata
    return EventContext(context.session_id, context.data, created_at, updated_at, version, modified_by, list(tags))


def _context(given: EventContext) -> DistributedContext:
    metadata = ContextMetadata(given.created_at, given.updated_at, given.version, given.modified_by, tuple(given.tags))
    return DistributedContext(given.session_id, given.data, metadata)


def is_reserved(name: str) -> bool:
    """Whether a header has a meaning for the broker, and would have it again."""
    return name.lower().startswith("nats-")


def _lines(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: _line(value) for name, value in headers.items()}


def _line(text: str) -> str:
    """Text as a header's value: one line of printable characters."""
    return "".join(char if char.isprintable() else " " for char in text)[:_LONGEST_REASON]
