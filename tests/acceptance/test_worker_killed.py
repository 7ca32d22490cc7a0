"""A worker that dies in the middle of a run: another one finishes it, with the same data, and no effect twice."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from anabranch.dev import stand_in_model
from anabranch.dev.devserver import DevServer
from tests.acceptance.worker_process import PATIENCE, Handle, Service, kill, service, until_waiting, worker_process

ORDER = """
name: order
defaults: {{timeout: 5m, retry: {{max_attempts: 0, initial_interval: 50ms, backoff: 1}}}}
nodes:
  check: {{type: rule, rules: [{{when: n > 0, then: {{checked: true}}}}]}}
  ask: {{type: http, url: "http://127.0.0.1:{port}/reserve", heartbeat: 3s, output: {{answer: result.body.answer}}}}
  nap: {{type: wait, for: 1s}}
  note:
    type: db
    connection: STEPS_URL
    query: insert into steps (name) values (:name) returning name as noted
    params: {{name: "{{{{ answer }}}}"}}
    heartbeat: 3s
  last: {{type: rule, rules: [{{when: noted == answer, then: {{done: true, total: "{{{{ n * 2 }}}}"}}}}]}}
edges:
  - {{from: check, to: ask}}
  - {{from: ask, to: nap}}
  - {{from: nap, to: note}}
  - {{from: note, to: last}}
"""
PAYMENTS = """
name: payments
nodes:
  pay:
    type: while
    until: turn == 12
    body: {nodes: {paid: {type: receive, event: paid, output: {id: result.id}}}}
    collect: {into: ids, value: id}
"""
TRIP = """
name: trip
nodes:
  book:
    type: block
    retry: {{max_attempts: 2, initial_interval: 50ms}}
    nodes:
      rooms:
        type: foreach
        items: "[1]"
        body:
          nodes:
            hotel:
              type: db
              connection: STEPS_URL
              query: insert into steps (name) values ('hotel') returning name as noted
              compensate: {{type: db, connection: STEPS_URL, query: "insert into steps (name) values ('undo hotel')"}}
      pay:
        type: http
        url: "http://127.0.0.1:{port}/pay"
        timeout: 5m
        heartbeat: 3s
        retry: {{max_attempts: 2, initial_interval: 50ms}}
        output: {{paid: result.body.answer}}
    edges: [{{from: rooms, to: pay}}]
"""
BATCHES = """
name: batches
nodes:
  each:
    type: foreach
    items: "[1, 2, 3, 4, 5]"
    batch: 2
    max_concurrency: 1
    on_item_failure: collect
    failed: odd
    item_errors: "items.map(n, n == 3 ? 'three' : null)"
    collect: {{into: noted, value: items}}
    body:
      nodes:
        note:
          type: db
          connection: STEPS_URL
          query: insert into steps (name) values (:names) returning name as noted
          params: {{names: "{{{{ items }}}}"}}
        tell:
          type: http
          url: "http://127.0.0.1:{port}/tell"
          timeout: 5m
          heartbeat: 3s
          retry: {{max_attempts: 0, initial_interval: 50ms, backoff: 1}}
      edges: [{{from: note, to: tell}}]
"""
FAILS = """
nodes:
  hotel:
    type: db
    connection: STEPS_URL
    query: insert into steps (name) values ('hotel')
    result: none
    compensate: {{type: db, connection: STEPS_URL, query: "insert into steps (name) values ('undo hotel')"}}
  none: {{type: fail, code: NO_FLIGHT}}
edges: [{{from: hotel, to: none}}]
finally:
  nodes:
    note: {{type: db, connection: STEPS_URL, query: "insert into steps (name) values ('noted')", result: none}}
    tell:
      type: http
      url: "http://127.0.0.1:{port}/{{{{ outcome.error.code }}}}"
      timeout: 5m
      heartbeat: 3s
      output: {{told: result.body.answer}}
  edges: [{{from: note, to: tell}}]
"""
"""What fails, of a graph or of a block, and tells of it at its end."""
TOLD = f"name: told\n{FAILS}"
LEASE = f"""
name: lease
nodes:
  hold:
    type: block
{indent(FAILS, "    ")}
  last: {{{{type: rule, rules: [{{{{then: {{{{ended: "{{{{{{{{ told }}}}}}}}"}}}}}}}}]}}}}
