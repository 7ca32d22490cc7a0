"""`emit` nodes: an event for a topic of NATS or Kafka, or for another run, at least once.

Its id is the node's idempotency key, the same for every attempt: NATS drops a second one within its stream's duplicate
window, a run takes an id once, and Kafka has it as a header for those who read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import quote

from temporalio import activity

from anabranch import spans
from anabranch.activities.emit.sinks import Sinks
from anabranch.activities.idempotency_key import header_key
from anabranch.activities.node_result import NodeResult
from anabranch.activities.rendering import render
from anabranch.brokers.address import check_topic
from anabranch.brokers.source import Outgoing
from anabranch.context.values import Json
from anabranch.errors import ConfigurationError, NodeError
from anabranch.graph.expressions.json_text import text_of
from anabranch.graph.model import EmitNode
from anabranch.observe import metrics
from anabranch.transport.events_to_runs import send_event
from anabranch.transport.node_protocol import NodeTask

EVENT_ID: Final = "Anabranch-Event-Id"
_TYPES: Final = {"json": "application/json", "cloudevents": "application/cloudevents+json"}


class EmitActivity:
    """Runs `emit` nodes over shared connections."""

    def __init__(self, *, connections: Sequence[str] = ("*",), environ: Mapping[str, str] | None = None) -> None:
        self._sinks = Sinks(environ, names=connections)

    async def __call__(self, task: NodeTask, node: EmitNode) -> NodeResult:
        """Send the event; returns when it is stored. Raises RunNotFound, NodeError, Unavailable."""
        event_id = header_key(task.key)
        if node.to == "run":
            return await self._to_run(task, node, event_id)
        topic = _checked_topic(node, await _text(node.topic, task))
        message = Outgoing(
            topic,
            json.dumps(await _body(task, node, event_id), ensure_ascii=False, separators=(",", ":")).encode(),
            event_id,
            await _text(node.key, task),
            await _headers(task, node, event_id),
        )
        sink = await self._sinks.get(node.connection or "", node.to)
        with spans.span(f"publish {task.run.graph}", {"anabranch.graph": task.run.graph}, kind="producer"):
            await sink.publish(message)
        metrics.count(metrics.EVENTS_PUBLISHED, task.run.graph, "emit")
        return NodeResult({"id": event_id, "topic": topic})

    async def aclose(self) -> None:
        """Leave the brokers."""
        await self._sinks.aclose()

    async def _to_run(self, task: NodeTask, node: EmitNode, event_id: str) -> NodeResult:
        run, name = await _text(node.run, task), await _text(node.event, task)
        data = await render(node.data, task)
        with spans.span(f"event {task.run.graph}", {"anabranch.graph": task.run.graph}, kind="producer"):
            await send_event(activity.client(), run, name=name, event_id=event_id, data=data)
        return NodeResult({"id": event_id, "run": run})


def _checked_topic(node: EmitNode, topic: str) -> str:
    try:
        return check_topic(node.to, topic, "topic")
    except ConfigurationError as error:
        raise NodeError(f"the node publishes to no topic: {error.message}", suggestion=error.suggestion) from None


async def _text(template: str | None, task: NodeTask) -> str:
    return "" if template is None else text_of(await render(template, task))


async def _headers(task: NodeTask, node: EmitNode, event_id: str) -> dict[str, str]:
    given = cast("dict[str, Json]", await render(dict(node.headers), task))  # a template keeps its shape
    own = {**spans.headers(), "Content-Type": _TYPES[node.format], EVENT_ID: event_id}
    named = {name: text_of(value) for name, value in given.items()}
    for name, value in named.items():
        if not value.isprintable():
            raise NodeError(f"the header {name!r} has characters that do not print", suggestion="send them as `data`")
    overridden = {name.lower() for name in named}
    return {name: value for name, value in own.items() if name.lower() not in overridden} | named


async def _body(task: NodeTask, node: EmitNode, event_id: str) -> Json:
    """The data; in the form of CloudEvents 1.0, its structured mode, within what that says of it."""
    data = await render(node.data, task)
    if node.format == "json":
        return data
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": event_id,
        "source": await _text(node.source, task) or f"/anabranch/{quote(task.run.graph)}",
        "type": await _text(node.event, task),
        "time": task.run.time,
        "datacontenttype": "application/json",
        "data": data,
    }
    return envelope
