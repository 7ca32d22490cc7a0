"""What is particular to `receive` nodes: what their conditions see, and the keys by which events are correlated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from anabranch.errors import Problem
from anabranch.graph.kinds.finder import Finder
from anabranch.graph.kinds.keys import Reads, all_reads, expression_reads
from anabranch.graph.model import ReceiveNode

SEEN: Final = frozenset({"event", "event_name"})
"""What `accept` and `correlate` see beside the context: an event's data, and its name."""
_PATH: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)


def receive_reads(node: ReceiveNode, roots: frozenset[str]) -> Reads:
    """What its conditions read, and the keys that events are compared with."""
    conditions = (node.accept, *node.correlate.values())
    compared = all_reads(expression_reads(key, roots) for key in node.correlate if _PATH.fullmatch(key))
    return compared | all_reads(expression_reads(each, roots | SEEN) for each in conditions)


def check_receive(node: ReceiveNode, finder: Finder) -> Iterator[Problem]:
    """Names that are given once, and keys that are paths."""
    for index, name in enumerate(node.names):
        if name in node.names[:index]:
            yield finder.problem("EVENT_TWICE", f"names the event {name!r} twice", "event", index)
    if node.mode == "all" and len(node.names) == 1:
        message = "has `mode: all`, and names one event"
        yield finder.problem("FIELD_HAS_NO_EFFECT", message, "mode", suggestion="remove it, or name several events")
    for key in node.correlate:
        if not _PATH.fullmatch(key):
            message = f"correlates by {key[:64]!r}, which is no key of the context, and no path to a part of one"
            suggestion = "write `correlate: {order_id: event.order_id}`, or `order.id` for a part of a key"
            yield finder.problem("CORRELATE_KEY", message, "correlate", key, suggestion=suggestion)


def receive_summary(node: ReceiveNode) -> str:
    """The events that it waits for."""
    return (" or " if node.mode == "any" else " and ").join(node.names)
