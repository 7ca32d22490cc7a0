"""A node's cache and circuit breaker where they meet timeouts: on a real server, and databases that do not answer."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from anabranch.activities import node
from anabranch.context.distributed import DistributedContext
from anabranch.errors import NodeError
from tests.integration.graph_kit import Served, chain, error_of, leaf, put, until, until_status, worker_for

SLEEP = {"postgres": "select pg_sleep(20) as slept", "mysql": "select sleep(20) as slept"}
ONCE = {"max_attempts": 1}
calls: Counter[str] = Counter()


@pytest.fixture(params=["memory", "valkey"])
async def served(
    request: pytest.FixtureRequest, client: Client, task_queue: str, tmp_path: Path
) -> AsyncIterator[Served]:
    shared = {"redis_url": request.getfixturevalue("valkey_url")} if request.param == "valkey" else {}
    async with worker_for(client, task_queue, tmp_path, **shared) as running:
        yield running


@node("ask_rate")
async def ask_rate(_: DistributedContext, name: str, seconds: float, fails: bool = False) -> dict[str, Any]:
    """Ask a service that takes its time, and may then refuse."""
    calls[name] += 1
    await asyncio.sleep(seconds)
    if fails:
        raise NodeError("no such rate")
    return {"rate": calls[name]}


async def until_called(name: str, times: int) -> None:
    await until(lambda: calls[name] == times)


def asking(name: str, *, timeout: str = "2m", **args: Any) -> dict[str, Any]:
    cache = {"key": name, "ttl": "1h"}
    args = {"name": name, **args}
    return chain(ask=leaf("ask_rate", args=args, effect=False, cache=cache, timeout=timeout, retry=ONCE))


async def test_who_waits_for_another_s_call_has_its_own_time_afterwards(served: Served) -> None:
    """The calls take a third of the timeout each, one after the other, and four of them more than that."""
    name = uuid.uuid4().hex
    handles = [await served.start(asking(name, seconds=2, fails=True, timeout="6s")) for _ in range(4)]
    errors = [await error_of(handle) for handle in handles]
    assert {error.message for error in errors} == {"node 'ask': no such rate"}
    assert [error.details[0].get("compensated") for error in errors] == [[]] * 4
    assert calls[name] == 4


async def test_who_waits_for_a_call_that_succeeds_takes_its_result(served: Served) -> None:
    name = uuid.uuid4().hex
    handles = [await served.start(asking(name, seconds=1.5)) for _ in range(10)]
    results = [await handle.result() for handle in handles]
    assert [result["data"] for result in results] == [{"rate": 1}] * 10
    assert calls[name] == 1


@pytest.mark.parametrize("local", [False, True])
async def test_a_call_of_a_cached_node_has_its_timeout_and_no_more(served: Served, local: bool) -> None:
    graph = asking(uuid.uuid4().hex, seconds=3600, timeout="200ms")
    graph["nodes"]["ask"] |= {"local": local}
    error = await served.error(graph)
    assert (error.type, error.details[0]["outcome"]) == ("TIMEOUT", "timeout")


@pytest.mark.parametrize("database", ["postgres", "mysql"])
async def test_statements_that_time_out_open_the_breaker(
    served: Served, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, database: str
) -> None:
    monkeypatch.setenv("SLOW_DATABASE", request.getfixturevalue(f"{database}_url"))
    breaker = {"failures": 2, "window": "1h", "reset": "1h", "name": uuid.uuid4().hex}
    ask: dict[str, Any] = {"type": "db", "connection": "SLOW_DATABASE", "query": SLEEP[database]}
    graph = chain(ask={**ask, "timeout": "1s", "circuit_breaker": breaker, "retry": ONCE})
    errors = [await served.error(graph) for _ in range(2)]
    assert [each.details[0]["outcome"] for each in errors] == ["timeout"] * 2
    refused = await served.error(graph)
    for _ in range(20):  # on a busy machine an attempt may be over before its statement began
        if refused.type == "TIMEOUT":
            refused = await served.error(graph)
    assert refused.type == "UNAVAILABLE"
    assert f"the circuit breaker {breaker['name']!r} is open after 2 failures" in refused.message


async def test_a_node_that_its_breaker_refuses_has_not_begun_and_is_not_undone(served: Served) -> None:
    name = uuid.uuid4().hex
    breaker = {"failures": 1, "window": "1h", "reset": "1h", "name": name}
    ask = leaf(
        "break", args={"name": name, "how": "unavailable"}, circuit_breaker=breaker, retry=ONCE, compensate=put()
    )
    assert (await served.error(chain(ask=ask))).details[0]["compensated"] == ["ask"]
    refused = await served.error(chain(ask=ask))
    assert "is open" in refused.message
    assert refused.details[0]["compensated"] == []
    assert "effects_left" not in refused.details[0]


async def test_calls_of_runs_that_are_cancelled_do_not_open_the_breaker(served: Served) -> None:
    name = uuid.uuid4().hex
    breaker = {"failures": 2, "window": "1h", "reset": "1h", "name": name}
    graph = chain(ask=leaf("ask_rate", args={"name": name, "seconds": 3600}, heartbeat="3s", circuit_breaker=breaker))
    for times in (1, 2, 3):
        handle = await served.start(graph)
        await until_called(name, times)
        await until_status(handle, "ask", "running")
        await handle.cancel()
        with pytest.raises(Exception, match="Workflow execution failed"):
            await handle.result()
    passing = chain(ask=leaf("ask_rate", args={"name": name, "seconds": 0}, circuit_breaker=breaker))
    assert (await served.run(passing))["data"] == {"rate": 4}