edges: [{{{{from: hold, to: last, outcome: failure}}}}]
"""
JUDGE = """
name: judge
nodes:
  judge:
    type: ai
    model: openai:stand-in
    prompt: An order of $10.00
    output: {{said: result.text, requests: result.usage.requests}}
    tools:
      ask:
        description: Asks the shop.
        inputs: {{what: {{type: string}}}}
        node:
          type: http
          url: "http://127.0.0.1:{port}/ask"
          query: {{what: "{{{{ args.what }}}}"}}
          timeout: 5m
          heartbeat: 3s
          retry: {{max_attempts: 0, initial_interval: 50ms, backoff: 1}}
"""
pytestmark = pytest.mark.timeout(300)
SECOND = timedelta(seconds=1)
OUTCOME = {"n": 3, "checked": True, "answer": "/reserve", "noted": "/reserve", "done": True, "total": 6}

SEGMENT = """
name: segment
nodes:
  note:
    type: db
    connection: STEPS_URL
    query: insert into steps (name) values ('noted') returning name as noted
    local: true
  ask: {{type: http, url: "http://127.0.0.1:{port}/reserve", output: {{answer: result.body.answer}}, local: true}}
  last: {{type: rule, rules: [{{then: {{done: "{{{{ noted }}}} {{{{ answer }}}}"}}}}], local: true}}
edges:
  - {{from: note, to: ask}}
  - {{from: ask, to: last}}
"""


@dataclass(frozen=True)
class Site:
    """What workers share: the server, the graphs, a database."""

    client: Client
    task_queue: str
    folder: Path
    environment: dict[str, str]

    async def start(self, graph: str, data: dict[str, Any]) -> Handle:
        return await self.client.start_workflow(graph, data, id=self.task_queue, task_queue=self.task_queue)

    def steps(self) -> list[str]:
        with closing(sqlite3.connect(self.folder / "steps.db")) as database:
            return [name for (name,) in database.execute("select name from steps order by rowid")]


@pytest.fixture
async def site(client: Client, dev_server: DevServer, task_queue: str, tmp_path: Path) -> Site:
    with closing(sqlite3.connect(tmp_path / "steps.db")) as database:
        database.execute("create table steps (name text)")
    environment = {
        "TEMPORAL_ADDRESS": dev_server.address,
        "ANABRANCH_GRAPHS": str(tmp_path),
        "ANABRANCH_TASK_QUEUE": task_queue,
        "STEPS_URL": f"sqlite+aiosqlite:///{tmp_path}/steps.db",
        "ANABRANCH_CONNECTIONS": "STEPS_URL",
        "HTTP_ALLOW_PRIVATE": "true",
        # Without a cache there is no sticky queue, on which the server would wait ten seconds for the dead worker.
        "ANABRANCH_MAX_CACHED_WORKFLOWS": "0",
    }
    return Site(client, task_queue, tmp_path, environment)


@pytest.fixture
async def reserve(site: Site) -> AsyncIterator[Service]:
    async with service() as reserving:
        (site.folder / "order.yaml").write_text(ORDER.format(port=reserving.port))
        yield reserving


async def result(handle: Handle) -> dict[str, Any]:
    ended = await asyncio.wait_for(handle.result(), PATIENCE)
    assert (ended["status"], ended["version"]) == ("completed", 5)
    data: dict[str, Any] = ended["data"]
    return data


async def test_an_undisturbed_run(site: Site, reserve: Service) -> None:
    reserve.opened.set()
    with worker_process(site.environment):
        assert await result(await site.start("order", {"n": 3})) == OUTCOME
    assert (site.steps(), len(reserve.keys)) == (["/reserve"], 1)


async def test_a_worker_killed_while_an_activity_runs(site: Site, reserve: Service) -> None:
    """The request is sent again, under the same idempotency key."""
    handle = await site.start("order", {"n": 3})
    with worker_process(site.environment) as first:
        await reserve.requests(1)
        kill(first)
    reserve.opened.set()
    with worker_process(site.environment):
        assert await result(handle) == OUTCOME
    assert site.steps() == ["/reserve"]
    assert len(reserve.keys) == 2
    assert len(set(reserve.keys)) == 1


async def test_a_worker_killed_while_a_tool_of_a_model_runs(site: Site) -> None:
    """The call is made again, under the same idempotency key, and the model is asked nothing twice."""
    async with service() as asking, stand_in_model.serve() as model:
        (site.folder / "judge.yaml").write_text(JUDGE.format(port=asking.port))
        environment = {**site.environment, "OPENAI_BASE_URL": model, "OPENAI_API_KEY": "none"}
        handle = await site.start("judge", {})
        with worker_process(environment) as first:
            await asking.requests(1)
            kill(first)
        asking.opened.set()
        with worker_process(environment):
            ended = await asyncio.wait_for(handle.result(), PATIENCE)
    assert ended["data"]["said"].startswith("[stand-in, not a language model] APPROVE")
    assert ended["data"]["requests"] == ended["usage"][0]["requests"] == 2
    assert len(asking.keys) == 2
    assert len(set(asking.keys)) == 1


async def test_a_worker_killed_between_nodes(site: Site, reserve: Service) -> None:
    """Nothing runs but a timer of the server's."""
    reserve.opened.set()
    handle = await site.start("order", {"n": 3})
    with worker_process(site.environment) as first:
        await until_waiting(handle, "nap")
        kill(first)
    with worker_process(site.environment):
        assert await result(handle) == OUTCOME
    assert (site.steps(), len(reserve.keys)) == (["/reserve"], 1)


