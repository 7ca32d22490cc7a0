"""`AnabranchPlugin`: graphs in any client and worker of Temporal's SDK, beside the user's workflows and activities."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.plugin import SimplePlugin
from temporalio.runtime import Runtime
from temporalio.worker import ReplayerConfig, UnsandboxedWorkflowRunner, Worker, WorkerConfig, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.workflow import NondeterminismError

from anabranch.activities.attempts import quiet_the_sdk
from anabranch.activities.registry import NodeActivities
from anabranch.activities.standard import node_activities
from anabranch.errors import ConfigurationError
from anabranch.graph.source.index import FolderIndex
from anabranch.imports import activity_name, workflow_name
from anabranch.logs import guard_logging
from anabranch.observe.metrics_registry import record_on
from anabranch.rerun.activity import RerunLoader
from anabranch.settings import Settings, settings_from_environment
from anabranch.transport.any_worker import ForAnyWorker
from anabranch.transport.client import converter_for
from anabranch.transport.combined import carries_wire_types, combined
from anabranch.transport.converter import SANDBOX_MODULES
from anabranch.transport.marking import MarkingDataConverter
from anabranch.transport.node_info import NodeInfo
from anabranch.transport.workflow_threads import THREADS, WorkflowThreads
from anabranch.transport.working import closed
from anabranch.workflows.temporal.current_details import CurrentDetails
from anabranch.workflows.temporal.failures import RUN_ENDING, NewerRevision
from anabranch.workflows.temporal.graph_workflow import DynamicGraphWorkflow
from anabranch.workflows.temporal.in_order import InOrder

WORKFLOWS: Final[Sequence[type]] = (DynamicGraphWorkflow,)
_HEARTBEATS = timedelta(seconds=1)
"""How long a worker holds heartbeats back at most. A cancellation reaches an activity with the answer to one."""


class AnabranchPlugin(SimplePlugin):
    """A plugin of Temporal's SDK that serves the graphs of a folder, beside workflows and activities of yours.

    Give it to the client, and every worker of that client serves graphs:

        client = await Client.connect("localhost:7233", plugins=[AnabranchPlugin(graphs="graphs")])
        worker = Worker(client, task_queue="shop", workflows=[Shop], activities=[charge])

    `graphs` is the folder, over that of the `settings`, which are read from the environment unless they are given. A
    client that only starts runs needs no folder. `activities` replaces the activities of nodes; the caller closes them.

    A data converter of the client still converts your values, a codec is applied to what is compressed already, and
    your workflows keep their sandbox, in which `anabranch` is passed through. ConfigurationError refuses the rest: two
    stores for large payloads, activities named like node types, a second dynamic workflow or activity, and failure
    exception types that would end graph runs which another worker could continue.
    """

    def __init__(
        self,
        graphs: Path | str | None = None,
        *,
        settings: Settings | None = None,
        activities: NodeActivities | None = None,
    ) -> None:
        self.settings = _with_graphs(settings or settings_from_environment(), graphs)
        self._given = activities
        self._opened: WeakKeyDictionary[Callable[..., Any], NodeActivities] = WeakKeyDictionary()
        """What is to be closed at the end of a worker, by an activity that only this worker has."""
        self._reruns: WeakKeyDictionary[Callable[..., Any], RerunLoader] = WeakKeyDictionary()
        super().__init__(
            "anabranch",
            data_converter=self._converter,
            workflows=WORKFLOWS,
            interceptors=[ForAnyWorker(), NodeInfo(), CurrentDetails()],
            workflow_runner=_passing_us_through,
            workflow_failure_exception_types=_checked,
        )

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """Add the graphs to a worker, and keep secrets out of the process's logs. Raises ConfigurationError."""
        guard_logging(hide_errors=self.settings.cipher() is not None)
        quiet_the_sdk()
        client = _checked_client(config)
        check_folder(self.settings.graphs)
        names = [name for workflow in config.get("workflows", ()) if (name := workflow_name(workflow))]
        nodes = self._given or node_activities(self.settings, workflows=names)
        reruns = RerunLoader(self.settings, nodes.graphs.load)
        added = [*reruns.activities(), *nodes.activities()]
        _check_activities(config, added)
        _check_workflows(config)
        config = super().configure_worker(config)
        record_on(client.service_client.config.runtime or Runtime.default(), _graphs_of(self.settings))
        converter = client.config(active_config=True)["data_converter"]
        takes_context = not isinstance(converter, MarkingDataConverter) or converter.takes_context
        config["unsandboxed_workflow_runner"] = self._in_order(config, takes_context=takes_context)
        config["activities"] = [*config.get("activities", ()), *added]
        self._reruns[added[-1]] = reruns
        if nodes is not self._given:
            self._opened[added[-1]] = nodes
        throttle = config.get("default_heartbeat_throttle_interval", _HEARTBEATS)
        config["default_heartbeat_throttle_interval"] = min(throttle, _HEARTBEATS)
        if config.get("tuner") is None and config.get("max_concurrent_activities") is None:
            config["max_concurrent_activities"] = self.settings.max_concurrent_activities
        if config.get("workflow_task_executor") is None:
            config["workflow_task_executor"] = WorkflowThreads(config.get("max_concurrent_workflow_tasks") or THREADS)
        return config

    def configure_replayer(self, config: ReplayerConfig) -> ReplayerConfig:
        """Add the graphs to a replayer."""
        config = super().configure_replayer(config)
        config["unsandboxed_workflow_runner"] = self._in_order(config)
        return config

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:  # noqa: A002 - the SDK's
        """Run the worker, then close the connections of its nodes."""
        served = worker.config(active_config=True).get("activities", ())
        try:
            await next(worker)
        finally:
            for activity in served:
                if (reruns := self._reruns.pop(activity, None)) is not None:
                    reruns.close()
                if (nodes := self._opened.pop(activity, None)) is not None:
                    await closed(nodes.aclose())

    def _in_order(self, config: WorkerConfig | ReplayerConfig, *, takes_context: bool = True) -> WorkflowRunner:
        """What runs the workflows of graphs, which ask for no sandbox."""
        cipher = self.settings.cipher()
        runner = config.get("unsandboxed_workflow_runner") or UnsandboxedWorkflowRunner()
        return InOrder(runner, strict=cipher is not None and cipher.strict, takes_context=takes_context)

    def _converter(self, theirs: DataConverter | None) -> DataConverter:
        return combined(converter_for(self.settings), theirs or DataConverter.default)


