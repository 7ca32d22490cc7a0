"""What a Temporal server takes: more fails a workflow task for ever, so a run never asks for it."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from temporalio.api.common.v1 import Priority
from temporalio.client import Client

from anabranch.errors import GraphError
from anabranch.graph.load import load_text
from anabranch.limits import ADDRESS_BYTES, FAIRNESS_KEY_BYTES, MAX_ATTEMPTS, SERVER_NAME_BYTES
from tests.integration.graph_kit import PATIENCE, Handle, Served, chain, error_of, events, leaf, put, until_status


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


LEAF = "activity: {name}, task_queue: {queue}, queue_timeout: 300ms, retry: {{max_attempts: {attempts}}}"
AROUND = (
    "nodes: {{a: {leaf}}}",
    "nodes: {{a: {{type: foreach, items: '[1]', body: {{nodes: {{b: {leaf}}}}}}}}}",
    "nodes: {{a: {{type: block, nodes: {{b: {leaf}}}}}}}",
    "nodes: {{a: {{type: while, while: index < 1, body: {{nodes: {{b: {leaf}}}}}}}}}",
)


@st.composite
def near_a_limit(draw: st.DrawFn) -> tuple[str, bool]:
    """A graph of which one value is at a limit of the server, or a little over it; and whether it is over."""

    def text(limit: int, *, is_near: bool, over: int) -> str:
        letter = draw(st.sampled_from(["n", "é", "語", "🦀"])) if is_near else "n"
        size = limit + over if is_near else 8
        return letter * (size // len(letter.encode())) + "n" * (size % len(letter.encode()))

    near, over = draw(st.sampled_from(["name", "queue", "key", "attempts"])), draw(st.sampled_from([0, 0, 1, 2]))
    values = {
        "name": text(SERVER_NAME_BYTES, is_near=near == "name", over=over),
        "queue": text(SERVER_NAME_BYTES, is_near=near == "queue", over=over),
        "attempts": MAX_ATTEMPTS + over if near == "attempts" else 1,
    }
    key = text(FAIRNESS_KEY_BYTES, is_near=near == "key", over=over)
    leaf = f"{{type: activity, {LEAF.format(**values)}, priority: {{fairness_key: {key}}}}}"
    return f"name: near\n{draw(st.sampled_from(AROUND)).format(leaf=leaf)}\n", over > 0


@settings(max_examples=150)
@given(near_a_limit())
def test_a_graph_is_refused_where_it_is_over_a_limit_of_the_server_and_nowhere_else(made: tuple[str, bool]) -> None:
    text, is_over = made
    if not is_over:
        assert load_text(text, "g").graph.name == "near"
        return
    with pytest.raises(GraphError) as refused:
        load_text(text, "g")
    assert [problem.code for problem in refused.value.problems] == ["VALUE_INVALID"]


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(graphs=st.lists(near_a_limit().filter(lambda made: not made[1]), min_size=8, max_size=8))
async def test_what_is_at_a_limit_runs_to_a_typed_end(served: Served, graphs: list[tuple[str, bool]]) -> None:
    handles = [await served.start_type("GraphWorkflow", {"graph": text, "data": {}}) for text, _ in graphs]
    errors = await asyncio.gather(*map(error_of, handles))
    assert {error.type for error in errors} == {"QUEUE_TIMEOUT"}
    assert await failed_tasks(handles) == []


async def failed_tasks(handles: list[Handle]) -> list[str]:
    """Why workflow tasks of these runs failed."""
    found = [event for handle in handles for event in await events(handle)]
    failed = (each for each in found if each.HasField("workflow_task_failed_event_attributes"))
    return [each.workflow_task_failed_event_attributes.failure.message for each in failed]


async def test_what_is_too_large_as_it_is_sent_fails_its_node(served: Served) -> None:
    """Several texts that compress badly: the context may hold one, and an activity or a child is given five."""
    served.write("inner", "name: inner\nnodes: {a: {type: rule, rules: [{then: {x: 1}}]}}")
    signs = random.Random(1)
    text = "".join(chr(signs.randint(0x4E00, 0x9FFF)) for _ in range(330_000))
    five = {f"k{number}": "{{ text }}" for number in range(5)}
    item = chain(size=put(size="{{ size(item) }}"))
    graphs = {
        "child": chain(a={"type": "graph", "graph": "inner", "mode": "child_workflow", "input": five}),
        "activity": chain(a={"type": "activity", "activity": "nobody", "args": five}),
        "item": chain(a={"type": "foreach", "items": "[[text, text, text, text, text]]", "body": item}),
    }
    handles = [await served.start(graph, {"text": text}) for graph in graphs.values()]
    errors = await asyncio.gather(*map(error_of, handles))
    assert [error.type for error in errors] == ["SIZE_LIMIT_EXCEEDED"] * len(graphs)
    assert [error.details[0]["node"] for error in errors] == ["a", "a", "a[0]/size"]
    assert all("as sent, over the limit of 2031616" in error.message for error in errors)
    assert await failed_tasks(handles) == []


async def test_what_compression_makes_small_enough_is_sent(served: Served) -> None:
    served.write(
        "inner", "name: inner\nnodes: {a: {type: rule, rules: [{then: {n: '{{ size(k1) }}'}}]}}\nresult: {n: n}"
    )
    graph = chain(a={"type": "graph", "graph": "inner", "mode": "child_workflow", "input": {"k1": "{{ text }}"}})
    item = {"type": "foreach", "items": "[[text, text, text]]", "collect": {"into": "sizes", "value": "n"}}
    graph["nodes"]["each"] = {
        **item,
        "body": chain(size={"type": "rule", "rules": [{"then": {"n": "{{ size(item) }}"}}]}),
    }
    result = await served.run(graph, {"text": "語" * 330_000})
    assert (result["data"]["n"], result["data"]["sizes"]) == (330_000, [3])


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