async def test_a_worker_killed_while_events_come_takes_each_once(site: Site) -> None:
    """They come while it runs, while nobody does, and all of them again to the next one."""
    (site.folder / "payments.yaml").write_text(PAYMENTS)
    handle = await site.start("payments", {})
    with worker_process(site.environment) as first:
        await until_waiting(handle, "pay[0]/paid")
        await send_payments(handle, range(4))
        await until_waiting(handle, "pay[4]/paid")
        kill(first)
    await send_payments(handle, range(8))
    with worker_process(site.environment):
        await send_payments(handle, range(12))
        ended = await asyncio.wait_for(handle.result(), PATIENCE)
    assert ended["data"]["ids"] == [str(number) for number in range(12)]
    assert "warnings" not in ended


async def send_payments(handle: Handle, numbers: range) -> None:
    for number in numbers:
        await handle.signal("event", {"name": "paid", "id": number})


async def test_a_worker_killed_in_a_database_transaction(site: Site, reserve: Service) -> None:
    """The statement waits for a lock when its process dies; it happens once all the same."""
    reserve.opened.set()
    handle = await site.start("order", {"n": 3})
    with closing(sqlite3.connect(site.folder / "steps.db", isolation_level=None)) as database:
        database.execute("begin immediate")
        with worker_process(site.environment) as first:
            await until_running(handle, "note")
            kill(first)
        database.execute("rollback")
    with worker_process(site.environment):
        assert await result(handle) == OUTCOME
    assert site.steps() == ["/reserve"]


async def until_running(handle: Handle, activity_id: str) -> None:
    for _ in range(1800):
        described = await handle.describe()
        running = [each for each in described.raw_description.pending_activities if each.activity_id == activity_id]
        if any(each.HasField("last_started_time") for each in running):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"activity {activity_id!r} did not start in time")


@pytest.mark.slow
async def test_a_worker_killed_again_and_again_writes_every_row_once(site: Site) -> None:
    names = [f"step{index:02}" for index in range(20)]
    statement = "insert into steps (name) values (:name) returning name as last"
    nodes = "\n".join(
        f"  {name}: {{type: db, connection: STEPS_URL, heartbeat: 3s, query: '{statement}', params: {{name: {name}}}}}"
        for name in names
    )
    edges = "\n".join(f"  - {{from: {a}, to: {b}}}" for a, b in pairwise(names))
    head = "name: steps\ndefaults: {retry: {max_attempts: 0, initial_interval: 50ms, backoff: 1}}"
    (site.folder / "steps.yaml").write_text(f"{head}\nnodes:\n{nodes}\nedges:\n{edges}\n")
    handle = await site.client.start_workflow(
        "steps", {}, id=site.task_queue, task_queue=site.task_queue, task_timeout=SECOND
    )
    for rows in (4, 12):
        with worker_process(site.environment) as process:
            await until_steps(site, rows)
            kill(process)
    with worker_process(site.environment):
        ended = await asyncio.wait_for(handle.result(), PATIENCE)
    assert ended["data"] == {"last": "step19"}
    assert site.steps() == names


@pytest.mark.slow
async def test_a_worker_killed_in_a_second_attempt_of_a_block(site: Site) -> None:
    """Each attempt writes once, under keys of its own, and what the first one wrote is undone once."""
    async with service(unavailable=2) as paying:
        (site.folder / "trip.yaml").write_text(TRIP.format(port=paying.port))
        handle = await site.client.start_workflow(
            "trip", {}, id=site.task_queue, task_queue=site.task_queue, task_timeout=SECOND
        )
        with worker_process(site.environment) as first:
            await paying.requests(3)
            kill(first)
        paying.opened.set()
        with worker_process(site.environment):
            ended = await asyncio.wait_for(handle.result(), PATIENCE)
    assert ended["data"] == {"noted": "hotel", "paid": "/pay"}
    assert site.steps() == ["hotel", "undo hotel", "hotel"]
    assert [key.partition("/")[2] for key in paying.keys] == ["book/pay"] * 2 + ["book~2/pay"] * 2


