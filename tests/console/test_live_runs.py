"""Runs that somebody looks at, on a server: one poll however many look, no query, and nothing when nobody does."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import (
    Client,
    FetchWorkflowHistoryEventsInput,
    Interceptor,
    OutboundInterceptor,
    QueryWorkflowInput,
    WorkflowHistoryEventAsyncIterator,
)

from anabranch.console.run.live import LiveRuns, Message
from anabranch.errors import Unavailable
from anabranch.inspection.inspect import Inspector
from tests.integration.graph_kit import Served, worker_for

GRAPH = {
    "nodes": {
        "ask": {"type": "approval", "prompt": "Go on?", "schema": {"type": "object"}},
        "done": {"type": "rule", "rules": [{"then": {"done": True}}]},
    },
    "edges": [{"from": "ask", "to": "done"}],
}
SECONDS = 60


class Counting(Interceptor):
    """Counts what is asked of the server."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002 - the SDK's name
        return _Counted(next, self.asked)


class _Counted(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, asked: Counter[str]) -> None:  # noqa: A002 - the SDK's name
        super().__init__(next)
        self._asked = asked

    def fetch_workflow_history_events(
        self,
        input: FetchWorkflowHistoryEventsInput,  # noqa: A002 - the SDK's name
    ) -> WorkflowHistoryEventAsyncIterator:
        self._asked["polls" if input.wait_new_event else "reads"] += 1
        return super().fetch_workflow_history_events(input)

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:  # noqa: A002 - the SDK's name
        self._asked["queries"] += 1
        return await super().query_workflow(input)


@pytest.fixture
async def served(client: Client, task_queue: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with worker_for(client, task_queue, tmp_path) as running:
        yield running


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
async def live(client: Client, counting: Counting) -> AsyncIterator[LiveRuns]:
    config = client.config()
    config["interceptors"] = [counting]
    inspector = Inspector(client.data_converter)
    runs = LiveRuns(Client(**config), inspector)
    yield runs
    await runs.close()
    inspector.close()


async def until(messages: AsyncGenerator[Message], status: str) -> list[Message]:
    """What a viewer is given until the run has a status."""
    given: list[Message] = []
    async with asyncio.timeout(SECONDS):
        async for message in messages:
            given.append(message)
            header = json.loads(message.data)["header"]
            if status in (header["status"], *(each["kind"] for each in header["todo"])):
                return given
    raise AssertionError(f"the run was never {status}")


async def test_two_viewers_share_one_poll_and_ask_no_worker(served: Served, live: LiveRuns, counting: Counting) -> None:
    handle = await served.start(GRAPH)
    run_id = handle.result_run_id or ""
    async with live.watching(handle.id, run_id) as one, live.watching(handle.id, run_id) as other:
        assert one is other
        async with aclosing(one.messages()) as first, aclosing(other.messages()) as second:
            await until(first, "approval")
            (late,) = (await until(second, "approval"))[:1]
            assert late.kind == "snapshot"  # who comes later is given all there is, at once
            await handle.execute_update("complete_task", {"node": "ask", "answer": {}})
            given = [await until(viewer, "completed") for viewer in (first, second)]
    deltas = [[message.kind for message in each] for each in given]
    assert all(kinds and set(kinds) == {"delta"} for kinds in deltas)
    assert counting.asked == {"polls": 1}
    assert live.known(handle.id, run_id) is None


async def test_a_large_run_is_followed_by_one_poll_and_no_query_too(
    served: Served, live: LiveRuns, counting: Counting
) -> None:
    up = {"type": "rule", "local": False, "rules": [{"then": {"n": "{{ n + 1 }}"}}]}
    graph = {
        "nodes": {"loop": {"type": "while", "while": "n < 40", "max_iterations": 50, "body": {"nodes": {"up": up}}}}
    }
    handle = await served.start(graph, {"n": 0})
    run_id = handle.result_run_id or ""
    async with live.watching(handle.id, run_id) as watched, aclosing(watched.messages()) as messages:
        given = await until(messages, "completed")
        kinds = [message.kind for message in given]
        assert watched.state is not None
        assert watched.state.inspection.last.context["n"] == 40
    begun = kinds.index("delta")
    assert begun <= 2  # before its graph was loaded there was nothing to draw
    assert set(kinds[begun:]) == {"delta"}  # what was shown has never changed
    assert counting.asked == {"polls": 1}


async def test_of_a_run_that_grows_only_the_newest_inspection_is_kept(served: Served, live: LiveRuns) -> None:
    handle = await served.start(GRAPH)
    async with live.watching(handle.id, handle.result_run_id or "") as watched:
        messages = watched.messages()
        await until(messages, "approval")
        assert watched.state is not None
        before = watched.state.inspection
        assert live.inspector.known(before.run_id, before.last_event) is before
        await handle.execute_update("complete_task", {"node": "ask", "answer": {}})
        await until(messages, "completed")
        await messages.aclose()
        after = watched.state.inspection
        assert live.inspector.known(before.run_id, before.last_event) is None
        assert live.inspector.known(after.run_id, after.last_event) is after


async def test_a_poll_ends_with_its_last_viewer(served: Served, live: LiveRuns, counting: Counting) -> None:
    handle = await served.start(GRAPH)
    run_id = handle.result_run_id or ""
    for _ in range(2):
        async with live.watching(handle.id, run_id) as watched, aclosing(watched.messages()) as messages:
            await until(messages, "approval")
        assert watched.is_over
    assert counting.asked == {"polls": 2}
    await handle.terminate()


async def test_a_closed_run_is_read_once_and_polled_no_more(served: Served, live: LiveRuns, counting: Counting) -> None:
    handle = await served.start({"nodes": {"a": {"type": "rule", "rules": [{"then": {"a": 1}}]}}})
    await handle.result()
    async with live.watching(handle.id, handle.result_run_id or "") as watched:
        for _ in range(2):
            given = [message.kind async for message in watched.messages()]
            assert given == ["snapshot"]
        assert watched.is_over
    assert counting.asked == {"polls": 1}


async def test_no_more_runs_are_looked_at_than_there_may_be(live: LiveRuns) -> None:
    live.most = 0
    with pytest.raises(Unavailable, match="0 runs are looked at already"):
        async with live.watching("a", "b"):
            pass
