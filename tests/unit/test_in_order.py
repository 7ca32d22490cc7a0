"""What happens to a workflow has one order: results of local activities alone and last, queries not before them."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.bridge.proto.workflow_activation import WorkflowActivation, WorkflowActivationJob
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner

from anabranch.workflows.temporal.behind import updates_follow
from anabranch.workflows.temporal.graph_workflow import GraphWorkflow
from anabranch.workflows.temporal.in_order import InOrder


class Recording:
    """Notes what each activation has, and answers with the commands that were given for it."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []
        self.behind: list[bool] = []
        self.commands: list[list[WorkflowCommand]] = []
        self.fails = False

    def get_info(self) -> SimpleNamespace:
        return SimpleNamespace(run_id="r", workflow_type="g")

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        self.seen.append([_told(job) for job in act.jobs])
        self.behind.append(updates_follow())
        completion = WorkflowActivationCompletion()
        if self.fails:
            completion.failed.failure.message = "no"
        else:
            completion.successful.commands.extend(self.commands.pop(0) if self.commands else [])
        return completion


class Runner(WorkflowRunner):
    def __init__(self, instance: Recording) -> None:
        self.instance = instance

    def prepare_workflow(self, defn: Any) -> None:
        raise AssertionError("nobody asks")

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return cast("WorkflowInstance", self.instance)


class Details:
    """Of the workflow `cls`: all that a runner looks at."""

    def __init__(self, cls: type) -> None:
        self.defn = type("Definition", (), {"cls": cls})


def instance_of(recording: Recording, cls: type = GraphWorkflow) -> WorkflowInstance:
    return InOrder(Runner(recording)).create_instance(cast("WorkflowInstanceDetails", Details(cls)))


def _told(job: WorkflowActivationJob) -> str:
    kind = job.WhichOneof("variant") or ""
    return f"{kind} {job.resolve_activity.seq}" if kind == "resolve_activity" else kind


def local(seq: int) -> WorkflowActivationJob:
    job = WorkflowActivationJob()
    job.resolve_activity.seq, job.resolve_activity.is_local = seq, True
    return job


def remote(seq: int) -> WorkflowActivationJob:
    job = WorkflowActivationJob()
    job.resolve_activity.seq = seq
    return job


def signal() -> WorkflowActivationJob:
    job = WorkflowActivationJob()
    job.signal_workflow.signal_name = "pause"
    return job


def update() -> WorkflowActivationJob:
    job = WorkflowActivationJob()
    job.do_update.name = "complete_task"
    return job


def timer() -> WorkflowActivationJob:
    job = WorkflowActivationJob()
    job.fire_timer.seq = 9
    return job


def child_result() -> WorkflowActivationJob:
    job = WorkflowActivationJob()
    job.resolve_child_workflow_execution.seq = 8
    return job


def query(query_id: str = "q1") -> WorkflowActivationJob:
    job = WorkflowActivationJob()
    job.query_workflow.query_id = query_id
    return job


def activation(*jobs: WorkflowActivationJob) -> WorkflowActivation:
    return WorkflowActivation(run_id="r", history_length=7, jobs=jobs)


def schedule(seq: int) -> WorkflowCommand:
    command = WorkflowCommand()
    command.schedule_local_activity.seq = seq
    return command


def cancel(seq: int) -> WorkflowCommand:
    command = WorkflowCommand()
    command.request_cancel_local_activity.seq = seq
    return command


def start_timer(seq: int) -> WorkflowCommand:
    command = WorkflowCommand()
    command.start_timer.seq = seq
    return command


def commands_of(completion: WorkflowActivationCompletion) -> Iterable[str | None]:
    return [command.WhichOneof("variant") for command in completion.successful.commands]


def test_results_of_local_activities_come_last_and_one_by_one() -> None:
    recording = Recording()
    instance_of(recording).activate(activation(local(1), signal(), remote(2), local(3)))
    assert recording.seen == [["signal_workflow", "resolve_activity 2"], ["resolve_activity 1"], ["resolve_activity 3"]]


