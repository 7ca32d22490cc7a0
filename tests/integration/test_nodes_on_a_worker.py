"""Nodes as activities of a real worker: cancellation, pauses, local nodes, and what the history shows."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError
from temporalio.worker import UnsandboxedWorkflowRunner

from anabranch.activities.sql.databases import Databases
from anabranch.activities.sql.handler import DbActivity
from anabranch.activities.standard import node_activities
from anabranch.context.changes import ChangeSet
from anabranch.graph.model import DbNode
from anabranch.settings import Settings
from anabranch.transport.node_protocol import NodeTask
from tests.integration.sessions import until_running
from tests.node_tasks import task_of
from tests.workers import worker_on


@workflow.defn
class OneNode:
    """Runs one node, as `graph_workflow` would."""

    @workflow.run
    async def run(self, task: NodeTask, local: bool) -> ChangeSet:
        retry = RetryPolicy(initial_interval=timedelta(milliseconds=10), maximum_attempts=2)
        if local:
            changed: ChangeSet = await workflow.execute_local_activity(
                f"{task.address} ({task.node['type']})",
                task,
                result_type=ChangeSet,
                start_to_close_timeout=timedelta(seconds=30),
                retry_policy=retry,
            )
            return changed
        changes: ChangeSet = await workflow.execute_activity(
            str(task.node["type"]),
            task,
            result_type=ChangeSet,
            start_to_close_timeout=timedelta(seconds=30),
            heartbeat_timeout=timedelta(seconds=1),
            retry_policy=retry,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        return changes


@asynccontextmanager
async def started(
    client: Client, task_queue: str, task: NodeTask, *, local: bool = False
) -> AsyncGenerator[WorkflowHandle[OneNode, ChangeSet]]:
    activities = node_activities(Settings(http_allow_private=True, connections=("DB",)))
    worker = worker_on(
        client,
        task_queue,
        workflows=[OneNode],
        activities=activities.activities(),
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with worker:
        yield await client.start_workflow(OneNode.run, args=[task, local], id=uuid.uuid4().hex, task_queue=task_queue)
    await activities.aclose()


@pytest.mark.parametrize("local", [False, True])
async def test_a_node_s_change_set_comes_back(client: Client, task_queue: str, *, local: bool) -> None:
    node = {"type": "rule", "rules": [{"then": {"double": "{{ n * 2 }}", "try": "{{ run.attempt }}"}}]}
    async with started(client, task_queue, task_of(node, {"n": 21}), local=local) as handle:
        changes = await handle.result()
    assert changes == ChangeSet(7, {("double",): 42, ("try",): 1}, (), "reserve", 2)


async def test_a_cancelled_db_node_is_rolled_back(
    client: Client, task_queue: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB", postgres_url)
    table = f"t_{uuid.uuid4().hex[:8]}"
    databases = Databases()
    beside, beside_engine = DbActivity(databases), databases.get("DB").engine

    async def sql(query: str) -> Any:
        node = DbNode(type="db", connection="DB", query=query)
        return (await beside(task_of(key=uuid.uuid4().hex), node)).writes

    await sql(f"create table {table} (n integer)")
    await sql(f"insert into {table} values (1)")
    slow = f"with pause as (select pg_sleep(3600)) update {table} set n = 2 from pause"
    task = task_of({"type": "db", "connection": "DB", "query": slow}, key=uuid.uuid4().hex)
    async with started(client, task_queue, task) as handle:
        await until_running(beside_engine, f"with pause%{table}%")
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
    assert isinstance(caught.value.cause, CancelledError)
    assert await sql(f"select n from {table}") == {"n": 1}
    await sql(f"drop table {table}")
    await beside.aclose()


async def test_the_pause_that_a_server_asks_for_is_kept(
    client: Client, task_queue: str, httpserver: HTTPServer
) -> None:
    httpserver.expect_ordered_request("/").respond_with_data("", status=503, headers={"Retry-After": "1"})
    httpserver.expect_ordered_request("/").respond_with_data("ready")
    async with started(client, task_queue, task_of({"type": "http", "url": httpserver.url_for("/")})) as handle:
        changes = await handle.result()
        history = (await handle.fetch_history()).events
    assert changes.set == {("reserve",): "ready"}
    (first,) = [each for each in history if each.HasField("activity_task_scheduled_event_attributes")]
    (last,) = [each for each in history if each.HasField("activity_task_started_event_attributes")]
    assert last.activity_task_started_event_attributes.attempt == 2
    assert last.event_time.ToDatetime() - first.event_time.ToDatetime() >= timedelta(seconds=1)


async def test_a_failure_in_the_history_has_code_place_and_mend_and_no_secret(
    client: Client, task_queue: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB", postgres_url.replace("postgres@", "nobody:s3cr3t@"))
    async with started(client, task_queue, task_of({"type": "db", "connection": "DB", "query": "select 1"})) as handle:
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        history = (await handle.fetch_history()).to_json()
    assert isinstance(caught.value.cause, ActivityError)
    cause = caught.value.cause.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.type, cause.non_retryable, cause.cause) == ("CONFIGURATION_INVALID", True, None)
    who = f"worker {client.identity!r}: "
    assert cause.message.startswith(f"{who}node 'reserve': the environment variable DB does not open a database")
    assert cause.details[0]["suggestion"] == "correct it in the worker's environment: user, password, database, options"
    assert "s3cr3t" not in history
    assert "nobody" not in history
