"""The wires by which payloads come to a run: what comes by each, and the code of the project that reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.exceptions import ApplicationError

from anabranch.brokers.source import Message
from anabranch.context.changes import ChangeSet
from anabranch.context.distributed import ContextMetadata, DistributedContext
from anabranch.errors import AnabranchError
from anabranch.events.event import Reading, read_event
from anabranch.limits import RunLimits
from anabranch.transport.codec import ZstdCodec
from anabranch.transport.converter import data_converter
from anabranch.transport.node_protocol import GraphRequest, NodeTask, PinnedGraph, RunInfo
from anabranch.transport.wire_types import NAMES, pack, unpack
from anabranch.workflows.interpreter.commands import AskConflict, AskPerson
from anabranch.workflows.interpreter.input import check_input
from anabranch.workflows.temporal import updates
from anabranch.workflows.temporal.inbox import Inbox
from anabranch.workflows.temporal.requests import checked, nothing, the_object
from tests.json_values import unchecked
from tests.unit.machine_kit import Outcome, Play, edge, failure, machine_of

CONVERTER = data_converter().payload_converter
_CODEC = ZstdCodec()
REFUSALS = (AnabranchError, ApplicationError)
_OF_THE_SDK = (RuntimeError, KeyError, ValueError)
"""What the SDK's own converters raise for payloads that are not ours to read."""
_SCHEMA = {"type": "object", "required": ["agreed"], "properties": {"agreed": {"type": "boolean"}}}

GRAPH: Mapping[str, Any] = {
    "context": {"conflict_resolution": "fail_on_conflict", "schema": {"type": "object"}},
    "nodes": {
        "low": {"type": "rule", "rules": [{"then": {"price": 1}}]},
        "high": {"type": "rule", "rules": [{"then": {"price": 2}}]},
        "settle": {"type": "approval", "prompt": "settle"},
        "agree": {"type": "approval", "prompt": "{{ total }}", "schema": _SCHEMA},
        "broken": {"type": "rule", "on_failure": "pause", "rules": [{"then": {"broken": 1}}]},
    },
    "edges": [edge("low", "settle"), edge("high", "settle")],
}
REQUESTS: list[Any] = [
    {"node": "settle", "path": "price", "choose": "low"},
    {"node": "settle", "path": "price", "value": {"a": 1}},
    {"node": "agree", "answer": {"agreed": True}},
    {"changes": {"note": "n", "a.b": [1]}, "removed": ["total"], "base_version": 1, "by": "desk"},
    {"node": "broken", "changes": {"x": 1}, "removed": [], "by": "operator"},
]
_CONTEXT = DistributedContext("s", {"a": [1, 2.5, None, "ü"], "b": {"c": "x" * 2000}}, ContextMetadata(1, 2, 3))
TASK = NodeTask("weigh", {"type": "rule"}, _CONTEXT, RunInfo("r", "s", "g", "2026-01-01T00:00:00Z"), "k", ("a",))
PINNED = PinnedGraph("g", "d", "{}", {"h": "{}"}, 1, {"g": ("a",), "h": ()}, ("c",), RunLimits())
CHANGES = ChangeSet(1, {("a", "b"): [1], ("price",): 7}, (("c",),), "n", 5)


class WrongValue(Exception):
    """What was read is not what the wire may carry."""


@dataclass(frozen=True, slots=True)
class Wire:
    """One way for payloads to come in."""

    name: str
    genuine: list[Payload]
    receive: Callable[[Payload], object]
    """What is made of a payload behind the codec. Raises one of REFUSALS, or returns a value."""


async def received(wire: Wire, payload: Payload) -> bool:
    """Whether the wire takes the payload; False where it is refused by an error that says why."""
    try:
        (decoded,) = await _CODEC.decode([payload])
        wire.receive(decoded)
    except REFUSALS as error:
        if len(str(error)) > 2000:
            raise WrongValue(f"the message has {len(str(error))} characters") from None
        return False
    return True