def _with_graphs(settings: Settings, graphs: Path | str | None) -> Settings:
    return settings if graphs is None else settings.model_copy(update={"graphs": Path(graphs)})


def check_folder(graphs: Path) -> None:
    """Refuse a path that is not a folder. Raises ConfigurationError."""
    if not graphs.is_dir():
        raise ConfigurationError(
            f"the folder {str(graphs)!r} does not exist, or is not a folder",
            place="ANABRANCH_GRAPHS",
            suggestion="name the folder with the YAML files of the graphs: --graphs, ANABRANCH_GRAPHS, or"
            " AnabranchPlugin(graphs=…)",
        )


def _graphs_of(settings: Settings) -> Callable[[], Iterable[str]]:
    index = FolderIndex(settings.graphs, below=settings.graphs_below)
    return lambda: index.names().values()


def _checked_client(config: WorkerConfig) -> Client:
    client = config.get("client")
    assert isinstance(client, Client)  # noqa: S101 - the SDK asks for one
    if not carries_wire_types(client.config(active_config=True)["data_converter"]):
        raise ConfigurationError(
            "the worker's client does not have the plugin, so that graphs and their nodes cannot exchange values",
            suggestion="give it to the client: Client.connect(…, plugins=[AnabranchPlugin(…)]); the worker inherits it",
        )
    return client


def _check_workflows(config: WorkerConfig) -> None:
    theirs = config.get("workflows", ())
    if DynamicGraphWorkflow in theirs:
        raise ConfigurationError("the worker has the plugin twice", suggestion="give it to the client only")
    for workflow in theirs:
        if (name := workflow_name(workflow)) is None or name == "GraphWorkflow":
            state = "is dynamic" if name is None else f"is named {name!r}"
            raise ConfigurationError(
                f"the workflow {workflow.__qualname__!r} {state}, as one of those that run graphs",
                suggestion="give it a name of its own, or serve graphs on a task queue of their own",
            )


def _check_activities(config: WorkerConfig, ours: Sequence[Callable[..., Any]]) -> None:
    taken = {activity_name(activity) for activity in ours}
    for activity in config.get("activities", ()):
        if (name := activity_name(activity)) in taken:
            state = "is dynamic" if name is None else f"is named {name!r}"
            raise ConfigurationError(
                f"the activity {getattr(activity, '__qualname__', activity)!r} {state}, as one of those that run nodes",
                suggestion="give it a name of its own: @activity.defn(name=…)",
            )


def _passing_us_through(runner: WorkflowRunner | None) -> WorkflowRunner:
    """The sandbox of the user's workflows, which share our modules instead of importing them for each run."""
    if runner is None or isinstance(runner, SandboxedWorkflowRunner):
        runner = runner or SandboxedWorkflowRunner()
        restrictions = runner.restrictions.with_passthrough_modules("anabranch", *SANDBOX_MODULES)
        return dataclasses.replace(runner, restrictions=restrictions)
    return runner


def _checked(types: Sequence[type[BaseException]] | None) -> Sequence[type[BaseException]]:
    """The user's failure exception types and ours, which hold for all workflows of the worker.

    What may be retried fails the workflow task instead, which is tried again.
    """
    for each in types or ():
        if issubclass(NondeterminismError, each) or issubclass(NewerRevision, each):
            raise ConfigurationError(
                f"with workflow_failure_exception_types=[{each.__name__}] a worker would end graph runs that another"
                " worker could continue",
                suggestion="say so where your workflows are defined: @workflow.defn(failure_exception_types=[…])",
            )
    return [*(types or ()), *RUN_ENDING]
