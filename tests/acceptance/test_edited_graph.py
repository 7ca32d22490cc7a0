"""A run keeps the definition that it started with; new runs use what the file says now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from anabranch.dev.devserver import DevServer
from tests.acceptance.worker_process import PATIENCE, Handle, kill, service, worker_process

pytestmark = pytest.mark.timeout(300)
SEEN_SECONDS = 0.3
"""Files are looked at four times a second at most."""
Start = Callable[[str], Awaitable[Handle]]
FIRST = """
name: order
defaults: {{timeout: 5m}}
nodes:
  ask: {{type: http, url: "http://127.0.0.1:{port}/first", heartbeat: 3s, output: {{answer: result.body.answer}}}}
  old: {{type: rule, rules: [{{when: n > 0, then: {{edition: 1, price: "{{{{ n * 2 }}}}"}}}}]}}
  end: {{type: rule, rules: [{{when: edition == 1, then: {{done: true}}}}]}}
edges: [{{from: ask, to: old}}, {{from: old, to: end}}]
"""
SECOND = """
name: order
defaults: {{timeout: 5m}}
nodes:
  new: {{type: rule, rules: [{{when: n > 0, then: {{edition: 2, price: "{{{{ n * 3 }}}}"}}}}]}}
  ask: {{type: http, url: "http://127.0.0.1:{port}/second", heartbeat: 3s, output: {{answer: result.body.answer}}}}
edges: [{{from: new, to: ask}}]
"""
OLD = {"n": 5, "answer": "/first", "edition": 1, "price": 10, "done": True}
NEW = {"n": 5, "answer": "/second", "edition": 2, "price": 15}


async def data_of(handle: Handle) -> object:
    ended = await asyncio.wait_for(handle.result(), PATIENCE)
    return ended["data"]


@pytest.fixture
def environment(dev_server: DevServer, task_queue: str, tmp_path: Path) -> dict[str, str]:
    return {
        "TEMPORAL_ADDRESS": dev_server.address,
        "ANABRANCH_GRAPHS": str(tmp_path),
        "ANABRANCH_TASK_QUEUE": task_queue,
        "HTTP_ALLOW_PRIVATE": "true",
    }


@pytest.fixture
def start(client: Client, task_queue: str) -> Start:
    async def begin(which: str) -> Handle:
        return await client.start_workflow("order", {"n": 5}, id=f"{task_queue}-{which}", task_queue=task_queue)

    return begin


async def test_a_run_in_flight_finishes_on_its_own_edition_while_new_runs_use_the_new_one(
    environment: dict[str, str], start: Start, tmp_path: Path
) -> None:
    async with service() as asked:
        (tmp_path / "order.yaml").write_text(FIRST.format(port=asked.port))
        with worker_process(environment):
            old = await start("old")
            await asked.requests(1)
            (tmp_path / "order.yaml").write_text(SECOND.format(port=asked.port))
            await asyncio.sleep(SEEN_SECONDS)
            new = await start("new")
            await asked.requests(2)
            asked.opened.set()
            assert await data_of(old) == OLD
            assert await data_of(new) == NEW


async def test_a_new_worker_finishes_an_old_run_from_its_history_though_the_file_is_broken(
    environment: dict[str, str], start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "order.yaml"
    async with service() as asked:
        file.write_text(FIRST.format(port=asked.port))
        uncached = {**environment, "ANABRANCH_MAX_CACHED_WORKFLOWS": "0"}
        with worker_process(uncached) as first:
            old = await start("old")
            await asked.requests(1)
            kill(first)
        file.write_text("name: order\nnodes: [")
        with worker_process(uncached):
            broken = await start("broken")
            with pytest.raises(WorkflowFailureError) as failed:
                await data_of(broken)
            assert isinstance(failed.value.cause, ApplicationError)
            assert failed.value.cause.type == "GRAPH_INVALID"
            asked.opened.set()
            assert await data_of(old) == OLD
            file.unlink()
            with pytest.raises(WorkflowFailureError):
                await data_of(await start("gone"))
