"""What whoever may only start runs gets out of a worker: nothing but the graphs that it serves."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from temporalio.client import ActivityFailureError, Client
from temporalio.exceptions import ApplicationError

from anabranch.activities.standard import node_activities
from anabranch.settings import Settings
from anabranch.transport.working import working
from anabranch.worker import build_worker
from tests.integration.graph_kit import error_of
from tests.node_tasks import task_of

GREET = "name: greet\nnodes: {say: {type: rule, rules: [{then: {said: 'Hello {{ name }}'}}]}}\n"
RULE = {"a": {"type": "rule", "rules": [{"then": {"x": 1}}]}}


def db(variable: str) -> dict[str, Any]:
    return {"a": {"type": "db", "connection": variable, "query": "select 1 as x"}}


class Starter:
    """May start runs on one task queue."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self.client = client
        self.task_queue = task_queue

    async def start(self, workflow_type: str, *args: Any, **options: Any) -> Any:
        run = uuid.uuid4().hex
        return await self.client.start_workflow(workflow_type, args=args, id=run, task_queue=self.task_queue, **options)

    async def brings(self, nodes: Mapping[str, Any]) -> ApplicationError:
        """The error of a run that brings its graph."""
        given = {"graph": {"name": "g", "nodes": nodes}, "data": {}}
        return await error_of(await self.start("GraphWorkflow", given))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "greet.yaml").write_text(GREET)
    return tmp_path


async def starter_on(client: Client, settings: Settings) -> AsyncIterator[Starter]:
    activities = node_activities(settings)
    async with working(build_worker(client, settings, activities)):
        yield Starter(client, settings.task_queue)
    await activities.aclose()


@pytest.fixture
async def starter(client: Client, task_queue: str, folder: Path) -> AsyncIterator[Starter]:
    """Of a worker as it is without settings."""
    async for each in starter_on(client, Settings(task_queue=task_queue, graphs=folder)):
        yield each


