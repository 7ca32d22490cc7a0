"""A history is replayed by the SDK, and the interpreter's state is looked at after each activation.

The end of a replay evicts the workflow, which cancels what runs and so changes the state: nobody looks after that.
Nothing is logged, traced or counted: for the workflow's code all of it is a replay, the newest task too.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

from temporalio import workflow
from temporalio.bridge.proto.workflow_activation import WorkflowActivation, WorkflowActivationJob
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.client import WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    Replayer,
    UnsandboxedWorkflowRunner,
    WorkflowInboundInterceptor,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowInterceptorClassInput,
    WorkflowRunner,
)
from temporalio.workflow import NondeterminismError

from anabranch.context.merge.lineage import Line
from anabranch.errors import AnabranchError, HistoryInvalid, PayloadMissing
from anabranch.inspection.film import Film
from anabranch.inspection.history import History, markers, time_of
from anabranch.inspection.undo_plan import UndoPlan, undo_plan
from anabranch.inspection.visits import Recorder, Route, Visit, routes_to
from anabranch.workflows.interpreter.journal import Journal
from anabranch.workflows.interpreter.node_run import Status
from anabranch.workflows.interpreter.rerun import RerunMachine
from anabranch.workflows.interpreter.trail import Version
from anabranch.workflows.temporal.around import InstanceAround, RunnerAround
from anabranch.workflows.temporal.driver import Driver
from anabranch.workflows.temporal.failures import RUN_ENDING, NewerRevision
from anabranch.workflows.temporal.graph_workflow import DynamicGraphWorkflow
from anabranch.workflows.temporal.in_order import InOrder
from anabranch.workflows.temporal.messages import Messages
from anabranch.workflows.temporal.received import StoreDiffers


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why a workflow task fails."""

    type: str
    message: str
    error: AnabranchError | None = None


class Replayed(Interceptor):
    """One history that is replayed: its film, what the run told, and the driver at its end.

    `ask` is called with that driver, and may refuse; it changes nothing.
    """

    def __init__(self, history: History, ask: Callable[[Driver], object] | None = None) -> None:
        self._ask = ask
        self.refusal: AnabranchError | None = None
        """What `ask` raised."""
        self.journal = Journal()
        self.recorder = Recorder(self._now)
        self.film = Film(self.recorder)
        self.carried: list[Version] = []
        """The newest versions that the workflow run before handed on."""
        self.skipped: dict[str, tuple[tuple[int, ...], tuple[Route, ...]]] = {}
        """Of each node that was skipped, and whose scope is not over: the versions on its line, the edges to it."""
        self.line: Line | None = None
        """The context at the end of the history."""
        self.undo_plan: UndoPlan | None = None
        """What a cancel at the end of the history would undo."""
        self.visits: tuple[Visit, ...] = ()
        """The visits at the end of the history, before the eviction ends them."""
        self.versions: tuple[Version, ...] = ()
        """Likewise the versions of the context."""
        self.told = Journal()
        """Likewise what the run was told."""
        self.run: Messages | None = None
        self._newest = 0
        self.read(history)

    def read(self, history: History) -> None:
        """Go by a history: the same one, or one that goes on where it ended."""
        self.history = history
        self.fault: _Fault | None = None
        """Why the code of the workflow did not go on."""
        self._local_results = _local_results(history)
        self._updates = _updates(history)

    @property
    def kept(self) -> dict[str, str]:
        """Of a rerun, the nodes that kept what they came to before, with the keys of their effects."""
        machine = self.journal.machine
        return machine.keeping.keys if isinstance(machine, RerunMachine) else {}

    @property
    def driver(self) -> Driver | None:
        """What plays the run; None where its graph was not loaded."""
        return None if self.run is None else self.run.driver

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002 - the SDK's name
    ) -> type[WorkflowInboundInterceptor]:
        """See Interceptor."""
        replayed = self

        class Noting(WorkflowInboundInterceptor):
            async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:  # noqa: A002 - the SDK's name
                replayed.run = run = workflow.instance()
                run.watcher, run.journal = replayed.recorder, replayed.journal
                return await super().execute_workflow(input)

        return Noting

    def look(self, act: WorkflowActivation) -> None:
        """Take a frame after an activation."""
        if (driver := self.driver) is None:
            return
        if not self.film.frames:
            trail = driver.machine.state.trail
            made = trail.count - len(self.recorder.versions)
            self.carried = [version for version in trail.versions if version.number <= made]
        event_id = max(act.history_length, self._newest, *map(self._event_of, act.jobs))
        self._newest = event_id
        self.film.look(driver.machine, event_id, time_of(self.history.events[event_id - 1]))

    def _event_of(self, job: WorkflowActivationJob) -> int:
        """The event, behind the start of the workflow task, that holds what a job brings; 0 where that is before."""
        if job.HasField("resolve_activity") and job.resolve_activity.is_local:
            return self._local_results.get(job.resolve_activity.seq, 0)
        return self._updates.get(job.do_update.id, 0) if job.HasField("do_update") else 0

    def finish(self) -> None:
        """Look at what only the end shows, before the replay evicts the workflow."""
        if (driver := self.driver) is not None:
            self.line = driver.machine.context()
            self.visits, self.told = tuple(self.recorder.visits), self.journal.copy()
            self.versions = (*self.carried, *self.recorder.versions)
            state = driver.machine.state
            self.skipped = {}
            for scope in dict.fromkeys((state.main, state.root, *state.scopes.values())):
                for node in scope.nodes.values():
                    if node.status is Status.SKIPPED:
                        self.skipped[scope.address(node)] = node.versions, routes_to(scope, node)
            self.undo_plan = undo_plan(driver.machine, self.recorder.visits)
            if self._ask is not None:
                try:
                    self._ask(driver)
                except AnabranchError as error:
                    self.refusal = error

    def _now(self) -> int:
        return 0 if (machine := self.journal.machine) is None else machine.state.at


