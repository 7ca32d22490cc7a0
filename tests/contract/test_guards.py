"""What is around a node: one worker's guards on a real Valkey, with fewer connections than nodes that run."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from anabranch.activities.guards.guards import Guards
from anabranch.context.changes import ChangeSet
from anabranch.context.distributed import DistributedContext
from anabranch.context.values import Json
from anabranch.errors import Unavailable
from anabranch.graph.model import Node
from anabranch.transport.node_protocol import NodeTask, RunInfo

BODY: dict[str, Json] = {"type": "rule", "rules": [{"then": {"rate": 1}}]}


@pytest.fixture
async def guards(valkey_url: str) -> AsyncIterator[Guards]:
    opened = Guards.from_url(valkey_url, 4)
    yield opened
    await opened.aclose()


def task_of(node: dict[str, Json]) -> tuple[NodeTask, Node]:
    context = DistributedContext("s", {})
    task = NodeTask("fetch", dict(node), context, RunInfo("r", "s", "rates", ""), "k")
    return task, TypeAdapter[Node](Node).validate_python(node)


async def test_more_callers_than_connections_compute_a_cached_node_once(guards: Guards) -> None:
    task, node = task_of({**BODY, "cache": {"key": uuid.uuid4().hex, "ttl": "1h"}})
    times = 0

    async def compute() -> ChangeSet:
        nonlocal times
        times += 1
        await asyncio.sleep(0.2)
        return ChangeSet(base_version=1, set={("rate",): times}, by="fetch")

    answers = await asyncio.gather(*(guards.around(task, node, compute) for _ in range(40)))
    assert times == 1
    assert [each.set[("rate",)] for each in answers] == [1] * 40


async def test_more_callers_than_connections_open_the_breaker_that_all_workers_see(
    guards: Guards, valkey_url: str
) -> None:
    name = uuid.uuid4().hex
    task, node = task_of({**BODY, "circuit_breaker": {"name": name, "failures": 40, "window": "1m", "reset": "1m"}})

    async def fail() -> ChangeSet:
        raise Unavailable("down")

    outcomes = await asyncio.gather(*(guards.around(task, node, fail) for _ in range(40)), return_exceptions=True)
    assert {type(each) for each in outcomes} == {Unavailable}
    other = Guards.from_url(valkey_url, 4)
    with pytest.raises(Unavailable, match=f"the circuit breaker '{name}' is open"):
        await other.around(task, node, fail)
    await other.aclose()


async def test_keys_that_differ_by_type_alone_are_different_keys(guards: Guards) -> None:
    keys: list[Json] = [1, 1.0, "1", True, None, "", [1], {"a": 1, "b": 2}, {"a": 1.0, "b": 2}]
    assert await computed(guards, "{{ k }}", [{"k": key} for key in keys]) == len(keys)
    assert await computed(guards, "rate of {{ k }}", [{"k": key} for key in keys]) == len(keys)


async def test_pairs_of_values_that_join_to_one_text_are_different_keys(guards: Guards) -> None:
    assert await computed(guards, "{{ a }}-{{ b }}", [{"a": "x-y", "b": "z"}, {"a": "x", "b": "y-z"}]) == 2


async def test_the_order_of_an_object_s_keys_makes_no_other_key(guards: Guards) -> None:
    assert await computed(guards, "{{ k }}", [{"k": {"a": 1, "b": 2}}, {"k": {"b": 2, "a": 1}}]) == 1


async def computed(guards: Guards, key: str, contexts: list[dict[str, Json]]) -> int:
    """How often a node is computed when each of these contexts asks for it twice."""
    times, graph = 0, uuid.uuid4().hex

    async def compute() -> ChangeSet:
        nonlocal times
        times += 1
        return ChangeSet(base_version=1, set={("rate",): times}, by="fetch")

    for data in contexts * 2:
        task, node = task_of({**BODY, "cache": {"key": key, "ttl": "1h"}})
        context = DistributedContext("s", data)
        run = replace(task.run, graph=graph)
        await guards.around(replace(task, context=context, run=run), node, compute)
    return times
