"""Edges on a failure that the run never takes: the node's `on_failure` goes on as after a success."""

from __future__ import annotations

from collections.abc import Iterator

from anabranch.errors import Problem
from anabranch.graph.dataflow.walk import Level, edge_path
from anabranch.graph.kinds.kinds import fallback_of
from anabranch.graph.source.problems import described
from anabranch.graph.source.yaml_source import Source

_HANDLED = frozenset({"failure", "timeout"})


def check_fallbacks(level: Level, source: Source) -> Iterator[Problem]:
    """Problems of the edges that leave nodes with a fallback, on one level."""
    nodes = level.body.nodes
    for index, edge in enumerate(level.body.edges):
        if edge.source not in nodes or fallback_of(nodes[edge.source]) is None:
            continue
        if found := [outcome for outcome in edge.named if outcome in _HANDLED]:
            path = edge_path(level, index)
            message = (
                f"{described(path)} is for the outcome {' or '.join(found)} of {edge.source!r}, which never comes to "
                "it: `on_failure` of that node gives values to go on with, as after a success"
            )
            suggestion = (
                "remove the edge's outcome, or the `use` of the node; behind `always`, `error` tells the two apart"
            )
            yield Problem("EDGE_FALLBACK", message, source.place((*path, "outcome"), key=True), suggestion)