async def replay(
    history: History,
    converter: DataConverter,
    threads: ThreadPoolExecutor,
    *,
    namespace: str,
    strict: bool = False,
    ask: Callable[[Driver], object] | None = None,
) -> Replayed:
    """Replay a history. Raises HistoryInvalid, EncryptionKeyMissing, PayloadMissing, Unavailable."""
    replayed = Replayed(history, ask)
    if history.has_begun:
        runner = runner_of(replayed, strict=strict)
        check(replayed, await play(replayed, converter, threads, namespace, runner))
    return replayed


def runner_of(replayed: Replayed, *, strict: bool) -> WorkflowRunner:
    """What plays the run, and has `replayed` look at it."""
    return _Guarding(InOrder(_Looking(UnsandboxedWorkflowRunner(), replayed), strict=strict), replayed)


async def play(
    replayed: Replayed,
    converter: DataConverter,
    threads: ThreadPoolExecutor,
    namespace: str,
    runner: WorkflowRunner,
) -> Exception | None:
    """Why the SDK could not replay the history, if it could not."""
    replayer = Replayer(
        workflows=[DynamicGraphWorkflow],
        data_converter=converter,
        namespace=namespace,
        interceptors=[replayed],
        unsandboxed_workflow_runner=runner,
        workflow_failure_exception_types=RUN_ENDING,
        workflow_task_executor=threads,
        runtime=_runtime(),
        debug_mode=True,  # there is no deadlock to detect: a large history on a busy machine takes its time
    )
    events = WorkflowHistory(replayed.history.workflow_id, replayed.history.heard)
    return (await replayer.replay_workflow(events, raise_on_replay_failure=False)).replay_failure


def check(replayed: Replayed, failure: Exception | None) -> None:
    """Raise why the workflow did not go on, if it did not. `failure` is what the SDK says."""
    if (fault := replayed.fault) is None and failure is not None:
        fault = _Fault(type(failure).__name__, str(failure))
    if fault is not None:
        raise fault.error or _why(fault)


@cache
def _runtime() -> Runtime:
    """A core that keeps to itself: it would print each replay that fails to standard output."""
    return Runtime(telemetry=TelemetryConfig(logging=None))


class _Guarding(RunnerAround):
    """Has all of a history count as a replay, and notes why it does not go on."""

    def __init__(self, runner: WorkflowRunner, replayed: Replayed) -> None:
        super().__init__(runner)
        self._replayed = replayed

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return _Guarded(super().create_instance(det), self._replayed)


class _Looking(RunnerAround):
    """Looks at the state after each activation, or each of those for which one is taken, before the eviction."""

    def __init__(self, runner: WorkflowRunner, replayed: Replayed) -> None:
        super().__init__(runner)
        self._replayed = replayed

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return _Looked(super().create_instance(det), self._replayed)


class _Instance(InstanceAround):
    def __init__(self, instance: WorkflowInstance, replayed: Replayed) -> None:
        super().__init__(instance)
        self._replayed = replayed


class _Guarded(_Instance):
    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        act.is_replaying = True
        try:
            return self._instance.activate(act)
        except AnabranchError as error:
            self._replayed.fault = self._replayed.fault or _Fault(error.code, str(error), error)
            raise


class _Looked(_Instance):
    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        if act.jobs[0].HasField("remove_from_cache"):
            self._replayed.finish()
            return self._instance.activate(act)
        completion = self._instance.activate(act)
        if completion.HasField("failed"):
            failure = completion.failed.failure
            fault = _Fault(failure.application_failure_info.type, failure.message)
            self._replayed.fault = self._replayed.fault or fault
        else:
            self._replayed.look(act)
        return completion


def _local_results(history: History) -> dict[int, int]:
    """The events that record local activities, by the activity's number in the workflow."""
    found: dict[int, int] = {}
    for event in markers(history.events):
        kept = event.marker_recorded_event_attributes.details.get("data")
        try:
            number = json.loads(kept.payloads[0].data)["seq"] if kept is not None else None
        except (ValueError, LookupError, TypeError):
            continue
        if isinstance(number, int):
            found[number] = event.event_id
    return found


def _updates(history: History) -> dict[str, int]:
    """The events that record that an update was accepted, by its id."""
    accepted = [
        event for event in history.events if event.HasField("workflow_execution_update_accepted_event_attributes")
    ]
    return {
        event.workflow_execution_update_accepted_event_attributes.accepted_request.meta.update_id: event.event_id
        for event in accepted
    }


def _why(fault: _Fault) -> AnabranchError:
    """The error that says why a history cannot be replayed."""
    said = fault.message.partition("\n")[0]
    if fault.type == StoreDiffers.__name__:
        return PayloadMissing(said, suggestion="set PAYLOAD_STORE_URL to the store of the workers, and restore it")
    if fault.type == NewerRevision.__name__:
        return HistoryInvalid(said, suggestion="inspect it with a newer release")
    if fault.type == NondeterminismError.__name__:
        return HistoryInvalid(
            f"the history is not that of a graph's run, or of another release: {said:.300}",
            suggestion="inspect runs of graphs, with the release that their workers have",
        )
    return HistoryInvalid(f"the history cannot be replayed: {said:.300}")
