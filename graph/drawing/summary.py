"""What a node does and what an edge waits for, in a few words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from anabranch.display import one_line
from anabranch.graph.kinds.kinds import body_retry, kind_of
from anabranch.graph.model import Graph, Node
from anabranch.graph.parts import Edge

_LONGEST = 60


def summary(node: Node) -> str:
    """A few words on what the node does, in one line."""
    return one_line(kind_of(node).summary(node), _LONGEST) + _attempts(node)


def _attempts(node: Node) -> str:
    """How often a composite is tried. Of an activity that is a matter of scheduling, and every one has attempts."""
    if (retry := body_retry(node)) is None:
        return ""
    return f" (up to {retry.max_attempts} attempts)" if retry.max_attempts else " (any number of attempts)"


def of_runs(graph: Graph) -> Iterator[str]:
    """What a graph says of its runs as a whole, a line for each."""
    if (schedule := graph.schedule) is not None:
        every = [] if schedule.every is None else [f"every {_duration(schedule.every)}"]
        zone = f" ({schedule.timezone})" if schedule.crons else ""
        paused = ", paused" if schedule.paused else ""
        yield f"schedule: {', '.join((*schedule.crons, *every))}{zone}{paused}"
    if graph.id is not None:
        yield f"id: {graph.id.value}"
    if graph.search_attributes:
        yield f"search attributes: {', '.join(graph.search_attributes)}"
    if graph.timeout is not None:
        yield f"timeout: {graph.timeout if isinstance(graph.timeout, str) else _duration(graph.timeout)}"


def _duration(time: timedelta) -> str:
    return f"{time.total_seconds():g} s"


def edge_label(edge: Edge) -> str:
    """What an edge waits for, in words: its condition, and its outcome where that is not success."""
    condition = "otherwise" if edge.otherwise else edge.when
    return ": ".join(part for part in (_outcome(edge), condition) if part)


def _outcome(edge: Edge) -> str:
    if edge.outcome in ("success", "always"):
        return "" if edge.outcome == "success" else "always"
    return f"on {' or '.join(edge.named)}"
