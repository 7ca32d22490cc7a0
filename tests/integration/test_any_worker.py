"""Workers of one task queue of which one lacks something: it must not fail the runs of the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus

from anabranch.context.distributed import DistributedContext
from anabranch.dev.devserver import DevServer
from anabranch.errors import ConfigurationError, NodeError, Unavailable
from anabranch.settings import Settings
from anabranch.transport.client import connect
from tests.integration.graph_kit import (
    BOTH_WAYS,
    MODES,
    PATIENCE,
    Handle,
    Served,
    chain,
    error_of,
    leaf,
    put,
    worker_for,
)
from tests.workers import worker_on

LONG, SHORT = 60.0, 0.6
"""Seconds for which a run looks for another worker: until there is one, or in vain."""


@dataclass(frozen=True)
class Place:
    """A task queue, and two folders of which one has the graph `fresh`."""

    client: Client
    dev_server: DevServer
    task_queue: str
    empty: Path
    filled: Path
    mode: str = MODES[0]

    @asynccontextmanager
    async def looking(self, folder: Path, seconds: float, client: Client | None = None) -> AsyncGenerator[Served]:
        """A worker whose runs look so long for another one."""
        found: dict[str, Any] = {"elsewhere_seconds": seconds, "graph_elsewhere_seconds": seconds}
        async with worker_for(client or self.client, self.task_queue, folder, mode=self.mode, **found) as served:
            yield served

    @asynccontextmanager
    async def another(self) -> AsyncGenerator[None]:
        """A second worker, which has the graph."""
        async with self.looking(self.filled, LONG, await self.other_client()):
            yield

    async def other_client(self) -> Client:
        """Two workers of one client cannot be on one task queue."""
        there: dict[str, Any] = {"target_host": self.dev_server.address, "namespace": "default"}
        return await connect(Settings(), api_key=None, tls=False, rpc_metadata={}, **there)

    @property
    def name(self) -> str:
        """How a message names the first worker."""
        return f"worker {self.client.identity!r}: "


@pytest.fixture
def place(client: Client, dev_server: DevServer, task_queue: str, tmp_path: Path) -> Place:
    empty, filled = tmp_path / "empty", tmp_path / "filled"
    empty.mkdir()
    filled.mkdir()
    (filled / "fresh.yaml").write_text("{name: fresh, nodes: {a: {type: rule, rules: [{then: {x: 1}}]}}}")
    return Place(client, dev_server, task_queue, empty, filled)


@pytest.fixture(params=BOTH_WAYS)
def in_each_mode(request: pytest.FixtureRequest, place: Place) -> Place:
    return replace(place, mode=str(request.param))


async def until_lacking(handle: Handle) -> Any:
    """What a worker is told to lack, once it is."""
    for _ in range(400):
        if "lacking" in (status := await handle.query("status")):
            return status["lacking"]
        await asyncio.sleep(0.05)
    raise AssertionError("nothing is lacking in time")


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The handlers that workers of this process have; a test adds one when a worker that has it starts."""
    known: dict[str, Any] = {}
    monkeypatch.setattr("anabranch.activities.python._registered", known)
    return known


# graphs


async def test_a_run_whose_graph_one_worker_lacks_is_started_by_another(in_each_mode: Place) -> None:
    async with in_each_mode.looking(in_each_mode.empty, LONG) as stale:
        handle = await stale.start_type("fresh", {})
        lack = (await until_lacking(handle))["load_graph"]
        assert lack.startswith(in_each_mode.name + "error[GRAPH_UNKNOWN]: ")
        async with in_each_mode.another():
            result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["data"] == {"x": 1}


async def test_no_start_fails_while_one_of_two_workers_lacks_the_graph(place: Place) -> None:
    async with place.looking(place.empty, LONG) as stale, place.another():
        handles = [await stale.start_type("fresh", {}) for _ in range(12)]
        results = await asyncio.wait_for(asyncio.gather(*(each.result() for each in handles)), PATIENCE)
    assert [each["data"] for each in results] == [{"x": 1}] * 12


async def test_a_name_that_no_graph_has_fails_when_the_time_is_over(in_each_mode: Place) -> None:
    async with in_each_mode.looking(in_each_mode.filled, SHORT) as served:
        error = await error_of(await served.start_type("frehs", {}))
    assert error.type == "GRAPH_UNKNOWN"
    assert error.message.startswith(in_each_mode.name + "error[GRAPH_UNKNOWN]: this worker has neither")
    assert "did you mean `fresh`?" in error.message
    assert error.message.endswith("no worker was found within 0.6 s that has it")


async def test_a_run_that_is_cancelled_while_its_graph_is_looked_for_ends_cancelled(in_each_mode: Place) -> None:
    async with in_each_mode.looking(in_each_mode.empty, LONG) as served:
        handle = await served.start_type("nowhere", {})
        await until_lacking(handle)
        await handle.cancel()
        await asyncio.wait([asyncio.ensure_future(handle.result())])
        assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED


# nodes

RENAMED = "late"
NODES = {
    "handler": leaf(RENAMED, retry={"max_attempts": 1}),
    "local handler": leaf(RENAMED, local=True),
    "connection": {"type": "db", "connection": "LATE_URL", "query": "select 1 as x"},
    "secret": {"type": "http", "url": "{{ url }}", "headers": {"x-key": "env:HTTP_SECRET_LATE"}},
    "model": {"type": "ai", "model": "openai:gpt-4", "prompt": "x"},
    "activity": {"type": "activity", "activity": "unheard_of"},
}


