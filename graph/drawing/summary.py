"""What a node does and what an edge waits for, in a few words."""

from __future__ import annotations

import unicodedata

from anabranch.graph.kinds.kinds import kind_of
from anabranch.graph.model import Edge, Node

_LONGEST = 60
_OUTCOMES = {"failure": "on failure", "timeout": "on timeout", "always": "always"}


def summary(node: Node) -> str:
    """A few words on what the node does, in one line."""
    return one_line(kind_of(node).summary(node), _LONGEST)


def edge_label(edge: Edge) -> str:
    """What an edge waits for, in words: its condition, and its outcome where that is not success."""
    return ": ".join(part for part in (_OUTCOMES.get(edge.outcome), edge.when) if part)


def one_line(text: str, longest: int) -> str:
    """The text in one line of at most `longest` characters, without control and direction characters."""
    spaced = "".join(" " if char.isspace() else char for char in text[: longest * 4])
    line = " ".join("".join(char for char in spaced if unicodedata.category(char)[0] != "C").split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
