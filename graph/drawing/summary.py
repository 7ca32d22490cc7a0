"""What a node does and what an edge waits for, in a few words."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from anabranch.graph.model import Edge, Node

_LONGEST = 60
_OUTCOMES = {"failure": "on failure", "timeout": "on timeout", "always": "always"}


def summary(node: Node) -> str:
    """A few words on what the node does, in one line."""
    return one_line(_SUMMARIES[node.type](node), _LONGEST)


def edge_label(edge: Edge) -> str:
    """What an edge waits for, in words: its condition, and its outcome where that is not success."""
    return ": ".join(part for part in (_OUTCOMES.get(edge.outcome), edge.when) if part)


def one_line(text: str, longest: int) -> str:
    """The text in one line of at most `longest` characters, without control and direction characters."""
    spaced = "".join(" " if char.isspace() else char for char in text[: longest * 4])
    line = " ".join("".join(char for char in spaced if unicodedata.category(char)[0] != "C").split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _rule(node: Any) -> str:
    if node.rules is not None:
        return f"{len(node.rules)} rule{'s' * (len(node.rules) != 1)}"
    return "GRL" if node.grl is not None else "decision table"


def _db(node: Any) -> str:
    if node.statements is not None:
        return f"{len(node.statements)} statements on {node.connection}"
    return f"{node.connection}: {node.query}"


def _wait(node: Any) -> str:
    if node.until is not None:
        return f"until {node.until}"
    return f"for {node.for_ if isinstance(node.for_, str) else _duration(node.for_)}"


def _duration(value: timedelta) -> str:
    seconds = value.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"


def _body(words: str, node: Any) -> str:
    return words if node.body.graph is None else f"{words} → {node.body.graph}"


_SUMMARIES: dict[str, Callable[[Any], str]] = {
    "rule": _rule,
    "db": _db,
    "ai": lambda node: node.model,
    "http": lambda node: f"{node.method} {node.url}",
    "activity": lambda node: node.activity,
    "python": lambda node: node.handler,
    "graph": lambda node: node.graph,
    "foreach": lambda node: _body(f"for each {node.as_} of {node.items}", node),
    "while": lambda node: _body(f"while {node.while_}", node),
    "wait": _wait,
    "approval": lambda node: node.prompt or "a person decides",
}
