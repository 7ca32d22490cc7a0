"""What a worker answers that is given a history as far as an event, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.client import WorkflowHistory
from temporalio.worker import (
    Replayer,
    UnsandboxedWorkflowRunner,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowRunner,
)

from anabranch.inspection.history import History
from anabranch.plugin import AnabranchPlugin
from anabranch.transport.converter import data_converter
from anabranch.transport.workflow_threads import WorkflowThreads

QUERIES = ("status", "history", "context")


@dataclass
class Answers(WorkflowRunner):
    """Asks a replayed workflow the queries of a graph before it is evicted."""

    runner: WorkflowRunner = field(default_factory=UnsandboxedWorkflowRunner)
    found: dict[str, Any] = field(default_factory=dict)

    def prepare_workflow(self, defn: Any) -> None:
        self.runner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return Asked(self.runner.create_instance(det), self.found)

    def set_worker_level_failure_exception_types(self, types: Sequence[type[BaseException]]) -> None:
        self.runner.set_worker_level_failure_exception_types(types)


class Asked(WorkflowInstance):
    def __init__(self, instance: WorkflowInstance, found: dict[str, Any]) -> None:
        self.instance = instance
        self.found = found

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        if act.jobs[0].HasField("remove_from_cache"):
            self.ask(act)
        return self.instance.activate(act)

    def ask(self, eviction: WorkflowActivation) -> None:
        act = WorkflowActivation(run_id=eviction.run_id, timestamp=eviction.timestamp, is_replaying=True)
        for name in QUERIES:
            job = act.jobs.add().query_workflow
            job.query_id, job.query_type = name, name
        converter = data_converter().payload_converter
        for command in self.instance.activate(act).successful.commands:
            answer = command.respond_to_query
            self.found[answer.query_id] = converter.from_payload(answer.succeeded.response)

    def get_serialization_context(self, command_info: Any) -> Any:
        return self.instance.get_serialization_context(command_info)

    def get_external_store_context(self, command_info: Any) -> Any:
        return self.instance.get_external_store_context(command_info)

    def get_info(self) -> Any:
        return self.instance.get_info()

    def get_thread_id(self) -> int | None:
        return self.instance.get_thread_id()


async def answers(history: History) -> dict[str, Any]:
    """What the queries are answered by a worker that has this history."""
    asked = Answers()
    replayer = Replayer(
        workflows=[],
        plugins=[AnabranchPlugin()],
        namespace="default",  # which is in the commands that answer questions
        unsandboxed_workflow_runner=asked,
        workflow_task_executor=WorkflowThreads(2),
        debug_mode=True,
    )
    await replayer.replay_workflow(WorkflowHistory(history.workflow_id, history.events))
    assert asked.found.keys() == set(QUERIES)
    return asked.found
