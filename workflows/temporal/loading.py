"""The first thing that a run does, and the only one until it is done: it has its graph loaded and pinned."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
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
from anabranch.transport.rerun import RerunRequest, RerunStart
from anabranch.workflows.temporal.elsewhere import on_any_worker
from anabranch.workflows.temporal.failures import NeverScheduled
from anabranch.workflows.temporal.node_options import retry_policy
from anabranch.workflows.temporal.received import received

T = TypeVar("T")

LOAD_GRAPH: Final = "load_graph"
LOAD_RERUN: Final = "load_rerun"
_RETRY = Retry(max_attempts=10)
_TIMEOUT = timedelta(seconds=10)
_READING = timedelta(minutes=5)
"""For the histories of another run, which may be long."""
_SILENCE = timedelta(seconds=20)
"""After which a worker that reads them counts as dead."""
_SUMMARY = 200
"""Characters. The server takes 400 bytes."""


async def pinned_graph(request: GraphRequest, tell: Callable[[str | None], None]) -> PinnedGraph:
    """What the run is held to. Raises ApplicationError, which says what is wrong with the graph.

    `tell` hears which worker lacks it, while others are asked.
    """
    with below(RunTrace.here(workflow.info().first_execution_run_id), RUN):
        result = await _unwrapped(on_any_worker(partial(_loaded, request), pause=_pause, tell=tell))
    pinned: PinnedGraph = await received(result.payload, PinnedGraph)
    return pinned


async def rerun_start(request: RerunRequest, tell: Callable[[str | None], None]) -> RerunStart:
    """What a rerun begins with: an activity reads the histories. Raises ApplicationError, which says what is wrong."""
    with below(RunTrace.here(workflow.info().first_execution_run_id), RUN):
        reading = partial(_read, request)
        result = await _unwrapped(on_any_worker(reading, pause=_pause, tell=tell))
    start: RerunStart = await received(result.payload, RerunStart)
    return start


async def _unwrapped(loading: Awaitable[RawValue]) -> RawValue:
    """The result. Raises what is wrong itself, and not that loading failed for it."""
    try:
        return await loading
    except NeverScheduled:
        raise asyncio.CancelledError from None
    except ActivityError as error:
        if isinstance(error.cause, ApplicationError):
            raise error.cause from None
        raise


async def _read(request: RerunRequest, _: float) -> RawValue:
    with for_any_worker():
        reading: asyncio.Future[RawValue] = workflow.start_activity(
            LOAD_RERUN,
            request,
            result_type=RawValue,
            start_to_close_timeout=_READING,
            heartbeat_timeout=_SILENCE,
            retry_policy=retry_policy(_RETRY),
            summary=f"rerun of {request.workflow_id}"[:_SUMMARY],
        )
    return await _unbroken(reading)


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