@pytest.mark.slow
async def test_a_worker_killed_in_a_batch(site: Site) -> None:
    """The batch goes on where it was, and each batch is written once."""
    async with service() as telling:
        (site.folder / "batches.yaml").write_text(BATCHES.format(port=telling.port))
        handle = await site.client.start_workflow(
            "batches", {}, id=site.task_queue, task_queue=site.task_queue, task_timeout=SECOND
        )
        with worker_process(site.environment) as first:
            await telling.requests(1)
            kill(first)
        telling.opened.set()
        with worker_process(site.environment):
            ended = await asyncio.wait_for(handle.result(), PATIENCE)
    assert ended["data"]["noted"] == [1, 2, 4, 5]
    assert [each["item"] for each in ended["data"]["odd"]] == [3]
    assert site.steps() == ["[1,2]", "[3,4]", "[5]"]


@pytest.mark.slow
async def test_a_worker_killed_in_a_segment(site: Site) -> None:
    """Another one plays the segment again: each node has the key that it had, so what was written stays as it is."""
    async with service() as reserving:
        (site.folder / "segment.yaml").write_text(SEGMENT.format(port=reserving.port))
        handle = await site.client.start_workflow(
            "segment", {}, id=site.task_queue, task_queue=site.task_queue, task_timeout=SECOND
        )
        with worker_process(site.environment) as first:
            await reserving.requests(1)
            assert site.steps() == ["noted"]
            kill(first)
        reserving.opened.set()
        with worker_process(site.environment):
            ended = await asyncio.wait_for(handle.result(), PATIENCE)
    assert ended["data"] == {"noted": "noted", "answer": "/reserve", "done": "noted /reserve"}
    assert site.steps() == ["noted"]
    assert len(reserving.keys) > 1
    assert len(set(reserving.keys)) == 1


async def test_a_worker_killed_while_the_finally_runs(site: Site) -> None:
    """Nothing is undone twice, what it did is not done again, and it goes on where it was."""
    async with service() as told:
        (site.folder / "told.yaml").write_text(TOLD.format(port=told.port))
        handle = await site.start("told", {})
        with worker_process(site.environment) as first:
            await told.requests(1)
            kill(first)
        told.opened.set()
        with worker_process(site.environment):
            with pytest.raises(WorkflowFailureError) as failed:
                await asyncio.wait_for(handle.result(), PATIENCE)
            assert (await handle.query("status"))["nodes"]["finally/tell"]["status"] == "succeeded"
    assert isinstance(failed.value.cause, ApplicationError)
    assert (failed.value.cause.type, failed.value.cause.details[0]["finally"]) == ("NO_FLIGHT", {"told": "/NO_FLIGHT"})
    assert site.steps() == ["hotel", "undo hotel", "noted"]
    assert [key.partition("/")[2] for key in told.keys] == ["finally/tell"] * 2


@pytest.mark.slow
async def test_a_worker_killed_while_the_finally_of_a_block_runs(site: Site) -> None:
    """The same, and the run goes on behind the block."""
    async with service() as told:
        (site.folder / "lease.yaml").write_text(LEASE.format(port=told.port))
        handle = await site.client.start_workflow(
            "lease", {}, id=site.task_queue, task_queue=site.task_queue, task_timeout=SECOND
        )
        with worker_process(site.environment) as first:
            await told.requests(1)
            kill(first)
        told.opened.set()
        with worker_process(site.environment):
            ended = await asyncio.wait_for(handle.result(), PATIENCE)
    assert ended["data"] == {"told": "/NO_FLIGHT", "ended": "/NO_FLIGHT"}
    assert site.steps() == ["hotel", "undo hotel", "noted"]
    assert [key.partition("/")[2] for key in told.keys] == ["hold/finally/tell"] * 2


async def until_steps(site: Site, count: int) -> None:
    for _ in range(9000):
        if len(site.steps()) >= count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{site.steps()} came")


async def test_a_worker_that_is_asked_to_stop_finishes_what_it_runs(site: Site, reserve: Service) -> None:
    handle = await site.start("order", {"n": 3})
    with worker_process(site.environment) as first:
        await reserve.requests(1)
        first.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        reserve.opened.set()
        assert await asyncio.to_thread(leave, first) == 0
    with worker_process(site.environment):
        assert await result(handle) == OUTCOME
    assert len(reserve.keys) == 1


def leave(process: subprocess.Popen[bytes]) -> int:
    return process.wait(PATIENCE)