@pytest.mark.parametrize(
    ("kind", "lack"),
    [
        ("handler", "this worker has no handler 'late'"),
        ("local handler", "this worker has no handler 'late'"),
        ("connection", "this worker has no connection LATE_URL"),
        ("secret", "this worker has no secret HTTP_SECRET_LATE"),
        ("model", "the environment variable OPENAI_API_KEY is not set"),
        ("activity", "this worker has no activity 'unheard_of'"),
    ],
)
async def test_what_no_worker_has_fails_the_node_when_the_time_is_over(
    in_each_mode: Place, kind: str, lack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    graph = chain(a=leaf("put", compensate=put()), b={**NODES[kind], "compensate": put()})
    async with in_each_mode.looking(in_each_mode.empty, SHORT) as served:
        error = await served.error(graph, {"url": "https://shop.example/"})
    assert (error.type, error.details[0]["compensated"]) == ("CONFIGURATION_INVALID", ["a"])
    assert in_each_mode.name in error.message
    assert lack in error.message
    assert error.message.endswith("no worker was found within 0.6 s that has it")


@pytest.mark.parametrize("kind", ["handler", "local handler"])
async def test_a_node_whose_handler_one_worker_lacks_is_done_by_another(
    in_each_mode: Place, kind: str, handlers: dict[str, Any]
) -> None:
    async def late(_: DistributedContext) -> dict[str, Any]:
        return {"x": 1}

    async with in_each_mode.looking(in_each_mode.empty, LONG) as stale:
        handle = await stale.start(chain(b=NODES[kind]))
        lack = await until_lacking(handle)
        assert lack["b"].startswith(in_each_mode.name + "node 'b': this worker has no handler 'late'")
        handlers[RENAMED] = late
        async with in_each_mode.another():
            result = await asyncio.wait_for(handle.result(), PATIENCE)
        assert "lacking" not in await handle.query("status")
    assert result["data"] == {"x": 1}


async def test_the_worker_that_lacked_something_does_not_keep_the_next_attempt_for_itself(place: Place) -> None:
    calls: list[str] = []

    @activity.defn(name="unheard_of")
    async def unheard_of() -> None:
        calls.append(activity.info().activity_id)

    nodes = {f"n{each}": NODES["activity"] for each in range(6)}
    async with place.looking(place.empty, LONG) as served:
        handle = await served.start(chain(**nodes))
        await until_lacking(handle)
        async with worker_on(await place.other_client(), place.task_queue, activities=[unheard_of]):
            await asyncio.wait_for(handle.result(), PATIENCE)
    assert calls == list(nodes)


async def test_a_worker_of_the_sdk_that_has_no_node_activities_fails_nobodys_run(place: Place) -> None:
    @activity.defn
    async def something() -> None:
        """Be there."""

    nodes = {f"n{each}": put(**{f"x{each}": each}) | {"retry": {"max_attempts": 1}} for each in range(6)}
    other = worker_on(await place.other_client(), place.task_queue, activities=[something])
    async with other, place.looking(place.empty, LONG) as served:
        result = await served.run(chain(**nodes))
    assert result["data"] == {f"x{each}": each for each in range(6)}


@pytest.mark.parametrize(
    ("first", "undone"),
    [("lack", ["a"]), ("unavailable", ["b", "a"])],
    ids=["nothing had begun", "it may have happened"],
)
async def test_a_node_is_undone_if_an_attempt_before_the_lack_may_have_happened(
    in_each_mode: Place, first: str, undone: list[str], handlers: dict[str, Any]
) -> None:
    answers: list[Exception] = [ConfigurationError("unset"), NodeError("refused")]
    if first == "unavailable":
        answers.insert(0, Unavailable("nobody answers"))

    async def stumble(_: DistributedContext) -> None:
        raise answers.pop(0)

    async def fine(_: DistributedContext) -> None:
        """Do nothing."""

    handlers.update(stumble=stumble, fine=fine)
    nodes = {
        name: leaf(name, compensate=leaf("fine"), retry={"initial_interval": "10ms"}) for name in ("fine", "stumble")
    }
    graph = chain(a=nodes["fine"], b=nodes["stumble"])
    async with in_each_mode.looking(in_each_mode.empty, LONG) as served:
        error = await served.error(graph)
    assert (error.type, error.details[0]["compensated"]) == ("NODE_FAILED", undone)


async def test_a_node_that_is_cancelled_while_a_worker_is_looked_for_has_not_begun(in_each_mode: Place) -> None:
    undoable = {**NODES["handler"], "compensate": put()}
    async with in_each_mode.looking(in_each_mode.empty, LONG) as served:
        handle = await served.start(chain(a=leaf(compensate=put()), b=undoable))
        await until_lacking(handle)
        await handle.cancel()
        await asyncio.wait([asyncio.ensure_future(handle.result())])
        status = await handle.query("status")
    assert (status["nodes"]["b"]["status"], status["compensated"]) == ("cancelled", ["a"])
    assert status["nodes"]["b"]["error"]["type"] == "NOT_STARTED"
