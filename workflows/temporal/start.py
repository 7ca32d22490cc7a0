"""With what a workflow run was started: by a person or a service, by its parent, or by the run before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from anabranch.context.values import Json
from anabranch.errors import InputError
from anabranch.transport.node_protocol import GRAPH_DIGESTS, GraphRequest, PinnedGraph
from anabranch.transport.rerun import RERUN, RerunRequest
from anabranch.transport.undecodable import is_encrypted
from anabranch.workflows.temporal.received import received


@dataclass(frozen=True, slots=True)
class Start:
    """The arguments of a workflow run. Whose `carried` or `pinned` is forged has one argument too many."""

    given: tuple[Any, ...]
    carried: dict[str, Any] | None = None
    """The state that the run before handed on, when it continued as new."""
    pinned: PinnedGraph | None = None
    """The definition that a parent gives to its child."""
    digests: dict[str, str] = field(default_factory=dict)
    """Of graphs, as the starter has them."""
    is_plain: bool = True
    """Whether anybody may have written the arguments, since not all of them came encrypted."""

    @classmethod
    async def of(cls, args: Sequence[RawValue]) -> Self:
        """Decode the arguments. Raises ApplicationError INPUT_INVALID for one that cannot be decoded."""
        try:
            values = tuple([await received(arg.payload) for arg in args])
        except InputError as error:
            raise _unreadable(error) from None
        attached = values[1] if len(values) == 2 and isinstance(values[1], dict) else {}  # noqa: PLR2004 - data, and this
        # A retry, and the next run of a cron schedule, have a run before them too, and the input of a starter. So what
        # is attached names the run that attached it: no starter knows the id of a run that is still to come.
        info = workflow.info()
        previous, parent = info.continued_run_id, info.parent and info.parent.run_id
        if previous and attached.keys() == {"carried", "previous"} and attached["previous"] == previous:
            return cls((), carried=attached["carried"])
        if parent and attached.keys() == {"pinned", "parent"} and attached["parent"] == parent:
            return cls(values[:1], pinned=PinnedGraph.from_wire(attached["pinned"]))
        is_plain = not args or not all(is_encrypted(arg.payload) for arg in args)
        return cls(values, digests=await _digests(), is_plain=is_plain)

    def by_name(self, name: str) -> tuple[GraphRequest, dict[str, Json]]:
        """The graph that the workflow's type names, and the data. Raises ApplicationError INPUT_INVALID."""
        if len(self.given) > 1:
            raise _bad_input("a graph takes one JSON object: the context's data")
        request = GraphRequest(name=name, digests=self.digests, is_plain=self.is_plain)
        return request, _data(self.given[0] if self.given else {})

    def rerun(self) -> RerunRequest | None:
        """Which run the input asks to run again, if it does. Raises ApplicationError INPUT_INVALID."""
        given = self.given[0] if len(self.given) == 1 else None
        if not isinstance(given, dict) or given.keys() != {RERUN}:
            return None
        try:
            return RerunRequest.of_input(given[RERUN]).sent(self.digests, is_plain=self.is_plain)
        except InputError as error:
            raise _bad_input(str(error)) from None

    def by_input(self) -> tuple[GraphRequest, dict[str, Json]]:
        """The graph that the input names or holds, and the data. Raises ApplicationError INPUT_INVALID."""
        given = self.given[0] if len(self.given) == 1 else None
        if not isinstance(given, dict) or "graph" not in given or given.keys() - {"graph", "data"}:
            raise _bad_input(
                'GraphWorkflow takes one object {"graph": name or definition, "data": {…}}, or {"rerun": {…}}'
            )
        request = replace(_request(given["graph"]), is_plain=self.is_plain)
        return request, _data(given.get("data", {}))


async def _digests() -> dict[str, str]:
    """The digests of graphs that the starter put into the memo; none where it put something else there."""
    if (kept := workflow.info().raw_memo.get(GRAPH_DIGESTS)) is None:
        return {}
    try:
        given = await received(kept)
    except InputError:
        return {}
    return {str(name): str(digest) for name, digest in given.items()} if isinstance(given, dict) else {}


def _request(graph: Json) -> GraphRequest:
    if isinstance(graph, str) and "\n" not in graph and not graph.lstrip().startswith("{"):
        return GraphRequest(name=graph)
    return GraphRequest(inline=graph)


def _data(value: object) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise _bad_input(f"the context's data is one JSON object, not {type(value).__name__}")
    return value


def _bad_input(message: str, *details: Any) -> ApplicationError:
    return ApplicationError(message, *details, type=InputError.code, non_retryable=True)


def _unreadable(error: InputError) -> ApplicationError:
    message = f"the input cannot be decoded: {error}"
    if workflow.info().continued_run_id is None:
        return _bad_input(message)
    # It may be the state of a run that has had effects. What they are, and how to undo them, was in there.
    return _bad_input(message, {"code": error.code, "message": str(error), "effects_left": True})
