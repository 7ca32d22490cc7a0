"""Runs the nodes of a segment: one activity for what would have been one for each node.

Each chain begins with a node that is ready, and goes on while a node has succeeded and has done nothing that only the
run can judge: what it wrote leaves no doubt what the next node sees. The run then hears of each node by itself, and
asks for the next one; what it would ask otherwise was not run here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import msgpack
from temporalio import activity
from temporalio.exceptions import (
    ApplicationError,
    TimeoutError,  # noqa: A004 - Temporal's own name
    TimeoutType,
)

from anabranch.context.changes import ChangeSet, refine
from anabranch.context.distributed import DistributedContext
from anabranch.limits import SEGMENT_BYTES, SEGMENT_SECONDS
from anabranch.observe import metrics, traces
from anabranch.observe.traces import Place
from anabranch.transport.failures import mark_ran, told_failure
from anabranch.transport.node_info import work_as
from anabranch.transport.node_protocol import NodeTask, iso_time
from anabranch.transport.segment import CANCELLED, Ran, Segment, SegmentResult, Step

RunNode = Callable[[NodeTask], Awaitable[ChangeSet]]
"""Runs one attempt of a node."""


async def play(tracks: Sequence[tuple[NodeTask, Segment]], run: RunNode) -> SegmentResult:
    """Run the nodes that are ready, each with what follows it alone; returns what each node came to."""
    played = _Played(run)
    try:
        await asyncio.gather(*(_Chain(task, segment, played).play() for task, segment in tracks))
    except asyncio.CancelledError:
        details = activity.cancellation_details()
        if details is None or not details.cancel_requested:
            raise  # the worker stops: another one plays the segment
    if any(each.changes is not None for each in played.ran):
        mark_ran(f"node {played.ran[0].address!r}")
    return SegmentResult(tracks[0][0].context.metadata.updated_at, tuple(played.ran))


class _Played:
    """What all chains of a segment have come to."""

    def __init__(self, run: RunNode) -> None:
        self.run = run
        self.ran: list[Ran] = []
        self._began = time.monotonic()
        self._room = SEGMENT_BYTES

    @property
    def elapsed(self) -> int:
        """Milliseconds since the segment began."""
        return int((time.monotonic() - self._began) * 1000)

    def may_go_on(self, changes: ChangeSet) -> bool:
        """Whether another node may start behind one that has made these changes."""
        self._room -= len(msgpack.packb(changes.to_wire()) or b"")
        return self._room > 0 and time.monotonic() - self._began < SEGMENT_SECONDS


class _Chain:
    """A node that is ready, and those that follow it one by one."""

    def __init__(self, task: NodeTask, segment: Segment, played: _Played) -> None:
        self._task = task
        self._segment = segment
        self._played = played
        self._fences = frozenset(segment.fences)
        self._began = task.context.metadata.updated_at
        self._version = task.context.metadata.version
        self._data: dict[str, bytes] = {}
        """Packed: no handler can change what another one sees."""

    async def play(self) -> None:
        """Run the nodes until one fails, or the run has to judge how it goes on."""
        if self._segment.steps:
            data = {**self._task.context.data, **self._segment.data}
            self._data = {key: msgpack.packb(value) or b"" for key, value in data.items()}
        changes = await self._ran(self._task, self._segment.seconds, 0)
        for step in self._segment.steps:
            if changes is None or not self._played.may_go_on(changes) or not self._follows(changes):
                return
            started = self._played.elapsed
            changes = await self._ran(self._task_of(step, self._began + started), step.seconds, started)

    async def _ran(self, task: NodeTask, seconds: float, started: int) -> ChangeSet | None:
        """Run a node and note what it came to; returns what it changed, None where it failed."""
        changes, failure = None, None
        try:
            # Where the segment is an attempt of a later number, that of the node with which it begins is one too.
            attempt = activity.info().attempt if task is self._task else 1
            changes = await _in_time(self._played.run, task, seconds, attempt)
        except asyncio.CancelledError:
            failure = CANCELLED
        except Exception as error:
            failure = told_failure(error)
        ran = Ran(task.address, task.context.metadata.version, started, self._played.elapsed, changes, failure)
        self._played.ran.append(ran)
        return changes

    def _follows(self, changes: ChangeSet) -> bool:
        """Whether what the next node sees is known, with these changes: then it is what the run makes of them too."""
        paths = (*changes.set, *changes.removed)
        if changes.appended or any(len(path) > 1 for path in paths):
            return False
        keys = {key for key, *_ in paths}
        if not self._fences.isdisjoint(keys):
            return False
        known = {key: msgpack.unpackb(self._data[key]) for key in keys if key in self._data}
        refined = refine(known, changes)
        self._version += bool(refined)
        for path in changes.removed:
            self._data.pop(path[0], None)
        self._data.update({path[0]: msgpack.packb(value) or b"" for path, value in changes.set.items()})
        return True

    def _task_of(self, step: Step, now: int) -> NodeTask:
        task, reads = self._task, self._data if step.reads is None else step.reads
        data = {key: msgpack.unpackb(self._data[key]) for key in reads if key in self._data}
        metadata = task.context.metadata._replace(updated_at=now, version=self._version)
        return replace(
            task,
            address=step.address,
            node=step.node,
            context=DistributedContext(task.context.session_id, data, metadata),
            run=replace(task.run, time=iso_time(now)),
            key=step.key,
            reads=step.reads,
        )


async def _in_time(run: RunNode, task: NodeTask, seconds: float, attempt: int) -> ChangeSet:
    """What a node changed. Raises TimeoutError where it takes too long, and leaves it behind: both as Temporal does."""
    running = asyncio.create_task(_attempt(run, task, seconds, attempt))
    try:
        await asyncio.wait({running}, timeout=seconds)
    except asyncio.CancelledError:
        running.cancel()
        await asyncio.wait({running})
        raise
    if not running.done():
        running.cancel()
        raise TimeoutError("activity StartToClose timeout", type=TimeoutType.START_TO_CLOSE, last_heartbeat_details=[])
    if running.cancelled():  # by its handler: nobody asked for it
        raise ApplicationError("Cancelled", type=asyncio.CancelledError.__name__)
    return running.result()


async def _attempt(run: RunNode, task: NodeTask, seconds: float, attempt: int) -> ChangeSet:
    kind = f"{metrics.node_label(task.address)} ({task.node.get('type')})"
    work_as(task.address, kind, timedelta(seconds=seconds), attempt)
    with traces.beside(task.run.id, Place(task.address, 1)):
        return await run(task)
