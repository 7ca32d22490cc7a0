"""Limits of rate and concurrency on a real Temporal server and a real Valkey: several workers, runs that wait."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_httpserver import HTTPServer
from temporalio import activity
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import CancelledError
from werkzeug import Request, Response

from anabranch.activities import node
from anabranch.activities.guards.turns import Turns
from anabranch.context.distributed import DistributedContext
from anabranch.dev.devserver import DevServer
from anabranch.errors import TurnNotYet
from anabranch.redis_client import RedisClient
from anabranch.transport.turn import Limit, Turn
from tests.asking import connect_to
from tests.command import ROOT, anabranch
from tests.integration.graph_kit import (
    PATIENCE,
    Handle,
    Served,
    attempts,
    chain,
    edge,
    error_of,
    events,
    gate,
    leaf,
    put,
    until,
    until_status,
    worker_for,
)

under_way: Counter[str] = Counter()
most: Counter[str] = Counter()


@node("occupy")
async def occupy(_: DistributedContext, name: str, seconds: float = 0.05) -> dict[str, Any]:
    """Note how many were under way."""
    under_way[name] += 1
    most[name] = max(most[name], under_way[name])
    await asyncio.sleep(seconds)
    under_way[name] -= 1
    return {"attempt": activity.info().attempt}


def occupying(name: str, **limits: Any) -> dict[str, Any]:
    return leaf("occupy", args={"name": name}, output={"attempt": "result.attempt"}, **limits)


def holding(name: str) -> dict[str, Any]:
    """A node that holds the slot of that name until its gate opens."""
    return leaf("pass_gate", args={"name": name}, concurrency={"limit": 1, "name": name})


def waiting_for(name: str, **fields: Any) -> dict[str, Any]:
    """A node that waits for that slot."""
    return leaf("occupy", args={"name": name}, concurrency={"limit": 1, "name": name}, **fields)


async def results(handles: list[Handle]) -> list[dict[str, Any]]:
    return await asyncio.wait_for(asyncio.gather(*(each.result() for each in handles)), PATIENCE)


async def kinds(handle: Handle) -> list[str]:
    """The types of the activities that a run has had."""
    found = [each for each in await events(handle) if each.HasField("activity_task_scheduled_event_attributes")]
    return [each.activity_task_scheduled_event_attributes.activity_type.name for each in found]


async def remembering(url: str, key: str) -> Callable[[], Awaitable[list[float]]]:
    """Have Redis know for an hour when each has begun, by its clock; returns what tells that, in milliseconds."""
    redis = RedisClient.from_url(url)
    async with Turns(redis).held(Turn(uuid.uuid4().hex, (Limit("rate", key, key, 10_000, 3_600_000),))):
        pass

    async def times() -> list[float]:
        async with redis as commands:
            found: list[Any] = list(await commands.zrange(f"anabranch:limit:{{{key}}}:used", 0, -1, withscores=True))
        await redis.aclose()
        return [float(at) for _, at in found]

    return times


@pytest.fixture
async def limited(client: Client, task_queue: str, tmp_path: Path, valkey_url: str) -> AsyncIterator[Served]:
    given: dict[str, Any] = {"redis_url": valkey_url, "limit_lease_seconds": 2.0, "http_allow_private": True}
    async with worker_for(client, task_queue, tmp_path, **given) as served:
        yield served


async def test_nodes_of_many_runs_on_three_workers_keep_both_limits(
    limited: Served, dev_server: DevServer, task_queue: str, tmp_path: Path, valkey_url: str
) -> None:
    name = task_queue
    limits = {"concurrency": {"limit": 2, "name": name}, "rate_limit": {"limit": 3, "per": "700ms", "name": name}}
    times = await remembering(valkey_url, f"rate/{name}")
    async with AsyncExitStack() as stack:
        for _ in range(2):
            client = await connect_to(dev_server)
            await stack.enter_async_context(worker_for(client, task_queue, tmp_path, redis_url=valkey_url))
        graph = {"nodes": {"work": occupying(name, **limits)}}
        handles = [await limited.start(graph) for _ in range(10)]
        found = await results(handles)
    assert [each["data"]["attempt"] for each in found] == [1] * 10
    assert most[name] <= 2
    starts = await times()
    assert len(starts) == 11
    assert all(later - earlier >= 700 for earlier, later in zip(starts, starts[3:], strict=False))


async def test_limits_are_kept_by_key(limited: Served, task_queue: str) -> None:
    held = {"limit": 1, "name": task_queue, "key": "{{ customer }}"}
    graph = {"nodes": {"a": leaf("pass_gate", args={"name": task_queue}, reads=("customer",), concurrency=held)}}
    other = {"nodes": {"b": {**put(x="{{ customer }}"), "concurrency": held}}}
    async with gate(task_queue):
        first = await limited.start(graph, {"customer": "a\u0000\n" + "x" * 5000})
        await until(lambda: attempts[task_queue] == 1)
        assert (await limited.run(other, {"customer": 7}))["data"]["x"] == 7
        waiting = await limited.start(other, {"customer": "a\u0000\n" + "x" * 5000})
        await until_status(waiting, "b", "waiting")
    await results([first, waiting])


async def test_a_node_that_waits_says_what_for_and_uses_up_no_attempt(limited: Served, task_queue: str) -> None:
    waits = waiting_for(task_queue, output={"attempt": "run.attempt"}, retry={"max_attempts": 1})
    async with gate(task_queue):
        first = await limited.start({"nodes": {"a": holding(task_queue)}})
        await until(lambda: attempts[task_queue] == 1)
        second = await limited.start({"nodes": {"b": waits}})
        status = await until_status(second, "b", "waiting")
        assert f"concurrency limit '{task_queue}' (1 at a time), 0 before it" in status["limited"]["b"]
        await asyncio.sleep(1)
    found = await results([first, second])
    assert found[1]["data"]["attempt"] == 1
    assert await kinds(second) == ["python", "await_turn", "python"]
    assert "limited" not in await second.query("status")


async def test_a_node_that_is_cancelled_while_it_waits_never_began(limited: Served, task_queue: str) -> None:
    graph = chain(first=put(x=1), b=waiting_for(task_queue, compensate=put(x=0)))
    async with gate(task_queue):
        holder = await limited.start({"nodes": {"a": holding(task_queue)}})
        await until(lambda: attempts[task_queue] == 1)
        waiting = await limited.start({**graph, "saga": {}})
        await until_status(waiting, "b", "waiting")
        await waiting.cancel()
        with pytest.raises(WorkflowFailureError) as caught:
            await asyncio.wait_for(waiting.result(), PATIENCE)
        assert isinstance(caught.value.cause, CancelledError)
    await results([holder])
    assert most[task_queue] == 0
    assert (await limited.run({"nodes": {"c": occupying(task_queue)}}))["status"] == "completed"


async def test_a_turn_that_does_not_come_in_time_is_a_time_out_without_an_effect(
    limited: Served, task_queue: str
) -> None:
    node = waiting_for(task_queue, queue_timeout="1s", compensate=put(undone=True))
    late = {"late": put(code="{{ error.code }}")}
    handled = {"nodes": {"b": node, **late}, "edges": [edge("b", "late", outcome="timeout")]}
    async with gate(task_queue):
        holder = await limited.start({"nodes": {"a": holding(task_queue)}})
        await until(lambda: attempts[task_queue] == 1)
        assert (await limited.run(handled))["data"] == {"code": "NO_TURN"}
    await results([holder])


async def test_an_attempt_after_a_failure_waits_and_is_still_the_second(limited: Served, task_queue: str) -> None:
    slot = {"limit": 1, "name": task_queue}
    retry = {"max_attempts": 2, "initial_interval": "1s"}
    args = {"name": f"{task_queue} broken", "how": "unavailable", "until": 2}
    breaks = leaf("break", args=args, concurrency=slot, retry=retry, output={"attempt": "result.attempt"})
    async with gate(task_queue):
        failing = await limited.start({"nodes": {"b": breaks}})
        await until(lambda: attempts[f"{task_queue} broken"] == 1)
        holder = await limited.start({"nodes": {"a": holding(task_queue)}})
        await until(lambda: attempts[task_queue] == 1)
        await until_status(failing, "b", "waiting")
    found = await results([failing, holder])
    assert found[0]["data"]["attempt"] == 2
    assert attempts[f"{task_queue} broken"] == 2


async def test_each_request_of_a_node_that_polls_counts_and_its_waits_are_pauses_of_its_activity(
    limited: Served, task_queue: str, httpserver: HTTPServer
) -> None:
    asked: list[str] = []

    def answer(_: Request) -> Response:
        asked.append("job")
        state = "done" if len(asked) == 3 else "running"
        return Response(json.dumps({"state": state}), content_type="application/json")

    httpserver.expect_request("/job").respond_with_handler(answer)
    poll = {"until": "result.body.state == 'done'", "every": "20ms", "timeout": "1m"}
    job = {"type": "http", "url": httpserver.url_for("/job"), "poll": poll, "output": {"state": "result.body.state"}}
    job["rate_limit"] = {"limit": 1, "per": "300ms", "name": task_queue}
    handle = await limited.start({"nodes": {"job": job}})
    assert (await results([handle]))[0]["data"] == {"state": "done"}
    assert await kinds(handle) == ["http"]
    asked.clear()
    job |= {"rate_limit": {"limit": 2, "per": "1h", "name": f"{task_queue}-2"}, "poll": {**poll, "timeout": "3s"}}
    assert (await limited.error({"nodes": {"job": job}})).type in {"NOT_YET", "TIMEOUT"}
    assert len(asked) == 2


async def test_a_local_node_has_limits_too(limited: Served, task_queue: str) -> None:
    rule = {"type": "rule", "rules": [{"then": {"x": 1}}], "local": True}
    rule["rate_limit"] = {"limit": 1, "per": "400ms", "name": task_queue}
    found = await results([await limited.start({"nodes": {"a": rule}}) for _ in range(3)])
    assert [each["data"] for each in found] == [{"x": 1}] * 3


async def test_a_compensation_has_limits_of_its_own(limited: Served, task_queue: str) -> None:
    undo = waiting_for(task_queue)
    graph = chain(book={**put(x=1), "compensate": undo}, stop={"type": "fail", "code": "ENOUGH", "message": "enough"})
    async with gate(task_queue):
        holder = await limited.start({"nodes": {"a": holding(task_queue)}})
        await until(lambda: attempts[task_queue] == 1)
        undone = await limited.start({**graph, "saga": {}})
        limits: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE):
            while not limits:
                await asyncio.sleep(0.05)
                limits = (await undone.query("status")).get("limited", {})
        assert list(limits) == ["undo book"]
    assert (await error_of(undone)).details[0]["compensated"] == ["book"]
    await results([holder])


async def test_without_an_answer_of_redis_a_node_waits_and_says_so(
    client: Client, task_queue: str, tmp_path: Path
) -> None:
    nobody = "redis://127.0.0.1:1/0"
    async with worker_for(client, task_queue, tmp_path, redis_url=nobody) as served:
        handle = await served.start({"nodes": {"a": occupying(task_queue, concurrency={"limit": 1})}})
        status = await until_status(handle, "a", "waiting")
        assert status["limited"]["a"].startswith("Redis has to say whether it is its turn: REDIS_URL: Redis did not")
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await asyncio.wait_for(handle.result(), PATIENCE)
    assert most[task_queue] == 0


async def test_without_a_redis_a_node_never_begins(client: Client, task_queue: str, tmp_path: Path) -> None:
    async with worker_for(client, task_queue, tmp_path) as served:
        error = await served.error({"nodes": {"a": occupying(task_queue, rate_limit={"limit": 1})}})
    assert error.type == "CONFIGURATION_INVALID"
    assert "REDIS_URL" in error.message
    assert most[task_queue] == 0


HANDLERS = """
import asyncio, os, pathlib, time
from anabranch import node