def wires() -> list[Wire]:
    """Every wire, with what is genuine there. Needs a running event loop."""
    script: dict[str, Outcome] = {"low": {"price": 1}, "high": {"price": 2}, "broken": failure()}
    play = Play(machine_of(GRAPH, {"total": 5}), {**script}).start()
    for node in script:
        play.answer(node)
    inbox = Inbox(unchecked(None))
    for command in play.pending.values():
        if isinstance(command, AskPerson | AskConflict):
            inbox.ask(command)
    asked = Asked(play, inbox)
    data = {"total": 5, "items": [{"sku": "a", "qty": 1}], "note": None, "text": "ü" * 40}
    return [
        Wire("start", _made({"total": 5}, data, {"total": 5, "graph": dict(GRAPH), "data": data}), asked.start),
        Wire("signal", _made({}, None, [1], data), asked.signal),
        Wire("update", _made(*REQUESTS), asked.update),
        Wire("query", _made("status", {"x": 1}, None), asked.query),
        Wire("activity result", _made(CHANGES, ChangeSet(0, {("k",): "x" * 3000}, (), "n", 1)), _changes),
        Wire("continue-as-new", _made(PINNED, TASK, GraphRequest("g"), _CONTEXT), _any_of_ours),
        Wire("event", _made(_CONTEXT) + _made(data, {"id": "e-1", **data}), _event),
    ]


@dataclass(frozen=True, slots=True)
class Asked:
    """A run that waits for a choice and for an answer."""

    play: Play
    inbox: Inbox

    def start(self, payload: Payload) -> object:
        value = _decoded(payload)
        if isinstance(value, dict):
            check_input(self.play.state.plan, value)
        return value

    def signal(self, payload: Payload) -> object:
        return _decoded(payload)

    def query(self, payload: Payload) -> object:
        return checked(lambda: nothing([_decoded(payload)]))

    def update(self, payload: Payload) -> object:
        request = checked(lambda: the_object([_decoded(payload)], "…"))
        machine, inbox = self.play.machine, self.inbox
        takers: list[Callable[[], object]] = [
            lambda: updates.conflict_choice(machine, inbox, request),
            lambda: updates.task_answer(machine, inbox, request),
            lambda: updates.outside_write(machine, request),
            lambda: updates.paused_node(machine, request, edited=True),
        ]
        refused = 0
        for take in takers:
            try:
                checked(take)
            except ApplicationError:
                refused += 1
        if refused == len(takers):
            raise ApplicationError("no update takes it")
        return request


def _decoded(payload: Payload, hint: type[Any] | None = None) -> object:
    try:
        (value,) = CONVERTER.from_payloads([payload], [hint] if hint else None)
    except (*REFUSALS, RecursionError):
        raise
    except _OF_THE_SDK as error:
        raise ApplicationError(f"the SDK cannot read it: {str(error)[:200]}") from None
    return value


def _changes(payload: Payload) -> object:
    return _again(_decoded(payload, ChangeSet))


def _any_of_ours(payload: Payload) -> object:
    return _again(_decoded(payload))


def _again(value: Any) -> object:
    """The value, after it was written and read again: what is not plain data would not come back as it was."""
    name = NAMES.get(type(value))
    if name is not None:
        again = unpack(name, pack(value))
        if again != value or pack(again) != pack(value):
            raise WrongValue(f"a {name} that is written and read again is another one")
    return value


def _event(payload: Payload) -> object:
    kinds = {b"binary/msgpack": "application/msgpack", b"json/plain": "application/json"}
    content_type = kinds.get(payload.metadata.get("encoding", b""), "")
    name = payload.metadata.get("anabranch-type", b"").decode(errors="replace")
    headers = {"Content-Type": content_type, "Anabranch-Event-Id": name, "traceparent": name}
    event = read_event(Message(payload.data, headers, "S-1"), Reading())
    return _again(event.context)


def _made(*values: Any) -> list[Payload]:
    return [CONVERTER.to_payloads([value])[0] for value in values]
