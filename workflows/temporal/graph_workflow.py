"""The two workflows: `GraphWorkflow`, and the dynamic one whose type is the name of a graph.

They are not sandboxed, whatever the worker does with other workflows: to import them anew for every run costs a tenth
of a worker's CPU. Tests run them in the strictest sandbox all the same (`worker.sandbox`).
"""

from __future__ import annotations

import collections.abc
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from anabranch.context.values import Json
    from anabranch.errors import AnabranchError
    from anabranch.transport.node_protocol import GraphRequest, PinnedGraph
    from anabranch.workflows.temporal.loading import pinned_graph
    from anabranch.workflows.temporal.messages import Messages


@workflow.defn(name="GraphWorkflow", sandboxed=False)
class GraphWorkflow(Messages):
    """Run a graph that the input names or holds: `{"graph": name or definition, "data": {…}}`."""

    @workflow.run
    async def run(self, *args: Any) -> dict[str, Any]:
        """Returns `{session_id, status, version, data}`."""
        if (carried := _carried(args)) is not None:
            return await self.play_on(carried)
        given = args[0] if len(args) == 1 else None
        if not isinstance(given, dict) or "graph" not in given or given.keys() - {"graph", "data"}:
            raise _bad_input('GraphWorkflow takes one object {"graph": name or definition, "data": {…}}')
        request, data = _request(given["graph"]), _data(given.get("data", {}))
        return await self.play(await pinned_graph(request), data)


@workflow.defn(dynamic=True, sandboxed=False)
class DynamicGraphWorkflow(Messages):
    """Run the graph that the workflow's type names, on the one JSON object of the input.

    A second argument `{"pinned": …}` is the definition that a parent workflow gives to its child.
    """

    @workflow.run
    async def run(self, args: collections.abc.Sequence[RawValue]) -> dict[str, Any]:
        """Returns `{session_id, status, version, data}`."""
        values = [_decoded(arg) for arg in args]
        if (carried := _carried(values)) is not None:
            return await self.play_on(carried)
        pinned, data = _pinned(values), _data(values[0] if values else {})
        if pinned is not None:
            return await self.play(pinned, data, is_child=True)
        return await self.play(await pinned_graph(GraphRequest(name=workflow.info().workflow_type)), data)


def _decoded(argument: RawValue) -> Any:
    try:
        return workflow.payload_converter().from_payload(argument.payload)
    except (AnabranchError, RuntimeError, ValueError) as error:
        raise _bad_input(f"the input cannot be decoded: {error}") from None


def _carried(args: collections.abc.Sequence[Any]) -> dict[str, Any] | None:
    """The state that the workflow run before handed on, when it continued as new. Nobody else can hand on any."""
    if workflow.info().continued_run_id is None or len(args) != 2:  # noqa: PLR2004 - the input, and what goes with it
        return None
    carried: dict[str, Any] | None = args[1].get("carried") if isinstance(args[1], dict) else None
    return carried


def _pinned(args: collections.abc.Sequence[Any]) -> PinnedGraph | None:
    """The definition that a parent gives to its child. Nobody else can give any."""
    if len(args) <= 1:
        return None
    given = args[1] if len(args) == 2 and workflow.info().parent is not None else None  # noqa: PLR2004 - a parent sends two
    if isinstance(given, dict) and given.keys() == {"pinned"}:
        return PinnedGraph.from_wire(given["pinned"])
    raise _bad_input("a graph takes one JSON object: the context's data")


def _request(graph: Json) -> GraphRequest:
    if isinstance(graph, str) and "\n" not in graph and not graph.lstrip().startswith("{"):
        return GraphRequest(name=graph)
    return GraphRequest(inline=graph)


def _data(value: object) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise _bad_input(f"the context's data is one JSON object, not {type(value).__name__}")
    return value


def _bad_input(message: str) -> ApplicationError:
    return ApplicationError(message, type="INPUT_INVALID", non_retryable=True)
