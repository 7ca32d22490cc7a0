"""Queries, signals and updates that come while a run starts: its history replays, and another worker goes on with it.

Files of the graphs' folder are touched all the time, so that graphs are loaded again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
from typing import Any

from temporalio import workflow
from temporalio.client import WorkflowHandle, WorkflowQueryFailedError, WorkflowUpdateFailedError
from temporalio.service import RPCError
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker

from anabranch.plugin import AnabranchPlugin
from tests.attack.attack import Attack, Tally
from tests.attack.live import Target, target

_MODES = ("queries", "signals", "updates", "all")
_AT_ONCE = 6
_RULE = {"type": "rule", "local": True, "rules": [{"then": {"k": "{{ n + 1 }}"}}]}
_WIDE: dict[str, Any] = {f"n{index}": _RULE for index in range(60)}
GRAPHS = {
    "wide": json.dumps({"name": "wide", "nodes": {**_WIDE, "hold": {"type": "wait", "for": "2h"}}}),
    "narrow": json.dumps({"name": "narrow", "nodes": {"n": _RULE, "ask": {"type": "approval", "prompt": "x"}}}),
    **{f"filler{index}": json.dumps({"name": f"filler{index}", "nodes": _WIDE}) for index in range(20)},
}
_REFUSED = (RPCError, WorkflowQueryFailedError, WorkflowUpdateFailedError, TimeoutError)


async def run(tally: Tally, numbers: range) -> None:
    """Start runs with these numbers, several at a time."""
    async with target(GRAPHS) as on:
        touching = asyncio.create_task(_touch(on))
        for first in range(numbers.start, numbers.stop, _AT_ONCE):
            batch = range(first, min(first + _AT_ONCE, numbers.stop))
            seeds = [tally.rng.randrange(2**32) for _ in batch]
            handles = await asyncio.gather(*(_started(on, *each) for each in zip(batch, seeds, strict=True)))
            for number, handle in zip(batch, handles, strict=True):
                wrong = await on.not_answering(handle.id) or await _not_replayed(on, handle)
                tally.judge(f"{number} {_MODES[number % len(_MODES)]} during the start of {handle.id}", wrong)
        touching.cancel()
        await _control(tally, on)


async def _touch(on: Target) -> None:
    while True:
        os.utime(on.folder / "graphs" / "filler0.yaml")
        await asyncio.sleep(0.05)


async def _started(on: Target, number: int, seed: int) -> WorkflowHandle[Any, Any]:
    """Start a run, and let it be asked and told from the first moment."""
    rng, mode = random.Random(seed), _MODES[number % len(_MODES)]
    name = "narrow" if number % 3 == 0 else "wide"
    handle: WorkflowHandle[Any, Any] = await on.client.start_workflow(
        name, {"n": number}, id=f"{name}-{number}-{seed}", task_queue=on.task_queue
    )
    told = []
    for turn in range(12):
        told.append(asyncio.create_task(_tell(handle, mode if mode != "all" else _MODES[turn % 3], rng.randrange(4))))
        await asyncio.sleep(rng.choice((0, 0.01, 0.03, 0.08)))
    await asyncio.gather(*told)
    with contextlib.suppress(*_REFUSED):
        await handle.signal("resume")
    return handle


async def _tell(handle: WorkflowHandle[Any, Any], mode: str, choice: int) -> None:
    with contextlib.suppress(*_REFUSED):
        async with asyncio.timeout(20):
            if mode == "queries":
                await handle.query(("status", "context", "history", "diagram")[choice])
            elif mode == "signals":
                await handle.signal(("pause", "resume", "unknown", "resume")[choice])
            else:
                await handle.execute_update("write_context", {"changes": {"q": choice}, "base_version": 1})


async def _not_replayed(on: Target, handle: WorkflowHandle[Any, Any]) -> str | None:
    """Why the run's history does not replay, or None."""
    replayer = Replayer(workflows=[], plugins=[AnabranchPlugin()], data_converter=on.client.data_converter)
    result = await replayer.replay_workflow(await handle.fetch_history(), raise_on_replay_failure=False)
    return None if result.replay_failure is None else f"its history does not replay: {result.replay_failure!s:.300}"


class _Once:
    """Whether the workflow below has been run before in this process."""

    ran = False


@workflow.defn(name="Fickle", sandboxed=False)
class Fickle:
    """Decides by what is not in its history."""

    @workflow.run
    async def run(self) -> None:
        """A timer at first, nothing on replay."""
        if not _Once.ran:
            _Once.ran = True
            await asyncio.sleep(0.01)


async def _control(tally: Tally, on: Target) -> None:
    runner = UnsandboxedWorkflowRunner()
    async with Worker(on.client, task_queue="fickle", workflows=[Fickle], workflow_runner=runner):
        handle = await on.client.start_workflow("Fickle", id="fickle", task_queue="fickle")
        await handle.result()
    replayer = Replayer(workflows=[Fickle], workflow_runner=runner)
    result = await replayer.replay_workflow(await handle.fetch_history(), raise_on_replay_failure=False)
    tally.control("a run that decides otherwise on replay", seen=result.replay_failure is not None)


STARTS = Attack("starts", run, small=24, release=240, chunk=120)
