"""Large graphs and long loops: bounded history per workflow run, bounded memory, and a node costs what a node costs."""

from __future__ import annotations

import asyncio
import json
import sys
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from anabranch.dev import stand_in_model
from anabranch.dev.devserver import FAST, DevServer
from anabranch.graph.model import Graph
from anabranch.graph.plan import plan_graph
from anabranch.settings import Settings
from anabranch.transport.client import connect
from anabranch.workflows.interpreter import views
from anabranch.workflows.interpreter.commands import Finish, RunNode, Yield
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.state import RunState
from tests import servers
from tests.integration.graph_kit import PATIENCE, Handle, Served, halves, put, worker_for
from tests.unit.machine_kit import changes

pytestmark = pytest.mark.slow
ITEMS = 1_000
"""The full size, 10,000, is in benchmarks/scale."""
EVENTS = 400
IN_FLIGHT = 50
"""Items at once; what runs when the server suggests it is finished first."""
EVENTS_OF_AN_ITEM = 6
"""At most: three of its activity, and three of the workflow task that hears of its end alone."""
WIDTH = 10


@pytest.fixture(scope="module")
def impatient_server() -> Iterator[DevServer]:
    """A server that suggests to continue as new at a tenth of the usual number of events."""
    with servers.temporal(dynamic_config={**FAST, "limit.historyCount.suggestContinueAsNew": str(EVENTS)}) as server:
        yield server


@pytest.fixture
async def served(impatient_server: DevServer, task_queue: str, tmp_path: Path) -> AsyncIterator[Served]:
    client = await connect(
        Settings(), target_host=impatient_server.address, namespace="default", api_key=None, tls=False, rpc_metadata={}
    )
    async with worker_for(client, task_queue, tmp_path) as running:
        yield running


