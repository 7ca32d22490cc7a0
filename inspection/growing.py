"""A run that is looked at again and again, as it grows: its workflow's code is asked only for what is new.

The SDK replays a whole history at a time, and then evicts the workflow. So what is kept here is the workflow itself,
and what it answered to each activation. When a longer history is replayed, the SDK is given these answers as far as it
asks for the same again, and the workflow goes on behind them. Where anything differs the workflow is made anew.
"""

from __future__ import annotations

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from temporalio.bridge.proto.workflow_activation import RemoveFromCache, WorkflowActivation, WorkflowActivationJob
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import DataConverter
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner

from anabranch.inspection.history import History
from anabranch.inspection.replay import Replayed, check, play, runner_of
from anabranch.workflows.temporal.around import InstanceAround, RunnerAround

_DIGEST_BYTES: Final = 16


class Growing:
    """One workflow run between two looks at it, which come one after the other. `aclose` lets go of it."""

    def __init__(self) -> None:
        self.replayed: Replayed | None = None
        """What the replay of its history has come to."""
        self.instance: WorkflowInstance | None = None
        self.told: list[tuple[bytes, WorkflowActivationCompletion]] = []
        """Digests of what the workflow was asked, and what it answered, in order."""
        self.asked = 0
        """How much of that the replay under way has asked for."""
        self.differs = False
        """Whether the replay under way has asked for something else."""

    @property
    def is_true(self) -> bool:
        """Whether a replay that is over has asked for all that the workflow was asked."""
        return not self.differs and self.asked == len(self.told)

    async def aclose(self) -> None:
        """Have the workflow end its tasks. A later look begins anew."""
        instance, self.instance, self.replayed = self.instance, None, None
        self.told, self.asked, self.differs = [], 0, False
        if instance is not None:
            eviction = WorkflowActivation(
                run_id=instance.get_info().run_id,
                jobs=[WorkflowActivationJob(remove_from_cache=RemoveFromCache(message="nobody looks any more"))],
            )
            await asyncio.to_thread(instance.activate, eviction)


async def replay_on(
    growing: Growing,
    history: History,
    converter: DataConverter,
    threads: ThreadPoolExecutor,
    *,
    namespace: str,
    strict: bool = False,
) -> Replayed:
    """Replay a history that goes on where the last one ended, or any other one. Raises what `replay` does."""
    if not history.has_begun:
        return Replayed(history)
    try:
        is_first = growing.replayed is None
        replayed = growing.replayed = growing.replayed or Replayed(history)
        replayed.read(history)
        runner = _GoingOn(runner_of(replayed, strict=strict), growing)
        failure = await play(replayed, converter, threads, namespace, runner)
        if growing.is_true or is_first:
            check(replayed, failure)
            return replayed
    except BaseException:
        await growing.aclose()
        raise
    await growing.aclose()
    return await replay_on(growing, history, converter, threads, namespace=namespace, strict=strict)


class _GoingOn(RunnerAround):
    """Has a workflow that was replayed before go on."""

    def __init__(self, runner: WorkflowRunner, growing: Growing) -> None:
        super().__init__(runner)
        self._growing = growing

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """See WorkflowRunner."""
        growing = self._growing
        if growing.instance is None:
            growing.instance = super().create_instance(det)
        growing.asked, growing.differs = 0, False
        return _GoesOn(growing.instance, growing)


class _GoesOn(InstanceAround):
    def __init__(self, instance: WorkflowInstance, growing: Growing) -> None:
        super().__init__(instance)
        self._growing = growing

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        growing = self._growing
        if act.jobs[0].HasField("remove_from_cache"):
            if growing.replayed is not None and growing.is_true:
                growing.replayed.finish()
            return WorkflowActivationCompletion()
        act.is_replaying = True
        sign = _sign(act)
        if growing.asked == len(growing.told):
            completion = super().activate(act)
            growing.told.append((sign, _bare(completion)))
        else:
            before, answer = growing.told[growing.asked]
            completion = WorkflowActivationCompletion()
            if sign != before:
                growing.differs = True
                completion.failed.failure.message = "the history is not the one before"
            else:
                completion.CopyFrom(answer)  # the SDK encodes what it is given, in place
        growing.asked += 1
        return completion


def _sign(act: WorkflowActivation) -> bytes:
    """What an activation is known by again: all of it, but for what nobody knows before its workflow task is over."""
    asked = WorkflowActivation()
    asked.CopyFrom(act)
    asked.ClearField("deployment_version_for_current_task")  # no graph's code asks for it
    return hashlib.blake2b(asked.SerializeToString(deterministic=True), digest_size=_DIGEST_BYTES).digest()


def _bare(completion: WorkflowActivationCompletion) -> WorkflowActivationCompletion:
    """An answer without what no replay looks at: the arguments of activities, and the texts for people."""
    bare = WorkflowActivationCompletion()
    bare.CopyFrom(completion)
    for command in bare.successful.commands:
        command.ClearField("user_metadata")
        kind = command.WhichOneof("variant")
        if kind in ("schedule_activity", "schedule_local_activity"):
            getattr(command, kind).ClearField("arguments")
    return bare
