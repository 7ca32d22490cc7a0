"""The first thing that a run does, and the only one until it is done: it has its graph loaded and pinned."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError, ApplicationError

from anabranch.graph.policies import Retry
from anabranch.observe.traces import RUN, RunTrace, below
from anabranch.transport.any_worker import for_any_worker
from anabranch.transport.node_protocol import GraphRequest, PinnedGraph
from anabranch.workflows.temporal.elsewhere import on_any_worker
from anabranch.workflows.temporal.failures import NeverScheduled
from anabranch.workflows.temporal.node_options import retry_policy
from anabranch.workflows.temporal.received import received

T = TypeVar("T")

LOAD_GRAPH: Final = "load_graph"
_RETRY = Retry(max_attempts=10)
_TIMEOUT = timedelta(seconds=10)


async def pinned_graph(request: GraphRequest, tell: Callable[[str | None], None]) -> PinnedGraph:
    """What the run is held to. Raises ApplicationError, which says what is wrong with the graph.

    `tell` hears which worker lacks it, while others are asked.
    """
    try:
        with below(RunTrace.here(workflow.info().first_execution_run_id), RUN):
            result = await on_any_worker(partial(_loaded, request), pause=_pause, tell=tell)
    except NeverScheduled:
        raise asyncio.CancelledError from None
    except ActivityError as error:
        if isinstance(error.cause, ApplicationError):
            raise error.cause from None  # the run's error is what is wrong with the graph, not that loading failed
        raise
    pinned: PinnedGraph = await received(result.payload, PinnedGraph)
    return pinned


async def _loaded(request: GraphRequest, spent: float) -> RawValue:
    options: dict[str, Any] = {
        "result_type": RawValue,
        "start_to_close_timeout": _TIMEOUT,
        "retry_policy": retry_policy(_RETRY),
        "summary": request.name,
    }
    if not spent:
        result: RawValue = await workflow.execute_local_activity(LOAD_GRAPH, request, **options)
        return result
    with for_any_worker():  # a local activity never leaves its worker
        loading: asyncio.Future[RawValue] = workflow.start_activity(LOAD_GRAPH, request, **options)
    return await _unbroken(loading)


async def _pause(seconds: float) -> None:
    await _unbroken(asyncio.ensure_future(workflow.sleep(seconds, summary="another worker is asked for the graph")))


async def _unbroken(work: asyncio.Future[T]) -> T:
    """The result. If the run is cancelled meanwhile, the work is left alone: it may not be in the history yet."""
    return await asyncio.shield(work)
