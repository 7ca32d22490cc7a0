"""Workers of the SDK's own in this process, for tests of what is around graphs."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from anabranch.transport.workflow_threads import WorkflowThreads
from anabranch.transport.working import working


def worker_on(client: Client, task_queue: str, **options: Any) -> AbstractAsyncContextManager[asyncio.Task[None]]:
    """A worker while the block runs, whose end has a bound; `options` are those of `Worker`."""
    return working(Worker(client, task_queue=task_queue, workflow_task_executor=WorkflowThreads(), **options))
