"""What a graph says of its runs as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from anabranch.errors import ExpressionError, Problem
from anabranch.graph.expressions.templates import Template, compile_template
from anabranch.graph.model import Graph
from anabranch.graph.policies import RunId
from anabranch.graph.run_id import check_run_id
from anabranch.graph.source.problems import as_written
from anabranch.graph.source.yaml_source import Source

_OURS = ("Anabranch", "Temporal")
_OF_SERVER = frozenset(
    {"WorkflowId", "RunId", "WorkflowType", "ExecutionStatus", "ExecutionTime", "ExecutionDuration", "StartTime"}
    | {"CloseTime", "TaskQueue", "HistoryLength", "HistorySizeBytes", "StateTransitionCount", "BuildIds", "BatcherUser"}
    | {"ParentWorkflowId", "ParentRunId", "RootWorkflowId", "RootRunId", "NamespaceDivision", "BatcherNamespace"}
)
"""Search attributes that every run has."""


def check_run(graph: Graph, source: Source) -> Iterator[Problem]:
    """Problems of what a graph says of its runs as a whole, where its templates compile."""
    if graph.id is not None:
        yield from _check_id(graph.id, source)
    for name in graph.search_attributes:
        if name in _OF_SERVER or name.startswith(_OURS):
            place = source.place(("search_attributes", name), key=True)
            message = f"the search attribute {name!r} has a reserved name: runs have one of that name anyway"
            yield Problem("NAME_RESERVED", message, place, "give it another name")
    if isinstance(graph.timeout, timedelta) and graph.timeout <= timedelta(0):
        yield Problem("DURATION_NOT_POSITIVE", "the graph has a `timeout` of zero", source.place(("timeout",)))


def _check_id(said: RunId, source: Source) -> Iterator[Problem]:
    path = as_written(("id", "value"), source)
    template = _compiled(said.value)
    if template is not None and "run" in template.names:
        message = "`id` reads `run`, which does not exist yet: the id is made of the input, before the run"
        yield Problem("RUN_ID_INVALID", message, source.place(path), "read keys of the input")
    if template is not None and template.constant:
        try:
            check_run_id(said.value)
        except ValueError as error:
            yield Problem("RUN_ID_INVALID", f"`id` {error}", source.place(path))
    if said.conflict == "terminate_existing" and said.reuse != "allow_duplicate":
        message = f"`conflict: terminate_existing` ends a run to start another one, which `reuse: {said.reuse}` forbids"
        yield Problem("RUN_ID_POLICIES", message, source.place(("id", "conflict")), "let `reuse` be allow_duplicate")


def _compiled(text: str) -> Template | None:
    """The template; None where it does not compile, which is a problem of its own."""
    try:
        return compile_template(text)
    except ExpressionError:
        return None