@pytest.mark.parametrize(
    ("jobs", "parts"),
    [
        ((update(), remote(2)), [["resolve_activity 2"], ["do_update"]]),
        ((update(), child_result()), [["resolve_child_workflow_execution"], ["do_update"]]),
        ((signal(), update(), remote(2)), [["signal_workflow", "resolve_activity 2"], ["do_update"]]),
        ((update(), timer(), remote(2)), [["resolve_activity 2"], ["do_update", "fire_timer"]]),
        ((update(), local(1), remote(2)), [["resolve_activity 2"], ["do_update"], ["resolve_activity 1"]]),
        ((update(), local(1)), [["do_update"], ["resolve_activity 1"]]),
        ((update(), timer()), [["do_update", "fire_timer"]]),
        ((timer(), remote(2)), [["fire_timer", "resolve_activity 2"]]),
    ],
)
def test_an_update_comes_behind_the_results_that_came_with_it(
    jobs: tuple[WorkflowActivationJob, ...], parts: list[list[str]]
) -> None:
    recording = Recording()
    instance_of(recording).activate(activation(*jobs))
    assert recording.seen == parts


def test_a_run_knows_while_updates_are_behind() -> None:
    recording = Recording()
    instance = instance_of(recording)
    instance.activate(activation(update(), local(1), remote(2)))
    instance.activate(activation(update()))
    instance.activate(activation(remote(2)))
    assert recording.behind == [True, False, False, False, False]


def test_the_commands_of_all_parts_are_one_completion_in_their_order() -> None:
    recording = Recording()
    recording.commands = [[start_timer(1)], [schedule(4)]]
    completion = instance_of(recording).activate(activation(signal(), local(1)))
    assert commands_of(completion) == ["start_timer", "schedule_local_activity"]


def test_what_comes_alone_is_not_divided() -> None:
    recording = Recording()
    for jobs in ([local(1)], [signal(), remote(2)]):
        instance_of(recording).activate(activation(*jobs))
    assert recording.seen == [["resolve_activity 1"], ["signal_workflow", "resolve_activity 2"]]


def test_a_query_is_not_answered_while_a_local_activity_is_under_way() -> None:
    recording = Recording()
    recording.commands = [[schedule(1)]]
    instance = instance_of(recording)
    instance.activate(activation(signal()))
    held_back = instance.activate(activation(query()))
    assert (held_back.HasField("successful"), commands_of(held_back)) == (True, [])
    instance.activate(activation(local(1)))
    instance.activate(activation(query()))
    assert recording.seen == [["signal_workflow"], ["resolve_activity 1"], ["query_workflow"]]


def test_a_query_that_has_a_task_of_its_own_is_answered_whatever_is_under_way() -> None:
    recording = Recording()
    recording.commands = [[schedule(1)]]
    instance = instance_of(recording)
    instance.activate(activation(signal()))
    instance.activate(activation(query("legacy_query")))
    assert recording.seen == [["signal_workflow"], ["query_workflow"]]


def test_a_local_activity_whose_result_is_there_is_not_cancelled() -> None:
    """Core has the result already, and takes no cancellation of it."""
    recording = Recording()
    recording.commands = [[cancel(1), cancel(2), start_timer(5)]]
    completion = instance_of(recording).activate(activation(signal(), local(1)))
    left = completion.successful.commands
    assert [each.request_cancel_local_activity.seq for each in left] == [2, 0]
    assert commands_of(completion) == ["request_cancel_local_activity", "start_timer"]


def test_nothing_follows_a_part_that_failed() -> None:
    recording = Recording()
    recording.fails = True
    completion = instance_of(recording).activate(activation(signal(), local(1)))
    assert completion.failed.failure.message == "no"
    assert recording.seen == [["signal_workflow"]]


@pytest.mark.parametrize("jobs", [[local(1), signal()], [query()]])
def test_workflows_that_run_no_graph_are_left_as_they_are(jobs: list[WorkflowActivationJob]) -> None:
    recording = Recording()
    recording.commands = [[schedule(1)]]
    instance = instance_of(recording, cls=object)
    instance.activate(activation(signal()))
    instance.activate(activation(*jobs))
    assert recording.seen[1:] == [[_told(job) for job in jobs]]
