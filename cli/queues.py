"""Which nodes of a run wait for a worker that is not there: a run cannot know who polls its task queues."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from temporalio.api.enums.v1 import PendingActivityState, TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from anabranch.display import plain

_NORMAL = 2.0
"""Seconds that an activity may wait where there is a worker."""
_PAUSE = 2.0


@dataclass(frozen=True, slots=True)
class Unserved:
    """A task queue that nobody serves, and the node that has waited longest in it."""

    queue: str
    address: str
    seconds: float

    def __str__(self) -> str:
        where = f"no worker listens on the task queue {plain(self.queue)!r}"
        return f"{plain(self.address)} has waited {self.seconds:.0f} s for a worker: {where}"


async def is_served(client: Client, queue: str, kind: TaskQueueType.ValueType) -> bool:
    """Whether a worker polls the task queue."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
    )
    return bool((await client.workflow_service.describe_task_queue(request)).pollers)


async def unserved(client: Client, handle: WorkflowHandle[Any, Any]) -> list[Unserved]:
    """The task queues in which activities of the run wait, and which nobody serves."""
    longest: dict[str, Unserved] = {}
    for each in _waiting((await handle.describe()).raw_description.pending_activities):
        if each.seconds > (longest[each.queue].seconds if each.queue in longest else _NORMAL):
            longest[each.queue] = each
    kind = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    return [each for each in longest.values() if not await is_served(client, each.queue, kind)]


async def watch_queues(
    client: Client,
    handle: WorkflowHandle[Any, Any],
    tell: Callable[[Sequence[Unserved]], None],
    over: asyncio.Future[Any],
) -> None:
    """Tell every two seconds which task queues nobody serves, until the run is over."""
    while not over.done():
        try:
            tell(await unserved(client, handle))
        except RPCError:
            return  # whoever may not describe task queues is told nothing of them
        await asyncio.wait({over}, timeout=_PAUSE)


def _waiting(activities: Iterable[PendingActivityInfo]) -> Iterator[Unserved]:
    """The activities that no worker has taken yet."""
    for pending in activities:
        queue = pending.activity_options.task_queue.name
        if queue and pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED:
            yield Unserved(queue, pending.activity_id, time.time() - pending.scheduled_time.ToMilliseconds() / 1000)
