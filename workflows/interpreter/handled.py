"""What the nodes of a handler branch know of the errors that led there: the roots `error` and `errors`."""

from __future__ import annotations

from itertools import islice

from anabranch.context.merge.lineage import Line
from anabranch.context.values import Json
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.node_run import NodeRun
from anabranch.workflows.interpreter.scope import Scope, entered_by

MAX_ERRORS = 50
"""How many `errors` there are at most: each activity of a branch is sent all of them."""


def error_before(scope: Scope, run: NodeRun) -> Failure | None:
    """The error that led to a node: of a failure edge to it, else the one that the branch before it knows."""
    entered = [(planned.edge, scope.nodes[planned.edge.source]) for planned in entered_by(run)]
    for edge, source in entered:
        if edge.outcome != "success" and source.failure is not None:
            return source.failure
    known = (source.handled for _, source in entered if source.planned.is_in_branch)
    return next((each for each in known if each is not None), None)  # behind an `always` edge there may be none


def errors_before(scope: Scope, line: Line) -> list[Json]:
    """The errors of the nodes of a scope that failed in the past of a line, in the order of the graph."""
    found = (
        run.failure.root()
        for run in scope.nodes.values()
        if run.failure is not None and line.seen >> scope.writer(run) & 1
    )
    return list(islice(found, MAX_ERRORS))
