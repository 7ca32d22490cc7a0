"""A worker process: settings → client → registry → `Worker`. `python worker.py` is the command `anabranch worker`.

SIGINT and SIGTERM stop it gracefully: nothing new is taken, what runs is finished within the grace period. What has not
ended some seconds later is left behind, and the process ends all the same.
"""

from __future__ import annotations

import asyncio
import runpy
import sys
from collections.abc import Sequence
from datetime import timedelta
from importlib.metadata import version

import structlog
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from anabranch.activities.registry import NodeActivities
from anabranch.activities.standard import node_activities
from anabranch.errors import AnabranchError
from anabranch.settings import Settings
from anabranch.transport.client import connect
from anabranch.transport.converter import SANDBOX_MODULES
from anabranch.transport.workflow_threads import WorkflowThreads
from anabranch.transport.working import closed, unless, working
from anabranch.workflows.temporal.graph_workflow import DynamicGraphWorkflow, GraphWorkflow

WORKFLOWS: Sequence[type] = (GraphWorkflow, DynamicGraphWorkflow)
GRACE = timedelta(seconds=20)
"""How long activities may go on when a worker is told to stop."""
_CANCELLATION = timedelta(seconds=1)
"""How long heartbeats are held back. A cancellation reaches an activity with the answer to one of them."""

log = structlog.get_logger("anabranch.worker")


def sandbox(*, strict: bool = False) -> WorkflowRunner:
    """How workflow code is isolated.

    Strict imports `workflows` anew for every run and refuses clocks, files and randomness in it (tests use this);
    otherwise it is shared, which saves a tenth of the worker's CPU.
    """
    if not strict:
        return UnsandboxedWorkflowRunner()
    return SandboxedWorkflowRunner(SandboxRestrictions.default.with_passthrough_modules(*SANDBOX_MODULES))


def build_worker(
    client: Client,
    settings: Settings,
    activities: NodeActivities,
    *,
    runner: WorkflowRunner | None = None,
    grace: timedelta = GRACE,
) -> Worker:
    """A worker that serves every graph and every node type on the settings' task queue.

    When it is stopped, activities that run are cancelled after `grace`.
    """
    return Worker(
        client,
        task_queue=settings.task_queue,
        workflows=WORKFLOWS,
        activities=activities.activities(),
        workflow_runner=runner or sandbox(),
        workflow_task_executor=WorkflowThreads(),
        max_cached_workflows=settings.max_cached_workflows,
        max_concurrent_activities=settings.max_concurrent_activities,
        max_eager_activity_reservations_per_workflow_task=10,
        graceful_shutdown_timeout=grace,
        default_heartbeat_throttle_interval=_CANCELLATION,
        # Without a version of ours the SDK hashes the code of every module first, for half a second and more.
        deployment_config=WorkerDeploymentConfig(
            WorkerDeploymentVersion("anabranch", version("anabranch")), use_worker_versioning=False
        ),
        workflow_failure_exception_types=[AnabranchError],
    )


async def serve(
    settings: Settings,
    client: Client | None = None,
    stop: asyncio.Event | None = None,
    *,
    grace: timedelta = GRACE,
) -> None:
    """Work until `stop` is set, then `grace` at most.

    Raises Unavailable when no server answers, NotStopped where an activity ignores that it is cancelled.
    """
    activities = node_activities(settings)  # first: what is wrong with the settings needs no server to be found
    stopping = asyncio.ensure_future((stop or asyncio.Event()).wait())
    try:
        client = client or await unless(stopping, connect(settings))
        if client is None:
            return
        async with working(build_worker(client, settings, activities, grace=grace), activities.running) as running:
            log.info("worker started", task_queue=settings.task_queue, graphs=str(settings.graphs))
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            log.info("worker stops")
    finally:
        stopping.cancel()
        await closed(activities.aclose())


if __name__ == "__main__":
    # By name, because the command imports this module.
    sys.argv.insert(1, "worker")
    runpy.run_module("anabranch", run_name="__main__")