@node("hold")
async def hold(context, folder, seconds):
    name = pathlib.Path(folder) / f"{os.getpid()}-{time.time_ns()}"
    name.touch()
    told = pathlib.Path(folder).parent / "told" / name.name
    told.write_text(str(len(list(pathlib.Path(folder).iterdir()))))
    await asyncio.sleep(seconds)
    name.unlink()
    return {"pid": os.getpid()}
"""


@pytest.mark.slow
async def test_the_slot_of_a_killed_worker_process_is_free_again(
    dev_server: DevServer, client: Client, task_queue: str, tmp_path: Path, valkey_url: str
) -> None:
    """Three worker processes, one of them killed while it holds slots: never exceeded, never stuck."""
    graphs, held, told = tmp_path / "graphs", tmp_path / "held", tmp_path / "told"
    for each in (graphs, held, told):
        each.mkdir()
    (tmp_path / "own_handlers.py").write_text(HANDLERS)
    work = {"type": "python", "handler": "hold", "args": {"folder": str(held), "seconds": "{{ seconds }}"}}
    work |= {"reads": ["seconds"], "concurrency": {"limit": 2}, "heartbeat": "2s", "output": {"pid": "result.pid"}}
    (graphs / "g.yaml").write_text(yaml.safe_dump({"name": "g", "nodes": {"work": work}}))
    environ = {
        "TEMPORAL_ADDRESS": dev_server.address,
        "REDIS_URL": valkey_url,
        "ANABRANCH_LIMIT_LEASE_SECONDS": "3",
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
    }
    where = ("--graphs", graphs, "--task-queue", task_queue, "--import", "own_handlers")

    def now() -> list[str]:
        return sorted(each.name for each in held.iterdir())

    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(anabranch("worker", *where, environ=environ))

        async def start(index: int, seconds: float) -> Handle:
            workflow_id = f"{task_queue}-{index}"
            argument = {"seconds": seconds}
            return await client.start_workflow("g", argument, id=workflow_id, task_queue=task_queue)

        handles = [await start(0, 600.0)]
        await until(lambda: len(now()) == 1)
        dead = int(now()[0].split("-")[0])
        handles += [await start(index, 0.3) for index in range(1, 7)]
        await asyncio.sleep(1)
        os.kill(dead, signal.SIGKILL)
        for name in now():
            if name.startswith(f"{dead}-"):
                (held / name).unlink()  # its work is over
        found = await asyncio.wait_for(asyncio.gather(*(each.result() for each in handles[1:])), PATIENCE)
        assert len(found) == 6
        await until(lambda: len(now()) == 1)  # the next attempt of the first one, on another worker
        assert not now()[0].startswith(f"{dead}-")
        await handles[0].terminate()
    assert max(int(each.read_text()) for each in told.iterdir()) <= 2


async def test_a_slot_whose_holder_was_killed_is_free_again(limited: Served, task_queue: str, valkey_url: str) -> None:
    """What a killed process leaves behind is a lease that nobody renews."""
    redis = RedisClient.from_url(valkey_url)
    dead = Turns(redis, lease=2.0)
    limit = Limit("concurrency", task_queue, f"slots/{task_queue}", 1)
    assert await dead._begin(Turn("dead", (limit,))) is None
    with pytest.raises(TurnNotYet):
        async with dead.held(Turn("another", (limit,))):
            pass
    slot = {"limit": 1, "name": task_queue}
    handle = await limited.start({"nodes": {"a": occupying(task_queue, concurrency=slot)}})
    await until_status(handle, "a", "waiting")
    assert (await results([handle]))[0]["status"] == "completed"
    await redis.aclose()