@pytest.fixture
async def trusted(
    client: Client, task_queue: str, folder: Path, monkeypatch: pytest.MonkeyPatch, httpserver: HTTPServer
) -> AsyncIterator[Starter]:
    """Of a worker that takes inline graphs, with secrets in its environment."""
    environ = {
        "SHOP_DB": "sqlite:///:memory:",
        "SOME_KEY": "sqlite:///:memory:",
        "PAYLOAD_STORE_URL": f"sqlite:///{folder}/payloads.db",
        "STRIPE_API_KEY": "sqlite:///:memory:",
        "HTTP_SECRET_BANK": "Bearer CANARY",
        "HTTP_SECRET_BANK_HOSTS": "api.bank.example",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    settings = Settings(
        task_queue=task_queue,
        graphs=folder,
        inline_graphs=True,
        http_allow_private=True,
        connections=("SHOP_*", "NO_DB"),
        elsewhere_seconds=0,  # there is no other worker that may have what it lacks
    )
    async for each in starter_on(client, settings):
        yield each


async def test_the_graphs_of_the_folder_are_started_by_name(starter: Starter) -> None:
    handle = await starter.start("greet", {"name": "Ada"})
    assert (await handle.result())["data"]["said"] == "Hello Ada"
    handle = await starter.start("GraphWorkflow", {"graph": "greet", "data": {"name": "Ada"}})
    assert (await handle.result())["data"]["said"] == "Hello Ada"


@pytest.mark.parametrize("graph", [{"name": "g", "nodes": RULE}, GREET, {}, None, 5, "{name: greet}", "greet\n"])
async def test_a_graph_that_a_start_brings_is_refused(starter: Starter, graph: Any) -> None:
    error = await error_of(await starter.start("GraphWorkflow", {"graph": graph, "data": {}}))
    assert error.type in ("INLINE_GRAPHS_OFF", "INPUT_INVALID")


@pytest.mark.parametrize(
    "second",
    [
        {"pinned": ["greet", "0", GREET, {}, 1, {"greet": []}, [], {}]},
        {"carried": {"identity": {}, "machine": {}}},
        {"pinned": None},
        {},
    ],
)
async def test_what_only_runs_hand_on_is_refused_from_a_starter(starter: Starter, second: dict[str, Any]) -> None:
    for workflow_type in ("greet", "GraphWorkflow"):
        error = await error_of(await starter.start(workflow_type, {"name": "Ada"}, second))
        assert error.type == "INPUT_INVALID"


async def test_an_activity_that_no_run_started_is_refused(starter: Starter) -> None:
    """The server starts activities without a workflow too."""
    task = task_of({"type": "rule", "rules": [{"then": {"x": 1}}]})
    context = task.context
    for name, args in (("rule", [task]), ("a", [task]), ("share_context", [context, {}])):
        with pytest.raises(ActivityFailureError) as caught:
            await starter.client.execute_activity(
                name,
                args=args,
                id=uuid.uuid4().hex,
                task_queue=starter.task_queue,
                start_to_close_timeout=timedelta(seconds=20),
            )
        assert isinstance(caught.value.cause, ApplicationError)
        assert caught.value.cause.type == "INPUT_INVALID"
        assert "is a part of a run" in caught.value.cause.message


@pytest.mark.parametrize("memo", [{"greet": "0"}, {}, None, 5, [1], {"greet": {"a": 1}}])
async def test_a_memo_of_digests_can_only_refuse_one_s_own_run(starter: Starter, memo: Any) -> None:
    handle = await starter.start("greet", {"name": "Ada"}, memo={"anabranch_graph_digests": memo})
    if isinstance(memo, dict) and memo:
        assert (await error_of(handle)).type == "GRAPH_MISMATCH"
    else:
        assert (await handle.result())["data"]["said"] == "Hello Ada"


@pytest.mark.parametrize(
    "variable", ["PAYLOAD_STORE_URL", "STRIPE_API_KEY", "HTTP_SECRET_BANK", "SOME_KEY", "NO_DB", "NO"]
)
async def test_a_graph_opens_only_listed_connections_and_learns_of_no_other_variable(
    trusted: Starter, variable: str
) -> None:
    error = await trusted.brings(db(variable))
    assert error.type == "CONFIGURATION_INVALID"
    _, _, told = error.message.partition("': ")  # the worker says who it is
    assert told.replace(variable, "NAME") == (
        "node 'a': this worker has no connection NAME for graphs (set NAME in the worker's environment, e.g. to"
        " postgres://user:password@host/database, and list it in ANABRANCH_CONNECTIONS)"
    )


async def test_a_listed_connection_is_opened(trusted: Starter) -> None:
    handle = await trusted.start("GraphWorkflow", {"graph": {"name": "g", "nodes": db("SHOP_DB")}, "data": {}})
    assert (await handle.result())["data"] == {"x": 1}


async def test_a_secret_of_the_worker_is_not_sent_to_a_host_of_a_graph_s_choice(
    trusted: Starter, httpserver: HTTPServer
) -> None:
    http = {"type": "http", "url": httpserver.url_for("/"), "headers": {"X-A": "env:HTTP_SECRET_BANK"}}
    error = await trusted.brings({"a": http})
    assert error.type == "CONFIGURATION_INVALID"
    assert "has no secret HTTP_SECRET_BANK for http://localhost:" in error.message
    assert httpserver.log == []


async def test_a_statement_opens_no_file_of_a_graph_s_choice(trusted: Starter, folder: Path) -> None:
    outside = folder / "outside.db"
    for statement in (f"attach database '{outside}' as y", f"vacuum into '{outside}'"):
        node = {"type": "db", "connection": "SHOP_DB", "idempotent": False, "query": statement, "result": "none"}
        error = await trusted.brings({"a": node})
        assert error.type in ("NODE_FAILED", "GRAPH_INVALID")
        assert not outside.exists()