async def histories(client: Client, handle: Handle) -> list[int]:
    """How many events each workflow run of a graph's run has."""
    lengths = []
    run_id = handle.first_execution_run_id
    while run_id:
        fetched = client.get_workflow_handle(handle.id, run_id=run_id).fetch_history_events()
        events = [event async for event in fetched]
        lengths.append(len(events))
        run_id = events[-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return lengths


async def test_a_foreach_over_a_thousand_items_has_bounded_histories(served: Served) -> None:
    each = {
        "type": "foreach",
        "items": "xs",
        "body": {"nodes": {"w": put(v="{{ item * 2 }}")}},
        "collect": {"into": "out", "value": "v"},
    }
    handle = await served.start({"nodes": {"each": each}}, {"xs": list(range(ITEMS))})
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["data"]["out"] == [index * 2 for index in range(ITEMS)]
    lengths = await histories(served.client, handle)
    assert len(lengths) >= 3
    assert max(lengths) <= EVENTS + EVENTS_OF_AN_ITEM * IN_FLIGHT


async def test_ten_thousand_items_in_batches_show_progress_and_list_those_that_failed(
    served: Served,
) -> None:
    each = halves(10_000, 100, item_errors="items.map(n, n % 33 == 0 ? 'no' : null)", tolerate="5%", max_concurrency=5)
    handle = await served.start({"nodes": {"each": {**each, "items": "xs"}}}, {"xs": list(range(10_000))})
    seen: set[int] = set()
    ended = asyncio.ensure_future(asyncio.wait_for(handle.result(), PATIENCE))
    while not ended.done():
        status = await handle.query("status")
        seen.add(status["nodes"]["each"].get("items", {}).get("done", 0))
        await asyncio.wait([ended], timeout=0.1)
    data = (await ended)["data"]
    assert data["halves"] == [index // 2 for index in range(10_000) if index % 33]
    assert [each["index"] for each in data["odd"]] == list(range(0, 10_000, 33))
    assert len(seen) >= 3
    assert sum(await histories(served.client, handle)) <= 2 * EVENTS


async def test_models_with_tools_go_on_between_their_questions_in_the_run_that_continues(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTES_DB", f"sqlite:///{tmp_path}/notes.db")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    read = {"type": "db", "connection": "NOTES_DB", "query": "select 7 as n"}
    judge = {
        "type": "ai",
        "model": "openai:stand-in",
        "prompt": "An order of $10.00",
        "tools": {"read": {"description": "Reads.", "node": read}},
        "output": {"asked": "result.usage.requests"},
    }
    each = {
        "type": "foreach",
        "items": "xs",
        "max_concurrency": 7,
        "body": {"nodes": {"judge": judge}},
        "collect": {"into": "asked", "value": "asked"},
    }
    async with stand_in_model.serve() as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        handle = await served.start({"nodes": {"each": each}}, {"xs": list(range(60))})
        result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["data"]["asked"] == [2] * 60
    assert result["usage"][0]["requests"] == 120
    assert len(await histories(served.client, handle)) >= 2


def fans(count: int) -> dict[str, Any]:
    """`count` rules: a head, nine nodes side by side that depend on it, the next head that joins them, …"""
    pairs: list[tuple[str, str]] = []
    for index in range(count):
        first = index - index % WIDTH
        if index != first:
            pairs.append((f"n{first}", f"n{index}"))
        else:
            pairs.extend((f"n{before}", f"n{index}") for before in range(max(0, first - WIDTH + 1), first))
    nodes = {f"n{index}": {"type": "rule", "rules": [{"then": {f"k{index % WIDTH}": index}}]} for index in range(count)}
    return {
        "name": "fans",
        "defaults": {"local": True},
        "nodes": nodes,
        "edges": [{"from": source, "to": target} for source, target in pairs],
    }


async def test_a_graph_of_two_thousand_nodes_completes(client: Client, task_queue: str, tmp_path: Path) -> None:
    text = "\n".join(f"{key}: {json.dumps(value)}" for key, value in fans(2_000).items())
    async with worker_for(client, task_queue, tmp_path) as served:
        served.write("fans", text)
        handle = await served.start_type("fans", {})
        result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert result["data"] == {f"k{index % WIDTH}": index for index in range(1_990, 2_000)}
    assert result["version"] == 2_001


def played(graph: dict[str, Any]) -> Machine:
    """A run on the machine, with what the driver does at each event; rules write what they say."""
    machine = Machine(RunState(plan_graph(Graph.model_validate(graph)), {}, run={"id": "r"}))
    pending = machine.start(0)
    for at, command in enumerate(pending):  # grows while it is walked
        if isinstance(command, Yield):
            pending.extend(machine.succeeded(command.address, None, at))
        elif not isinstance(command, Finish):
            assert isinstance(command, RunNode)
            index = int(command.address.removeprefix("n"))
            pending.extend(machine.succeeded(command.address, changes(**{f"k{index % WIDTH}": index}), at))
            views.details(machine.state)
    return machine


def calls_per_node(count: int) -> float:
    """Calls of functions, Python's own included, that a node takes: the same on every machine."""
    graph, calls = fans(count), 0
    Graph.model_validate(graph)

    def note(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(note)
    try:
        played(graph)
    finally:
        sys.setprofile(None)
    return calls / count


def test_a_node_of_two_thousand_takes_no_more_calls_than_one_of_twenty() -> None:
    assert calls_per_node(2_000) <= 1.5 * calls_per_node(20)


def test_what_can_be_undone_takes_no_more_calls_per_node_in_a_large_graph() -> None:
    def undone(count: int) -> float:
        names = [f"n{index}" for index in range(count)]
        node = {"type": "python", "handler": "h", "reads": []}
        graph = {
            "name": "steps",
            "saga": {"compensation": "parallel"},
            "nodes": {name: {**node, "compensate": node} for name in names},
            "edges": [{"from": source, "to": target} for source, target in pairwise(names)],
        }
        machine = Machine(RunState(plan_graph(Graph.model_validate(graph)), {}, run={"id": "r"}))
        pending = machine.start(0)
        for at, command in enumerate(pending):
            assert isinstance(command, RunNode)
            if command.address == names[-1]:
                break
            pending.extend(machine.succeeded(command.address, changes(), at))
        calls = 0

        def note(_frame: Any, event: str, _argument: Any) -> None:
            nonlocal calls
            calls += event in {"call", "c_call"}

        sys.setprofile(note)
        try:
            machine.cancel("stop", count)
        finally:
            sys.setprofile(None)
        return calls / count

    assert undone(1_000) <= 1.5 * undone(50)


def test_memory_grows_by_what_the_nodes_write_and_not_by_the_square_of_their_number() -> None:
    def bytes_per_node(count: int) -> float:
        graph = fans(count)
        tracemalloc.start()
        machine = played(graph)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert machine.state.finished is not None
        return held / count

    assert bytes_per_node(1_000) <= 1.5 * bytes_per_node(200)
