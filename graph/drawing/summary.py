"""What a node does and what an edge waits for, in a few words."""

from __future__ import annotations

from anabranch.display import one_line
from anabranch.graph.kinds.kinds import body_retry, kind_of
from anabranch.graph.model import Edge, Node

_LONGEST = 60


def summary(node: Node) -> str:
    """A few words on what the node does, in one line."""
    return one_line(kind_of(node).summary(node), _LONGEST) + _attempts(node)


def _attempts(node: Node) -> str:
    """How often a composite is tried. Of an activity that is a matter of scheduling, and every one has attempts."""
    if (retry := body_retry(node)) is None:
        return ""
    return f" (up to {retry.max_attempts} attempts)" if retry.max_attempts else " (any number of attempts)"


def edge_label(edge: Edge) -> str:
    """What an edge waits for, in words: its condition, and its outcome where that is not success."""
    condition = "otherwise" if edge.otherwise else edge.when
    return ": ".join(part for part in (_outcome(edge), condition) if part)


def _outcome(edge: Edge) -> str:
    if edge.outcome in ("success", "always"):
        return "" if edge.outcome == "success" else "always"
    return f"on {' or '.join(edge.named)}"
