"""The events that `receive` nodes get in a dry run or in a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from anabranch.context.values import Json
from anabranch.errors import InputError
from anabranch.graph.model import ReceiveNode
from anabranch.graph.plan import Plan
from anabranch.testkit.addresses import node_at
from anabranch.workflows.interpreter.commands import AwaitEvent
from anabranch.workflows.interpreter.event import Event

_ID = "given"
"""The id of an event that a test gives."""


def given_events(plan: Plan, work: AwaitEvent, events: Mapping[str, Json]) -> tuple[Event, ...]:
    """The events that are given, by name. Raises InputError for one that the node does not wait for."""
    node = _definition(plan, work)
    wrong = [name for name in events if name not in node.names]
    if wrong or len(events) != (len(node.names) if node.mode == "all" else 1):
        raise InputError(
            f"the node waits for {'all' if node.mode == 'all' else 'one'} of {', '.join(node.names)}",
            place=f"node {work.address!r}",
            suggestion="give their data: `events: {name: data}`",
        )
    return tuple(Event(name, _ID, data) for name, data in events.items())


def _definition(plan: Plan, work: AwaitEvent) -> ReceiveNode:
    planned = node_at(plan, work.address)
    if planned is None:
        raise AssertionError(f"there is no node {work.address!r}")
    return cast("ReceiveNode", planned.node)
