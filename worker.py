"""A worker process: settings → client → plugin → `Worker`. `python worker.py` is the command `anabranch worker`.

SIGINT and SIGTERM stop it gracefully: nothing new is taken, what runs is finished within the grace period. What has not
ended some seconds later is left behind, and the process ends all the same.
"""

from __future__ import annotations

import asyncio
import gc
import runpy
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib.metadata import version
from typing import Any

import structlog
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import (
    FixedSizeSlotSupplier,
    PollerBehaviorAutoscaling,
    ResourceBasedSlotConfig,
    ResourceBasedSlotSupplier,
    ResourceBasedTunerConfig,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkerDeploymentConfig,
    WorkerTuner,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from anabranch import spans
from anabranch.activities.registry import NodeActivities
from anabranch.activities.standard import node_activities
from anabranch.errors import Unavailable
from anabranch.graph import node_types
from anabranch.imports import NOTHING, OwnCode, import_own
from anabranch.observe.probes import observing, readable
from anabranch.plugin import AnabranchPlugin, check_folder
from anabranch.preflight.preflight import GRAPHS_SECONDS, Report, preflight, what_is_served
from anabranch.preflight.services import check_settings
from anabranch.settings import Settings
from anabranch.transport.client import check_namespace, connect_when_up
from anabranch.transport.converter import SANDBOX_MODULES
from anabranch.transport.working import closed, unless, working

GRACE = timedelta(seconds=20)
"""How long activities may go on when a worker is asked to stop."""

_SLOTS = 100
"""The SDK's own number for workflow tasks and local activities."""

log = structlog.get_logger("anabranch.worker")


def sandbox(*, strict: bool = False) -> WorkflowRunner:
    """How the workflows that run graphs are isolated.

    Strict imports `workflows` again for every run and refuses clocks, files and randomness in it (tests use this);
    otherwise it is shared, which saves a tenth of the worker's CPU.
    """
    if not strict:
        return UnsandboxedWorkflowRunner()
    shared = (*SANDBOX_MODULES, *node_types.foreign_modules())
    return SandboxedWorkflowRunner(SandboxRestrictions.default.with_passthrough_modules(*shared))


def build_worker(
    client: Client,
    settings: Settings,
    activities: NodeActivities | None = None,
    *,
    own: OwnCode = NOTHING,
    runner: WorkflowRunner | None = None,
    grace: timedelta = GRACE,
) -> Worker:
    """A worker that serves every graph and every node type on the settings' task queue, and the user's `own` code.

    When it is stopped, activities that run are cancelled after `grace`. `activities` are those of the nodes, which the
    caller closes; `runner` is the one of graphs. Raises ConfigurationError.
    """
    return Worker(
        client,
        task_queue=settings.task_queue,
        plugins=[AnabranchPlugin(settings=settings, activities=activities)],
        workflows=own.workflows,
        activities=own.activities,
        activity_executor=ThreadPoolExecutor(settings.max_concurrent_activities, thread_name_prefix="activity"),
        unsandboxed_workflow_runner=runner or sandbox(),
        max_cached_workflows=settings.max_cached_workflows,
        **_tuning(settings),
        max_eager_activity_reservations_per_workflow_task=10,
        graceful_shutdown_timeout=grace,
        deployment_config=_deployment(settings),
    )


def _tuning(settings: Settings) -> dict[str, Any]:
    """How many tasks a worker takes at a time, and how many requests for tasks it has open."""
    most = settings.max_concurrent_activities
    tuning: dict[str, Any] = {"max_concurrent_activities": most}
    if settings.slots == "resources":
        targets = ResourceBasedTunerConfig(settings.target_memory, settings.target_cpu)
        by_resources = ResourceBasedSlotSupplier(ResourceBasedSlotConfig(maximum_slots=most), targets)
        # Local nodes too would be held back, and a busy machine then runs into the time-outs of workflow tasks.
        fixed = FixedSizeSlotSupplier(_SLOTS)
        tuner = WorkerTuner.create_composite(
            workflow_supplier=fixed,
            activity_supplier=by_resources,
            local_activity_supplier=fixed,
            nexus_supplier=fixed,
        )
        tuning = {"tuner": tuner}
    if settings.pollers == "autoscaling":
        behavior = PollerBehaviorAutoscaling()
        tuning |= {"workflow_task_poller_behavior": behavior, "activity_task_poller_behavior": behavior}
    return tuning


def _deployment(settings: Settings) -> WorkerDeploymentConfig:
    """Which version of which deployment a worker is, where the settings say it."""
    if settings.deployment is None or settings.build_id is None:
        # Without a version of ours the SDK hashes the code of every module first, for half a second and more.
        return WorkerDeploymentConfig(
            WorkerDeploymentVersion("anabranch", version("anabranch")), use_worker_versioning=False
        )
    return WorkerDeploymentConfig(
        WorkerDeploymentVersion(settings.deployment, settings.build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior[settings.versioning.upper()],
    )


async def serve(
    settings: Settings,
    client: Client | None = None,
    stop: asyncio.Event | None = None,
    *,
    grace: timedelta = GRACE,
) -> None:
    """Work until `stop` is set, then `grace` at most.

    Without a `client` it first logs what its graphs need and it does not have, and waits until a server answers.
    Raises ConfigurationError, NotStopped where an activity ignores that it is cancelled.
    """
    # First the mistakes that show without a server.
    check_folder(settings.graphs)
    check_settings(settings)
    own = import_own(settings.imports)
    activities = node_activities(settings, workflows=own.workflow_names)
    stopping = asyncio.ensure_future((stop or asyncio.Event()).wait())
    polling = Polling(stopping)
    checks = {"temporal": polling.check, "graphs": readable(settings.graphs)}
    # Who brings a client has chosen its runtime too.
    address, collector = (settings.metrics_address, settings.metrics_endpoint) if client is None else (None, None)
    try:
        async with observing(address, collector, checks) as runtime:
            if client is None:
                with spans.unrecorded():
                    report = await unless(stopping, preflight(settings, own, activities, graphs_seconds=GRAPHS_SECONDS))
                if report is None:
                    return
                report.log()
                client = await unless(stopping, connect_when_up(settings, runtime=runtime))
                # What is loaded stays: full collections, during which nothing runs, need not look through it.
                gc.collect()
                gc.freeze()
            else:
                report = Report(what_is_served(settings, own))
            if client is None:
                return
            worker = build_worker(client, settings, activities, own=own, grace=grace)
            async with working(worker, activities.running) as running:
                polling.began(client, worker)
                log.info(
                    "worker started", **_server(client), task_queue=settings.task_queue, **_served(settings, report)
                )
                await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
                log.info("worker stops")
    finally:
        stopping.cancel()
        await closed(activities.aclose())


class Polling:
    """Whether a worker takes work: part of whether its process is ready."""

    def __init__(self, stopping: asyncio.Future[Any]) -> None:
        self._stopping = stopping
        self._working: tuple[Client, Worker] | None = None

    def began(self, client: Client, worker: Worker) -> None:
        """The worker is about to poll by this client."""
        self._working = client, worker

    async def check(self) -> None:
        """Raises Unavailable or ConfigurationError where it does not poll, or its server does not answer."""
        if self._stopping.done():
            raise Unavailable("the worker stops")
        if self._working is None:
            raise Unavailable("the worker waits for Temporal")
        client, worker = self._working
        if not worker.is_running:
            raise Unavailable("the worker does not poll yet")
        await check_namespace(client)


def _server(client: Client) -> dict[str, str]:
    """Where a worker takes its work, for its log."""
    return {"address": client.service_client.config.target_host, "namespace": client.namespace}


def _served(settings: Settings, report: Report) -> dict[str, str | int]:
    """What a worker serves, for its log."""
    names = report.served | {"graphs": report.served["graphs"] or ["none"]}
    served = {sort: ", ".join(found) for sort, found in names.items() if found}
    return {"folder": str(settings.graphs), **served, "findings": len(report.findings)}


if __name__ == "__main__":
    # By name, because the command imports this module.
    sys.argv.insert(1, "worker")
    runpy.run_module("anabranch", run_name="__main__")
