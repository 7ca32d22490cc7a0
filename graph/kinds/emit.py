"""What an `emit` node must be: where its event goes, and what belongs to that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from anabranch.errors import Problem
from anabranch.graph.kinds.fields import texts
from anabranch.graph.kinds.finder import Finder
from anabranch.graph.kinds.http import secret_in
from anabranch.graph.model import EmitNode

_OF_BROKERS: Final = ("connection", "topic", "key", "headers", "format", "source")
_SAID: Final = {"connection": "a `connection`", "topic": "a `topic`", "run": "a `run`", "event": "an `event`"}


def check_emit(node: EmitNode, finder: Finder) -> Iterator[Problem]:
    """What is missing, and what does not belong to where the event goes."""
    needed = ("run", "event") if node.to == "run" else ("connection", "topic")
    for name in needed:
        if getattr(node, name) is None:
            suggestion = f"give it {_SAID[name]}"
            yield finder.problem("EMIT_TARGET", f"goes to {node.to}, and has no `{name}`", suggestion=suggestion)
    if node.format == "cloudevents" and node.event is None:
        message = "has the form of CloudEvents, whose `type` is its `event`, and has none"
        yield finder.problem("EMIT_TARGET", message, "format", suggestion="give it an `event`")
    for name in _without_effect(node):
        if getattr(node, name) != type(node).model_fields[name].get_default(call_default_factory=True):
            message = f"has `{name}`, which an event for {node.to} does not have"
            yield finder.problem("FIELD_HAS_NO_EFFECT", message, name, suggestion="remove it")
    yield from _secrets(node, finder)


def emit_summary(node: EmitNode) -> str:
    """Where its event goes."""
    return f"{node.event} to run {node.run}" if node.to == "run" else f"to {node.to} {node.topic}"


def _without_effect(node: EmitNode) -> Iterator[str]:
    if node.to == "run":
        yield from _OF_BROKERS
        return
    yield "run"
    if node.to == "nats":
        yield "key"
    if node.format == "json":
        yield from ("event", "source")


def _secrets(node: EmitNode, finder: Finder) -> Iterator[Problem]:
    for field in ("topic", "run", "event", "key", "headers", "data", "source"):
        for path, text in texts(getattr(node, field), (field,)):
            if (variable := secret_in(text)) is not None:
                message = f"has `env:{variable}`, which would be sent as it is written"
                suggestion = "an event holds no secret of the worker: who reads the topic would know it"
                yield finder.problem("EMIT_SECRET", message, *path, suggestion=suggestion)
