"""Edges with `otherwise` that would never be taken, or always, or that say two things at once."""

from __future__ import annotations

from collections.abc import Iterator

from anabranch.errors import Problem
from anabranch.graph.dataflow.walk import Level, edge_path
from anabranch.graph.parts import Edge
from anabranch.graph.source.problems import described
from anabranch.graph.source.yaml_source import Source


def check_otherwise(level: Level, source: Source) -> Iterator[Problem]:
    """Problems of the `otherwise` edges of one level."""
    success: dict[str, list[Edge]] = {}
    for edge in level.body.edges:
        if "success" in edge.named:
            success.setdefault(edge.source, []).append(edge)
    for index, edge in enumerate(level.body.edges):
        if not edge.otherwise:
            continue
        path = edge_path(level, index)
        place, what = source.place((*path, "otherwise"), key=True), described(path)
        others = [each for each in success.get(edge.source, ()) if each is not edge]
        if (wrong := _beside(edge) or _among(edge, success.get(edge.source, []))) is not None:
            message, suggestion = wrong
            yield Problem("EDGE_OTHERWISE", f"{what} {message}", place, suggestion)
        elif not others:
            message = f"{what} has `otherwise`, and no other success edge leaves {edge.source!r}: it is always taken"
            suggestion = "remove it, or draw the other edges with their `when`"
            yield Problem("FIELD_HAS_NO_EFFECT", message, place, suggestion)


def _beside(edge: Edge) -> tuple[str, str] | None:
    """What is wrong with what the edge itself says beside it, and what to do."""
    if edge.when is not None:
        message = "has `otherwise` beside `when`: it is taken when the conditions of the other edges do not hold"
        return message, "remove one of them"
    if edge.outcome != "success":
        named = ", ".join(edge.named)
        outcome = f"[{named}]" if len(edge.named) > 1 else named
        message = f"has `otherwise` beside `outcome: {outcome}`: it is for the success of {edge.source!r}"
        return message, "remove one of them"
    return None


def _among(edge: Edge, leaving: list[Edge]) -> tuple[str, str] | None:
    """What is wrong with it among the success edges that leave its node, and what to do."""
    if next(each for each in leaving if each.otherwise) is not edge:
        return f"is the second `otherwise` of {edge.source!r}", "keep one; give the other its `when`"
    for each in leaving:
        if each.when is None and not each.otherwise:
            message = f"is never taken: the edge {edge.source!r} → {each.target!r} always is, as it has no `when`"
            return message, "give that edge its `when`, or remove this one"
    return None
