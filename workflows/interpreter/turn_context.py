"""What the turns of a body see of the context."""

from __future__ import annotations

from collections.abc import Mapping

from anabranch.context.merge.lineage import Line
from anabranch.context.values import Json
from anabranch.graph.expressions.cost import Cost
from anabranch.workflows.interpreter.scope import BodyRun
from anabranch.workflows.interpreter.state import RunState


def fresh(line: Line) -> Line:
    """A separate line with the same data, since the writers of a body have numbers of their own."""
    return Line.start(line.data, line.version)


def seen(state: RunState, body: BodyRun, data: Mapping[str, Json], cost: Cost) -> Mapping[str, Json]:
    """`data` with the names of the node's `input`, which have the values of when it started in each turn."""
    node, planned = body.node, body.node.run.planned
    if not planned.gives_names:
        return data
    roots = state.roots(node.scope, node.run, at=node.at)
    return {**data, **planned.own_names(node.line.data, roots, cost)}
