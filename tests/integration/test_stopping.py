"""A worker that is asked to stop ends, whatever the SDK, the server and the handlers do."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from anabranch.activities import node
from anabranch.context.distributed import DistributedContext
from anabranch.dev.devserver import FAST, DevServer
from anabranch.errors import NotStopped
from anabranch.settings import Settings
from anabranch.transport.client import connect
from anabranch.transport.workflow_threads import WorkflowThreads
from anabranch.worker import serve
from anabranch.workflows.interpreter.machine import Machine
from tests import whole_run
from tests.integration.graph_kit import PATIENCE, Served, leaf, put, until, worker_for
from tests.stops.harness import silent_server

DEADLOCKED = 3.0
"""Seconds that are too long for a workflow task."""
AT_ONCE = timedelta()
held: list[threading.Event] = []
entered: list[str] = []


@pytest.fixture
def released() -> Iterator[None]:
    """Handlers that wait go on at the end."""
    yield
    while held:
        held.pop().set()


@node("keep_a_thread")
def keep_a_thread(_: DistributedContext) -> None:
    """Run in a thread, which nothing can stop."""
    held.append(threading.Event())
    entered.append("keep_a_thread")
    held[-1].wait()


@node("ignore_cancellation")
async def ignore_cancellation(_: DistributedContext) -> None:
    opened = threading.Event()
    held.append(opened)
    entered.append("ignore_cancellation")
    while not opened.is_set():
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            continue


async def test_a_run_that_was_taken_for_deadlocked_goes_on_and_its_worker_stops(
    client: Client, task_queue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK evicts such a workflow, from another thread than the one that still runs it."""
    monkeypatch.setattr(whole_run, "WORKFLOW_TASK_SECONDS", 2)  # as the SDK has it
    succeeded, blocked = Machine.succeeded, threading.Event()

    def blocking(machine: Machine, address: str, *args: Any) -> Any:
        if not blocked.is_set():
            blocked.set()
            time.sleep(DEADLOCKED)
        return succeeded(machine, address, *args)

    monkeypatch.setattr(Machine, "succeeded", blocking)
    waits = {f"wait{index}": {"type": "wait", "for": "1s"} for index in range(3)}
    async with worker_for(client, task_queue, tmp_path) as served:
        result = await served.run({"nodes": {"first": put(a=1), **waits}})
    assert blocked.is_set()
    assert result["data"] == {"a": 1}


def test_methods_of_one_object_never_overlap_in_threads_for_workflows() -> None:
    class Workflow:
        def __init__(self) -> None:
            self.inside = self.most = 0

        def activate(self) -> None:
            self.inside += 1
            self.most = max(self.most, self.inside)
            time.sleep(0.001)
            self.inside -= 1

    first, second, both = Workflow(), Workflow(), threading.Barrier(2)
    with WorkflowThreads() as threads:
        each = [threads.submit(one.activate) for one in (first, second) for _ in range(50)]
        assert [one.result(PATIENCE) for one in each] == [None] * 100
        # Those of two objects do: neither would get past the barrier alone.
        met = [threads.submit(meeting.at) for meeting in (Meeting(both), Meeting(both))]
        assert sorted(one.result(PATIENCE) for one in met) == [0, 1]
    assert (first.most, second.most) == (1, 1)


class Meeting:
    def __init__(self, barrier: threading.Barrier) -> None:
        self._barrier = barrier

    def at(self) -> int:
        return self._barrier.wait(PATIENCE)


@pytest.mark.parametrize("handler", ["keep_a_thread", "ignore_cancellation"])
async def test_a_handler_that_does_not_end_is_left_behind_and_named(
    client: Client, task_queue: str, tmp_path: Path, released: None, handler: str
) -> None:
    entered.clear()
    settings, stop = Settings(task_queue=task_queue, graphs=tmp_path, inline_graphs=True), asyncio.Event()
    serving = asyncio.create_task(serve(settings, client, stop, grace=AT_ONCE))
    handle = await Served(client, task_queue, tmp_path).start({"nodes": {"ship": leaf(handler)}})
    await until(lambda: entered == [handler])
    stop.set()
    with pytest.raises(NotStopped, match=re.escape(f"node 'ship' of {handle.id}")) as left:
        await asyncio.wait_for(serving, PATIENCE)
    assert left.value.code == "NOT_STOPPED"
    await handle.terminate()


@pytest.fixture
async def promising_server() -> AsyncIterator[DevServer]:
    """A server that says it will answer every poll when a worker stops, so that the SDK never gives one up."""
    promise = {**FAST, "frontend.enableCancelWorkerPollsOnShutdown": "true"}
    async with await DevServer.start(dynamic_config=promise) as server:
        yield server


async def test_a_worker_whose_server_is_gone_stops(promising_server: DevServer, task_queue: str) -> None:
    settings, stop = Settings(task_queue=task_queue, inline_graphs=True), asyncio.Event()
    client = await connect(settings, target_host=promising_server.address)
    async with worker_for(client, f"{task_queue}-first", Path()) as served:
        await served.run({"nodes": {"first": put(a=1)}})  # the SDK knows the promise by now
        serving = asyncio.create_task(serve(settings, client, stop, grace=AT_ONCE))
        await Served(client, task_queue, Path()).run({"nodes": {"first": put(a=1)}})
    await promising_server.stop()
    stop.set()
    with pytest.raises(NotStopped, match="though nothing runs any more"):
        await asyncio.wait_for(serving, PATIENCE)


async def test_a_worker_that_still_connects_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with silent_server() as address:
        monkeypatch.setenv("TEMPORAL_ADDRESS", address)
        stop = asyncio.Event()
        serving = asyncio.create_task(serve(Settings(), stop=stop))
        await asyncio.wait({serving}, timeout=0.5)
        assert not serving.done()
        stop.set()
        await asyncio.wait_for(serving, PATIENCE)
