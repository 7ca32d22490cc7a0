"""The first thing that a run does, and the only one until it is done: it has its graph loaded and pinned."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError, ApplicationError

from anabranch.graph.model import Retry
from anabranch.transport.node_protocol import GraphRequest, PinnedGraph
from anabranch.workflows.temporal.node_options import retry_policy
from anabranch.workflows.temporal.received import received

_RETRY = Retry(max_attempts=10)
_TIMEOUT = timedelta(seconds=10)


async def pinned_graph(request: GraphRequest) -> PinnedGraph:
    """What the run is held to. Raises ApplicationError, which says what is wrong with the graph."""
    try:
        result = await workflow.execute_local_activity(
            "load_graph",
            request,
            result_type=RawValue,
            start_to_close_timeout=_TIMEOUT,
            retry_policy=retry_policy(_RETRY),
            summary=request.name,
        )
    except ActivityError as error:
        if isinstance(error.cause, ApplicationError):
            raise error.cause from None  # the run's error is what is wrong with the graph, not that loading failed
        raise
    pinned: PinnedGraph = await received(result.payload, PinnedGraph)
    return pinned
