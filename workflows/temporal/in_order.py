"""A workflow runner by which what happens to a run has one order, in the first run and in every replay.

Temporal's core (sdk-python 1.35) lets two things differ while local activities are under way:

- A query is answered at once, and that ends the workflow task. If a local activity has come to its end meanwhile, its
  result is recorded in this task, but the workflow gets it in the next, behind all that has come since; on replay it
  gets it in the task that recorded it, before all that. So here a query has no answer while a local activity is under
  way. The server asks again when the task is over.
- The result of a local activity that came between two tasks is in one activation with what the second task brings; on
  replay it may come in the next one. So here it is treated as if it came in an activation of its own, in both.

A third thing is told for people's sake, and is the same in a replay too: the SDK hands an update on before the results
that came with it. A query may have been answered from those results already, outside of a workflow task; who saw there
that an approval waits, and answered it, would be told that it has not asked yet. So here an update comes behind them.
A run that could continue as new after such a result waits for the update (see `behind`): what it did would be lost.

And what a payload store has may change: the SDK drops a signal whose input it cannot decode, and a replay may find that
input. So here a signal whose input came from a store, or should have, is always dropped. Whether a key is there may
change too, and is more likely to: a signal whose input is encrypted is heard without it. The signal `event` alone gets
what was sent, as it came, and records whether that could be read (see `arrivals`); the others mean the same with any
input. What else cannot be read for the want of a key fails the workflow task, which is tried again, by
whichever worker: what a run was told lets it come to other commands than a key that is missing.

Without all this, a run could come to other commands on replay, or to the same in another order, and would stand still.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import structlog
from temporalio.bridge.proto.workflow_activation import WorkflowActivation, WorkflowActivationJob
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner

from anabranch.cipher import refused_plaintext
from anabranch.errors import EncryptionKeyMissing, InputError
from anabranch.observe import metrics
from anabranch.observe.notes import Notes, take
from anabranch.transport.undecodable import is_encrypted, is_stored, reason_of, undecodable
from anabranch.workflows.interpreter.event import FORM
from anabranch.workflows.temporal import behind
from anabranch.workflows.temporal.around import InstanceAround, RunnerAround
from anabranch.workflows.temporal.messages import EVENT, Messages

if TYPE_CHECKING:
    from temporalio.api.common.v1 import Payload
    from temporalio.converter import SerializationContext

log = structlog.get_logger("anabranch.worker")

_ASIDE: Final = frozenset({"query_workflow", "remove_from_cache"})
"""Jobs that come alone, and are no part of a run's work."""
_AFTER_RESULTS: Final = frozenset({"do_update", "fire_timer", "cancel_workflow"})
"""Jobs that come behind the results of an activation that has an update; among them the update is first."""
_TASK_OF_ITS_OWN: Final = "legacy_query"
"""The id of a query that came alone, when no workflow task was under way: core waits for its answer."""


class InOrder(RunnerAround):
    """Runs the workflows of graphs in order, and others as `runner` does. `strict` refuses updates in plain text.

    Where the data converter `takes_context` of no kind the SDK is spared making one for each payload.
    """

    def __init__(self, runner: WorkflowRunner, *, strict: bool = False, takes_context: bool = True) -> None:
        super().__init__(runner)
        self._strict = strict
        self._takes_context = takes_context

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """See WorkflowRunner."""
        instance = super().create_instance(det)
        if not issubclass(det.defn.cls, Messages):
            return instance
        return _Instance(instance, strict=self._strict, takes_context=self._takes_context)


