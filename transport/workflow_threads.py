"""Threads for a worker's workflows, in which no workflow is ever in two threads at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

P = ParamSpec("P")
T = TypeVar("T")
THREADS = 500
"""As many as the SDK has by default."""


class WorkflowThreads(ThreadPoolExecutor):
    """An executor for `Worker(workflow_task_executor=…)` and `Replayer`. Methods of one object run one after the other.

    A workflow that keeps its thread for two seconds counts as deadlocked. The SDK interrupts that thread and means to
    wait until it is done, but waits for a future that `asyncio.wait_for` has cancelled (sdk-python 1.35, pull request
    806): it evicts the workflow in a second thread while the first one still steps through the same event loop. Tasks
    lose their wake-ups then, the eviction never succeeds, and neither the run nor the worker's shutdown goes on.
    """

    def __init__(self, threads: int = THREADS) -> None:
        super().__init__(threads, thread_name_prefix="workflow")
        self._locks: WeakKeyDictionary[object, Lock] = WeakKeyDictionary()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a bound method as soon as no other method of its object runs."""
        owner: Any = getattr(fn, "__self__", None)
        if owner is None:
            return super().submit(fn, *args, **kwargs)
        # Only the worker's event loop submits, so this needs no lock of its own.
        lock = self._locks.setdefault(owner, Lock())

        def alone() -> T:
            with lock:
                return fn(*args, **kwargs)

        return super().submit(alone)
