"""What a Temporal server takes: more fails a workflow task for ever, so a run never asks for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.api.common.v1 import Priority
from temporalio.client import Client

from anabranch.errors import GraphError
from anabranch.graph.load import load_text
from anabranch.limits import ADDRESS_BYTES, FAIRNESS_KEY_BYTES, MAX_ATTEMPTS, SERVER_NAME_BYTES
from tests.integration.graph_kit import PATIENCE, Served, chain, error_of, events, leaf, put, until_status


def nested(names: list[str]) -> dict[str, Any]:
    """Loops of one turn within each other, and in the innermost a node that can be undone."""
    inner = {**put(done=True), "compensate": put()}
    for name in reversed(names):
        inner = {"type": "while", "while": "!has(context.done)", "body": {"nodes": {name: inner}}}
    return {"nodes": {"top": inner}}


def address_of(names: list[str]) -> str:
    return "top[0]/" + "".join(f"{name}[0]/" for name in names[:-1]) + names[-1]


async def test_an_address_of_the_limit_runs_and_is_undone(served: Served) -> None:
    """The id of the compensation is longer, and the server takes it."""
    graph = nested(names_of(ADDRESS_BYTES))
    graph["nodes"]["bad"] = leaf("break", args={"name": "bad", "how": "typed"}, retry={"max_attempts": 1})
    graph["edges"] = [{"from": "top", "to": "bad"}]
    handle = await served.start(graph)
    error = await error_of(handle)
    assert error.details[0]["compensated"] == [address_of(names_of(ADDRESS_BYTES))]


async def test_an_address_over_the_limit_fails_its_node(served: Served) -> None:
    handle = await served.start(nested(names_of(ADDRESS_BYTES + 1)))
    error = await error_of(handle)
    assert error.type == "SIZE_LIMIT_EXCEEDED"
    assert f"{ADDRESS_BYTES + 1} bytes, over the limit of {ADDRESS_BYTES}" in error.message


def names_of(size: int) -> list[str]:
    """Ids of loops such that the address of the innermost node has `size` bytes."""
    names = ["n" * 128] * 8
    names[-1] = "n" * (128 + size - len(address_of(names)))
    assert len(address_of(names)) == size
    return names


async def test_a_child_whose_workflow_id_would_be_too_long_fails_its_node(served: Served) -> None:
    served.write("inner", "name: inner\nnodes: {a: {type: rule, rules: [{then: {x: 1}}]}}")
    graph = chain(sub={"type": "graph", "graph": "inner", "mode": "child_workflow"})
    request = {"graph": {"name": "outer", **graph}, "data": {}}
    start = served.client.start_workflow
    longest = SERVER_NAME_BYTES - len("/sub")
    fits = await start("GraphWorkflow", request, id="f" * longest, task_queue=served.task_queue)
    over = await start("GraphWorkflow", request, id="o" * (longest + 1), task_queue=served.task_queue)
    assert (await asyncio.wait_for(fits.result(), PATIENCE))["data"] == {"x": 1}
    error = await error_of(over)
    assert error.type == "SIZE_LIMIT_EXCEEDED"
    assert f"{SERVER_NAME_BYTES + 1} bytes, over the limit of {SERVER_NAME_BYTES}" in error.message


async def test_the_largest_values_that_validate_accepts_are_scheduled(client: Client, served: Served) -> None:
    key = "é" * (FAIRNESS_KEY_BYTES // 2)
    far = {
        "type": "activity",
        "activity": "n" * SERVER_NAME_BYTES,
        "task_queue": "q" * SERVER_NAME_BYTES,
        "retry": {"max_attempts": MAX_ATTEMPTS},
        "priority": {"fairness_key": key},
    }
    handle = await served.start({"nodes": {"far": far}})
    await until_status(handle, "far", "running")
    (event,) = [each for each in await scheduled_soon(served, handle) if each.activity_id == "far"]
    assert event.activity_type.name == "n" * SERVER_NAME_BYTES
    assert event.task_queue.name == "q" * SERVER_NAME_BYTES
    assert event.retry_policy.maximum_attempts == MAX_ATTEMPTS
    assert event.priority == Priority(fairness_key=key)
    await handle.terminate()


async def scheduled_soon(served: Served, handle: Any) -> list[Any]:
    """The scheduled activities, once there is one."""
    while True:
        found = [each for each in await events(handle) if each.HasField("activity_task_scheduled_event_attributes")]
        if found:
            return [each.activity_task_scheduled_event_attributes for each in found]
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("activity: ''", "at least 1 character"),
        (f"activity: {'n' * 1001}", "1001 bytes, over the server's limit of 1000"),
        (f"activity: {'é' * 501}", "1002 bytes, over the server's limit of 1000"),
        ("activity: a, task_queue: ''", "at least 1 character"),
        (f"activity: a, task_queue: {'q' * 1001}", "1001 bytes, over the server's limit of 1000"),
        ("activity: a, task_queue: /_sys/q", "begins with /_sys/"),
        (f"activity: a, priority: {{fairness_key: {'f' * 65}}}", "65 bytes, over the server's limit of 64"),
        ("activity: a, retry: {max_attempts: 2147483648}", "2147483647"),
    ],
)
def test_what_the_server_does_not_take_is_a_problem_of_the_graph(fields: str, message: str) -> None:
    with pytest.raises(GraphError) as refused:
        load_text(f"name: x\nnodes: {{n: {{type: activity, {fields}}}}}\n", "g")
    (problem,) = refused.value.problems
    assert problem.code == "VALUE_INVALID"
    assert message in problem.message
    assert str(problem.place).startswith("g:2:")
