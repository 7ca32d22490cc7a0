"""Polling of `http` nodes: an hour in virtual time, and on a server what it costs a run and its worker."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.testing import ActivityEnvironment
from werkzeug import Request, Response

from anabranch.activities.registry import NodeActivities
from anabranch.activities.standard import node_activities
from anabranch.context.changes import ChangeSet
from anabranch.settings import Settings
from tests.integration.graph_kit import PATIENCE, Served, edge, error_of, until, worker_for
from tests.node_tasks import task_of

EVENTS = 12
"""Of the history of a run whose one node polls, however long: three of them are of its activity."""
POLL: dict[str, Any] = {"until": "result.body.state == 'done'", "every": "2m", "timeout": "1h"}


@dataclass(slots=True)
class Job:
    """A job that is done once so many polls have come, and what it answers before."""

    server: HTTPServer
    polls: int
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    fails_at: tuple[int, ...] = ()
    keys: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.server.expect_request("/job").respond_with_handler(self._answer)

    def node(self, **poll: Any) -> dict[str, Any]:
        return {"type": "http", "url": self.server.url_for("/job"), "poll": {**POLL, **poll}}

    def _answer(self, request: Request) -> Response:
        self.keys.append(request.headers["Idempotency-Key"])
        if len(self.keys) in self.fails_at:
            return Response("", 503)
        state = "done" if len(self.keys) >= self.polls else "running"
        return Response(json.dumps({"state": state}), headers=self.headers, content_type="application/json")


@pytest.fixture
async def activities() -> AsyncIterator[NodeActivities]:
    activities = node_activities(Settings(http_allow_private=True))
    yield activities
    await activities.aclose()


@dataclass(slots=True)
class VirtualServer:
    """Starts an activity again as Temporal does, without waiting: time is what it would have waited."""

    activities: NodeActivities
    total: timedelta = timedelta(hours=1)
    elapsed: timedelta = timedelta(0)
    attempt: int = 0
    pauses: list[timedelta] = dataclasses.field(default_factory=list)
    errors: list[ApplicationError] = dataclasses.field(default_factory=list)

    async def run(self, node: dict[str, Any]) -> ChangeSet:
        details: tuple[Any, ...] = ()
        while True:
            self.attempt += 1
            env = ActivityEnvironment()
            env.info = dataclasses.replace(
                env.info,
                attempt=self.attempt,
                scheduled_time=datetime.now(UTC) - self.elapsed,
                schedule_to_close_timeout=self.total,
                heartbeat_details=details,
            )
            beats = [details]
            env.on_heartbeat = lambda *given, beats=beats: beats.append(given)
            try:
                return await env.run(self.activities.run_node, task_of(node))
            except ApplicationError as error:
                self.errors.append(error)
                if error.non_retryable:
                    raise
                self.pauses.append(pause := error.next_retry_delay or timedelta(0))
                self.elapsed += pause
                details = beats[-1]


async def test_an_hour_of_polls_is_one_activity_of_attempts_that_are_no_failures(
    activities: NodeActivities, httpserver: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    job, server = Job(httpserver, polls=30), VirtualServer(activities)
    changes = await server.run(job.node())
    assert changes.set == {("reserve",): {"state": "done"}}
    assert (server.attempt, server.elapsed) == (30, timedelta(minutes=58))
    assert {error.type for error in server.errors} == {"NOT_YET"}
    assert {error.category for error in server.errors} == {ApplicationErrorCategory.BENIGN}
    assert job.keys == ["run-1/reserve", *(f"run-1/reserve#{number}" for number in range(1, 30))]
    assert "Attempt failed" not in caplog.text


async def test_what_is_not_there_in_time_is_a_time_out_that_is_not_tried_again(
    activities: NodeActivities, httpserver: HTTPServer
) -> None:
    job, server = Job(httpserver, polls=1000), VirtualServer(activities)
    with pytest.raises(ApplicationError) as caught:
        await server.run(job.node())
    assert (caught.value.type, caught.value.non_retryable, server.attempt) == ("TIMEOUT", True, 30)
    assert "it waited in vain: `until` does not hold yet, at answer 30 (status 200)" in caught.value.message
    assert caught.value.details[0]["final"] is False  # a body around it may try again


@pytest.mark.parametrize(("asked", "pause"), [("150", 150), ("5", 120)])
async def test_a_longer_pause_that_the_server_asks_for_is_kept(
    activities: NodeActivities, httpserver: HTTPServer, asked: str, pause: int
) -> None:
    server = VirtualServer(activities)
    await server.run(Job(httpserver, polls=3, headers={"Retry-After": asked}).node())
    assert server.pauses == [timedelta(seconds=pause)] * 2


async def test_failures_in_a_row_end_it_and_those_between_answers_do_not(
    activities: NodeActivities, httpserver: HTTPServer
) -> None:
    job, server = Job(httpserver, polls=9, fails_at=(1, 2, 4, 5, 7, 8)), VirtualServer(activities)
    assert (await server.run(job.node(failures=3))).set == {("reserve",): {"state": "done"}}
    httpserver.clear()
    job, server = Job(httpserver, polls=9, fails_at=(2, 3, 4)), VirtualServer(activities)
    with pytest.raises(ApplicationError, match="answered 503") as caught:
        await server.run(job.node(failures=3))
    assert (caught.value.type, caught.value.non_retryable, len(job.keys)) == ("UNAVAILABLE", True, 4)


async def test_a_condition_that_cannot_be_evaluated_fails_at_once(
    activities: NodeActivities, httpserver: HTTPServer
) -> None:
    server = VirtualServer(activities)
    with pytest.raises(ApplicationError) as caught:
        await server.run(Job(httpserver, polls=2).node(until="result.body.none == 1"))
    assert (caught.value.type, server.attempt) == ("EXPRESSION_FAILED", 1)


@pytest.fixture
async def narrow(client: Client, task_queue: str, tmp_path: Path) -> AsyncIterator[Served]:
    """A worker that does one thing at a time."""
    async with worker_for(client, task_queue, tmp_path, http_allow_private=True, max_concurrent_activities=1) as served:
        yield served


async def test_on_a_server_a_poll_costs_one_activity_and_leaves_the_worker_to_others(
    narrow: Served, httpserver: HTTPServer
) -> None:
    """The worker does one thing at a time; what is polled for is done by a node beside the poll."""
    job = Job(httpserver, polls=1_000_000)

    def finish(_: Request) -> Response:
        job.polls = len(job.keys) + 2
        return Response("")

    httpserver.expect_request("/finish", method="POST").respond_with_handler(finish)
    await_ = {**job.node(every="50ms"), "output": {"state": "result.body.state", "polls": "run.attempt"}}
    beside = {"type": "http", "url": httpserver.url_for("/finish"), "method": "POST"}
    nodes = {"job": await_, "pause": {"type": "wait", "for": "300ms"}, "finish": beside}
    handle = await narrow.start({"nodes": nodes, "edges": [edge("pause", "finish")]})
    data = (await handle.result())["data"]
    assert data["state"] == "done"
    assert data["polls"] == len(job.keys) >= 3
    history = (await handle.fetch_history()).events
    scheduled = [each for each in history if each.HasField("activity_task_scheduled_event_attributes")]
    assert [each.activity_task_scheduled_event_attributes.activity_id for each in scheduled] == ["job", "finish"]
    assert len(history) < 35


@pytest.fixture
async def quick(client: Client, task_queue: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with worker_for(client, task_queue, tmp_path, http_allow_private=True) as served:
        yield served


async def test_on_a_server_a_history_is_as_long_after_one_poll_as_after_sixty(
    quick: Served, httpserver: HTTPServer
) -> None:
    """Sixty are two hours at one every two minutes: the number does not follow the time."""
    lengths = dict[int, int]()
    for polls in (1, 60):
        job = Job(httpserver, polls)
        node = {**job.node(every="5ms"), "output": {"polls": "run.attempt"}}
        handle = await quick.start({"nodes": {"job": node}})
        assert (await asyncio.wait_for(handle.result(), PATIENCE))["data"] == {"polls": polls}
        history = (await handle.fetch_history()).events
        lengths[polls] = len(history)
        httpserver.clear()
    assert lengths == {1: EVENTS, 60: EVENTS}


async def test_on_a_server_a_poll_is_cancelled_while_it_pauses_and_ends_by_its_time_out(
    narrow: Served, httpserver: HTTPServer
) -> None:
    job = Job(httpserver, polls=1_000_000)
    handle = await narrow.start({"nodes": {"job": job.node(every="30m")}})
    await until(lambda: bool(job.keys))
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 60)
    assert len(job.keys) == 1
    late = {"type": "rule", "rules": [{"then": {"late": "{{ error.code }}"}}]}
    nodes = {"job": job.node(every="20ms", timeout="200ms"), "late": late}
    graph = {"nodes": nodes, "edges": [edge("job", "late", outcome="timeout")]}
    assert (await narrow.run(graph))["data"] == {"late": "TIMEOUT"}
    graph = {"nodes": {"job": {**job.node(every="20ms", failures=2), "expect": {"status": [201], "retry": [200]}}}}
    before = len(job.keys)
    error = await error_of(await narrow.start(graph))
    assert (error.type, len(job.keys) - before) == ("UNAVAILABLE", 2)