class _Instance(InstanceAround):
    def __init__(self, instance: WorkflowInstance, *, strict: bool, takes_context: bool) -> None:
        super().__init__(instance)
        self._strict = strict
        self._takes_context = takes_context
        self._notes = Notes(instance.get_info().run_id)
        self._behind = behind.Behind()
        self._under_way: set[int] = set()
        """Sequence numbers of local activities."""

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        if self._under_way and any(_may_wait(job) for job in act.jobs):  # queries come with nothing else
            return _without_commands()
        _check_keys(act)
        if self._strict:
            act = _without_plain_updates(act)
        self._notes.begin(is_replaying=act.is_replaying, history_length=act.history_length)
        take(self._notes)
        behind.take(self._behind)
        completion = self._activate_parts(act)
        self._notes.end(failed=completion.HasField("failed"), closes_task=not self._under_way)
        return completion

    def get_serialization_context(self, command_info: Any) -> SerializationContext | None:
        return super().get_serialization_context(command_info) if self._takes_context else None

    def _activate_parts(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        for job in act.jobs:
            if job.HasField("signal_workflow"):
                act = _without_stored_signals(_without_encrypted_inputs(_with_one_event_each(act)))
                break
        first, *others = _parts(act)
        self._behind.has_updates = any(_brings_updates(part) for part in others)
        completion = self._activate(first)
        for part in others:
            if _brings_updates(part):
                self._behind.has_updates = False  # they are all in one part
            if completion.HasField("failed"):
                break
            _drop_cancellations(completion, {job.resolve_activity.seq for job in part.jobs})
            after = self._activate(part)
            if after.HasField("failed"):
                return after
            completion.MergeFrom(after)  # its commands are added to those before
        return completion

    def _activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        self._under_way.difference_update(job.resolve_activity.seq for job in act.jobs if _is_local_result(job))
        completion = self._activate_timed(act)
        self._under_way.update(
            command.schedule_local_activity.seq
            for command in completion.successful.commands
            if command.HasField("schedule_local_activity")
        )
        return completion

    def _activate_timed(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """Activate, and say how long that took, unless it is replayed."""
        if not metrics.is_on() or act.is_replaying or act.jobs[0].WhichOneof("variant") in _ASIDE:
            return self._instance.activate(act)
        began = time.perf_counter()
        completion = self._instance.activate(act)
        metrics.note(metrics.INTERPRETER, time.perf_counter() - began, self.get_info().workflow_type)
        return completion


def _may_wait(job: WorkflowActivationJob) -> bool:
    return job.HasField("query_workflow") and job.query_workflow.query_id != _TASK_OF_ITS_OWN


def _is_local_result(job: WorkflowActivationJob) -> bool:
    return job.HasField("resolve_activity") and job.resolve_activity.is_local


def _check_keys(act: WorkflowActivation) -> None:
    """Raises EncryptionKeyMissing for what decides how the run goes on. A new update is refused with it instead."""
    for job in act.jobs:
        for payload in _deciding(job):
            if isinstance(missing := reason_of(payload), EncryptionKeyMissing):
                raise missing


def _deciding(job: WorkflowActivationJob) -> Iterable[Payload]:
    match job.WhichOneof("variant"):
        case "initialize_workflow":
            start = job.initialize_workflow
            return (*start.arguments, *start.memo.fields.values())
        case "resolve_activity":
            return (job.resolve_activity.result.completed.result,)
        case "resolve_child_workflow_execution":
            return (job.resolve_child_workflow_execution.result.completed.result,)
        case "do_update" if not job.do_update.run_validator:
            return job.do_update.input
    return ()


def _without_plain_updates(act: WorkflowActivation) -> WorkflowActivation:
    """In place of the input of a new update that is not encrypted comes the reason to refuse it."""
    if not any(_is_plain_update(job) for job in act.jobs):
        return act
    part = _with_jobs(act, act.jobs)
    for job in part.jobs:
        if _is_plain_update(job):
            del job.do_update.input[:]
            job.do_update.input.append(undecodable(refused_plaintext("update")))
    return part


def _is_plain_update(job: WorkflowActivationJob) -> bool:
    """On replay no validator is asked: what was accepted stays so."""
    update = job.do_update
    return job.HasField("do_update") and update.run_validator and not all(map(is_encrypted, update.input))


def _with_one_event_each(act: WorkflowActivation) -> WorkflowActivation:
    """The signal `event` is handed one input: for two its handler would be called with an argument too many."""
    if not any(_is_event(job) and len(job.signal_workflow.input) > 1 for job in act.jobs):
        return act
    part = _with_jobs(act, act.jobs)
    for job in part.jobs:
        if _is_event(job) and (count := len(job.signal_workflow.input)) > 1:
            del job.signal_workflow.input[:]
            refusal = InputError(f"the signal takes one JSON object, not {count} inputs", suggestion=FORM)
            job.signal_workflow.input.append(undecodable(refusal))
    return part


def _is_event(job: WorkflowActivationJob) -> bool:
    return job.HasField("signal_workflow") and job.signal_workflow.signal_name == EVENT


def _without_encrypted_inputs(act: WorkflowActivation) -> WorkflowActivation:
    """Signals without the inputs that only a key opens."""
    if not any(any(map(is_encrypted, job.signal_workflow.input)) and not _is_event(job) for job in act.jobs):
        return act
    part = _with_jobs(act, act.jobs)
    for job in part.jobs:
        if any(map(is_encrypted, job.signal_workflow.input)) and not _is_event(job):
            del job.signal_workflow.input[:]
    return part


def _without_stored_signals(act: WorkflowActivation) -> WorkflowActivation:
    dropped = [job for job in act.jobs if any(map(is_stored, job.signal_workflow.input)) and not _is_event(job)]
    if not dropped:
        return act
    for job in dropped if not act.is_replaying else ():
        log.warning("a signal is dropped, its input is in a payload store", signal=job.signal_workflow.signal_name)
    return _with_jobs(act, [job for job in act.jobs if job not in dropped])


def _parts(act: WorkflowActivation) -> Iterator[WorkflowActivation]:
    """The activations for which this one is taken, one after the other."""
    if len(act.jobs) == 1:
        yield act
        return
    local = [job for job in act.jobs if _is_local_result(job)]
    others = [job for job in act.jobs if not _is_local_result(job)] if local else act.jobs
    late = frozenset[str]()
    if any(job.HasField("do_update") for job in others) and any(map(_is_result, others)):
        late = _AFTER_RESULTS
    elif not local:
        yield act
        return
    first = [job for job in others if job.WhichOneof("variant") not in late]
    then = [job for job in others if job.WhichOneof("variant") in late]
    for jobs in (first, then, *([job] for job in local)):
        if jobs:
            yield _with_jobs(act, jobs)


def _is_result(job: WorkflowActivationJob) -> bool:
    return job.WhichOneof("variant") in ("resolve_activity", "resolve_child_workflow_execution")


def _brings_updates(part: WorkflowActivation) -> bool:
    return any(job.HasField("do_update") for job in part.jobs)


def _drop_cancellations(completion: WorkflowActivationCompletion, done: set[int]) -> None:
    """Of local activities that are done, as core knows already: it takes none for them."""
    commands = completion.successful.commands
    for index in reversed(range(len(commands))):
        cancelled = commands[index].request_cancel_local_activity
        if commands[index].HasField("request_cancel_local_activity") and cancelled.seq in done:
            del commands[index]


def _with_jobs(act: WorkflowActivation, jobs: Sequence[WorkflowActivationJob]) -> WorkflowActivation:
    part = WorkflowActivation()
    part.CopyFrom(act)
    del part.jobs[:]
    part.jobs.extend(jobs)
    return part


def _without_commands() -> WorkflowActivationCompletion:
    completion = WorkflowActivationCompletion()
    completion.successful.SetInParent()
    return completion
