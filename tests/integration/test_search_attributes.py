"""What runs say of themselves in search attributes, on servers that have these, and on those that have not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType, IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, RemoveSearchAttributesRequest
from temporalio.client import Client
from temporalio.converter import default as default_converter
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer

from anabranch.cli.opening import inspector_for
from anabranch.dev.devserver import FAST, DevServer
from anabranch.errors import ConfigurationError, InputError, Unavailable
from anabranch.graph.model import Graph
from anabranch.inspection.listing import Listing
from anabranch.inspection.runs import Runs
from anabranch.inspection.selection import Selection
from anabranch.settings import Settings
from anabranch.transport.client import connect
from anabranch.transport.search_attributes import SEARCH_ATTRIBUTES, are_among, own_keys, register, registered
from anabranch.worker import sandbox
from anabranch.workflows.temporal.graph_workflow import DynamicGraphWorkflow
from anabranch.workflows.temporal.in_order import InOrder
from anabranch.workflows.temporal.visibility import waiting_for
from tests import servers
from tests.integration.graph_kit import (
    MODES,
    PATIENCE,
    Handle,
    Served,
    chain,
    diamond,
    error_of,
    events,
    leaf,
    put,
    until_status,
    worker_for,
)
from tests.json_values import unchecked

EVENTS = 24
ASK = {"type": "approval", "prompt": "Well?"}
ANSWER = {"node": "ask", "answer": {}}
OWN: dict[str, Any] = {
    "search_attributes": {
        "OrderStatus": "{{ status }}",
        "Total": {"type": "float", "value": "{{ total }}"},
        "Due": {"type": "datetime", "value": "{{ due }}"},
        "Parts": {"type": "keyword_list", "value": "{{ parts }}"},
    }
}
ORDER = {"total": 5, "due": "2026-12-01T00:00:00Z", "parts": ["A-1", "B-2"], "secret": "hush"}


@pytest.fixture(scope="module")
def server() -> Iterator[DevServer]:
    """A server with the search attributes, on which long runs continue as new."""
    config = {**FAST, "limit.historyCount.suggestContinueAsNew": str(EVENTS)}
    keys = (*SEARCH_ATTRIBUTES, *own_keys([Graph.model_validate({"name": "g", **chain(a=ASK), **OWN})]))
    with servers.temporal(dynamic_config=config, search_attributes=keys) as running:
        yield running


@pytest.fixture
async def served(
    request: pytest.FixtureRequest, server: DevServer, task_queue: str, tmp_path: Path
) -> AsyncIterator[Served]:
    client = await connect(Settings(), target_host=server.address)
    async with worker_for(client, task_queue, tmp_path, mode=getattr(request, "param", MODES[0])) as running:
        yield running


async def upserts(handle: Handle) -> list[dict[str, Any]]:
    """What a run has set, one after the other, without the names' prefix; None where it took a value away."""
    kind = EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES
    found = []
    for event in await events(handle):
        if event.event_type == kind:
            fields = event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
            values = {
                name.removeprefix("Anabranch"): (await default_converter().decode([payload]))[0]
                for name, payload in fields.items()
            }
            found.append({name: value or None for name, value in values.items()})
    return found


async def listed(served: Served, query: str, queue: str | None = None) -> list[str]:
    found = served.client.list_workflows(f"{query} and TaskQueue = '{queue or served.task_queue}'")
    return sorted([each.id async for each in found])


async def until_listed(served: Served, query: str, wanted: list[str], *, queue: str | None = None) -> None:
    """What is set is found soon, and not at once."""
    for _ in range(500):
        if await listed(served, query, queue) == wanted:
            return
        await asyncio.sleep(0.02)
    assert await listed(served, query, queue) == wanted


@pytest.mark.parametrize("served", MODES, indirect=True)
async def test_a_run_says_what_it_waits_for_and_only_when_that_changes(served: Served) -> None:
    graph = chain(
        first=put(n=1), ask=ASK, pay={**put(paid="{{ 1 / parts }}"), "on_failure": "pause"}, last=put(done=True)
    )
    handle = await served.start({**graph, "name": "shop"}, {"parts": 0})
    await until_status(handle, "ask", "waiting")
    await until_listed(served, "AnabranchWaitingFor = 'approval:ask'", [handle.id])
    await until_listed(served, "AnabranchState = 'waiting' and AnabranchGraph = 'shop'", [handle.id])
    await handle.execute_update("complete_task", ANSWER)
    await until_status(handle, "pay", "paused")
    await until_listed(served, "AnabranchWaitingFor in ('approval', 'paused')", [handle.id])
    await handle.execute_update("retry_node", {"node": "pay", "changes": {"parts": 2}, "by": "me"})
    await asyncio.wait_for(handle.result(), PATIENCE)
    assert await upserts(handle) == [
        {"Graph": "shop", "State": "running"},
        {"State": "waiting", "WaitingFor": ["approval", "approval:ask"]},
        {"State": "running", "WaitingFor": None},
        {"State": "paused", "WaitingFor": ["paused", "paused:pay"]},
        {"State": "running", "WaitingFor": None},
        {"State": "completed"},
    ]
    await until_listed(served, "AnabranchWaitingFor is not null", [])
    history = await handle.fetch_history()
    replayer = Replayer(
        workflows=[DynamicGraphWorkflow],
        data_converter=served.client.data_converter,
        workflow_runner=InOrder(sandbox(strict=True)),
    )
    assert (await replayer.replay_workflow(history)).replay_failure is None


async def test_a_run_that_nobody_is_needed_for_sets_them_twice(served: Served) -> None:
    handle = await served.start(diamond(put(a=1), put(b=2)))
    await asyncio.wait_for(handle.result(), PATIENCE)
    assert await upserts(handle) == [{"Graph": "g", "State": "running"}, {"State": "completed"}]


async def test_a_run_that_is_undone_says_so(served: Served, task_queue: str) -> None:
    undo = leaf("put", args={"undone": True})
    graph = chain(book={**put(booked=True), "compensate": undo}, pay=leaf("break", args={"name": task_queue}))
    handle = await served.start(graph)
    assert (await error_of(handle)).type == "NODE_FAILED"
    assert [each.get("State") for each in await upserts(handle)] == ["running", "compensating", "failed"]


async def test_items_that_ask_the_same_are_said_once(served: Served) -> None:
    each = {"type": "foreach", "items": "parcels", "body": {"nodes": {"ask": ASK}}}
    handle = await served.start(chain(all=each, last=put(done=True)), {"parcels": [1, 2, 3]})
    for index in range(3):
        await until_status(handle, f"all[{index}]/ask", "waiting")
        await handle.execute_update("complete_task", {"node": f"all[{index}]/ask", "answer": {}})
    await asyncio.wait_for(handle.result(), PATIENCE)
    assert [each.get("WaitingFor") for each in await upserts(handle)] == [
        ["approval", "approval:all/ask"],
        None,
        None,
    ]


async def never_read(*_: object) -> None:
    raise AssertionError("a history was read")


async def test_runs_are_listed_and_counted_by_what_they_say_of_themselves(served: Served) -> None:
    paying = chain(a=put(x=1), pay={**put(paid="{{ 1 / parts }}"), "on_failure": "pause"})
    asking = [await served.start({"name": "shop", **chain(ask=ASK)}) for _ in range(2)]
    paused = await served.start({"name": "till", **paying}, {"parts": 0})
    done = await served.start(chain(a=put(x=1)))
    await asyncio.wait_for(done.result(), PATIENCE)
    await until_listed(served, "AnabranchState = 'waiting'", sorted(each.id for each in asking))
    await until_listed(served, "AnabranchState = 'paused'", [paused.id])
    await until_listed(served, "ExecutionStatus = 'Completed'", [done.id])
    listing = Listing(served.client, unchecked(SimpleNamespace(inspect=never_read)))

    async def found(**wanted: Any) -> dict[str, tuple[str, str, tuple[str, ...]]]:
        """Of each run its graph, its state and what it waits for: all pages of one run."""
        runs: dict[str, tuple[str, str, tuple[str, ...]]] = {}
        after: str | None = None
        while True:
            page = await listing.page(mine(**wanted), size=1, after=after)
            runs |= {each.workflow_id: (each.graph, each.state, each.waits_for) for each in page.runs}
            if (after := page.next) is None:
                return runs

    def mine(**wanted: Any) -> Selection:
        return Selection(also=f"TaskQueue = '{served.task_queue}'", **wanted)

    shops = {each.id: ("shop", "waiting", ("approval:ask",)) for each in asking}
    till, over = ("till", "paused", ("paused:pay",)), ("g", "completed", ())
    assert await found() == {**shops, paused.id: till, done.id: over}
    assert (
        await found(graph="shop") == await found(states=("waiting",)) == await found(waiting_for=("approval",)) == shops
    )
    assert await found(states=("paused", "completed")) == {paused.id: till, done.id: over}
    assert await found(waiting_for=("conflict", "paused:pay")) == {paused.id: till}
    assert await found(id_starts=asking[0].id) == {asking[0].id: shops[asking[0].id]}
    assert await found(graph="it's \\") == await found(id_starts="'\\") == await found(states=("failed",)) == {}
    counts = await listing.counts(mine())
    assert {state: count for state, count in counts.items() if count} == {"waiting": 2, "paused": 1, "completed": 1}
    with pytest.raises(InputError, match="the server rejects the query"):
        await listing.page(Selection(also="Nonsense ="), size=1)
    with pytest.raises(InputError, match="no token of a page"):
        await listing.page(mine(), size=1, after="not base64!")


async def test_runs_are_listed_by_whom_they_ask(served: Served) -> None:
    schema = {"type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}}}
    asks: dict[str, dict[str, Any]] = {
        "ann": {**ASK, "assignee": ["ann", "cy"], "answers": 2, "schema": schema},
        "finance": {**ASK, "groups": ["finance"]},
        "nobody": ASK,
    }
    handles = {name: await served.start({"name": f"asks_{name}", **chain(ask=ask)}) for name, ask in asks.items()}
    await until_listed(served, "AnabranchState = 'waiting'", sorted(each.id for each in handles.values()))
    inspector = inspector_for(served.client.data_converter, Settings(), served.client.namespace)
    listing = Listing(served.client, Runs(served.client, inspector))

    async def found(**whom: Any) -> set[str]:
        selection = Selection(also=f"TaskQueue = '{served.task_queue}'", **whom)
        return {each.graph for each in await listing.newest(selection, 10)}

    assert await found() == {"asks_ann", "asks_finance", "asks_nobody"}
    assert await found(people=["ann", "bo"]) == {"asks_ann"}
    assert await found(groups=["finance"]) == {"asks_finance"}
    assert await found(people=["ann"], groups=["finance"]) == {"asks_ann", "asks_finance"}
    assert await found(people=["finance"]) == set()
    await handles["ann"].execute_update("complete_task", {"node": "ask", "answer": {"ok": True}, "by": "ann"})
    assert await found(people=["ann"]) == set()  # who has answered is not asked again


async def test_what_a_run_does_not_say_is_read_from_its_history(served: Served) -> None:
    queue = f"{served.task_queue}-unserved"
    handle: Handle = await served.client.start_workflow("shop", {}, id=queue, task_queue=queue)
    settings = Settings()
    inspector = inspector_for(served.client.data_converter, settings, served.client.namespace)
    listing = Listing(served.client, Runs(served.client, inspector))
    await until_listed(served, f"WorkflowId = '{queue}'", [queue], queue=queue)
    page = await listing.page(Selection(states=("loading", "waiting"), id_starts=queue), size=10)
    assert [(each.workflow_id, each.graph, each.state) for each in page.runs] == [(queue, "shop", "loading")]
    assert (await listing.counts(Selection(id_starts=queue)))["loading"] == 1
    await handle.terminate()


def test_however_much_a_run_waits_for_it_says_no_more_than_the_server_takes() -> None:
    addresses = [f"{'n' * (index % 300)}{index}[{turn}]/step" for index in range(400) for turn in range(2)]
    state = SimpleNamespace(finished=None, questions={}, waiting_for_operator=tuple(addresses))
    words = waiting_for(unchecked(state))
    assert words[0] == "paused"
    assert all(word.startswith("paused:n") or word[7:8].isdigit() for word in words[1:])
    assert max(map(len, words)) <= 200
    assert 1_000 < len(json.dumps(words)) < 2_000


async def test_what_is_set_goes_on_with_a_run_that_continues_as_new(served: Served) -> None:
    steps = {f"n{index}": put(**{f"k{index}": index}) for index in range(24)}
    handle = await served.start(chain(**steps, ask=ASK))
    await until_status(handle, "ask", "waiting")
    await until_listed(served, "AnabranchGraph = 'g' and AnabranchWaitingFor = 'approval'", [handle.id])
    await handle.execute_update("complete_task", ANSWER)
    await asyncio.wait_for(handle.result(), PATIENCE)
    newest = served.client.get_workflow_handle(handle.id)
    assert (await newest.describe()).run_id != handle.first_execution_run_id
    assert await upserts(unchecked(newest)) == [
        {"State": "waiting", "WaitingFor": ["approval", "approval:ask"]},
        {"State": "completed", "WaitingFor": None},
    ]


@pytest.mark.parametrize("served", MODES, indirect=True)
async def test_a_graph_s_own_are_set_when_they_change_along_with_ours_and_runs_are_found_by_them(
    served: Served,
) -> None:
    absent = {"Nowhere": "{{ total }}", "Parts": "{{ parts[0] }}"}  # not registered, and of another type
    own = OWN["search_attributes"] | absent
    graph = chain(first=put(status="received"), same=put(status="received"), ask=ASK, last=put(status="paid"))
    handle = await served.start({**graph, "search_attributes": own}, ORDER)
    await until_status(handle, "ask", "waiting")
    await until_listed(served, "OrderStatus = 'received' and Total > 4.5 and Due < '2027-01-01T00:00:00Z'", [handle.id])
    await handle.execute_update("complete_task", ANSWER)
    await asyncio.wait_for(handle.result(), PATIENCE)
    due = "2026-12-01T00:00:00+00:00"
    assert await upserts(handle) == [
        {"Graph": "g", "State": "running", "Total": 5.0, "Due": due},
        {"OrderStatus": "received"},
        {"State": "waiting", "WaitingFor": ["approval", "approval:ask"]},
        {"State": "running", "WaitingFor": None},
        {"State": "completed", "OrderStatus": "paid"},
    ]


async def test_a_graph_s_own_go_on_with_a_run_that_continues_as_new(served: Served) -> None:
    steps = {f"n{index}": put(**{f"k{index}": index}) for index in range(24)}
    handle = await served.start({**chain(**steps, last=put(status="done")), **OWN}, ORDER)
    await asyncio.wait_for(handle.result(), PATIENCE)
    newest = served.client.get_workflow_handle(handle.id)
    assert (await newest.describe()).run_id != handle.first_execution_run_id
    assert await upserts(unchecked(newest)) == [{"State": "completed", "OrderStatus": "done"}]
    await until_listed(served, "Parts = 'B-2' and OrderStatus = 'done' and Total = 5", [handle.id])


async def test_without_them_a_run_sets_nothing_until_the_namespace_is_set_up(
    client: Client, task_queue: str, tmp_path: Path
) -> None:
    async with worker_for(client, task_queue, tmp_path) as served:
        handle = await served.start(chain(first=put(n=1), ask=ASK))
        await until_status(handle, "ask", "waiting")
        await handle.execute_update("complete_task", ANSWER)
        await asyncio.wait_for(handle.result(), PATIENCE)
        assert await upserts(handle) == []


async def test_they_are_registered_once_and_one_of_another_type_is_an_error() -> None:
    async with await DevServer.start() as fresh:
        client = await connect(Settings(), target_host=fresh.address)
        assert not are_among(await registered(client))
        assert await register(client) == ["AnabranchGraph", "AnabranchState", "AnabranchWaitingFor"]
        assert are_among(await registered(client))
        own = own_keys([Graph.model_validate({"name": "g", **chain(a=ASK), **OWN})])
        assert await register(client, own) == ["Due", "OrderStatus", "Parts", "Total"]
        assert await register(client, own) == []
        removed = RemoveSearchAttributesRequest(namespace="default", search_attributes=["AnabranchWaitingFor"])
        await client.operator_service.remove_search_attributes(removed)
        other = {"AnabranchWaitingFor": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD}
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace="default", search_attributes=other)
        )
        assert not are_among(await registered(client))
        with pytest.raises(ConfigurationError, match=r"AnabranchWaitingFor of another type: .*KEYWORD, not .*LIST"):
            await register(client)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (RPCStatusCode.PERMISSION_DENIED, ConfigurationError),
        (RPCStatusCode.UNIMPLEMENTED, ConfigurationError),
        (RPCStatusCode.INVALID_ARGUMENT, ConfigurationError),
        (RPCStatusCode.UNAVAILABLE, Unavailable),
    ],
)
async def test_who_may_not_register_them_is_told_who_can(
    client: Client, monkeypatch: pytest.MonkeyPatch, status: RPCStatusCode, error: type[Exception]
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise RPCError("not by you", status, b"")

    monkeypatch.setattr(client.operator_service, "add_search_attributes", refuse)
    with pytest.raises(error, match="not by you") as refused:
        await register(client)
    if error is ConfigurationError:
        assert "AnabranchGraph (KEYWORD), AnabranchState (KEYWORD), AnabranchWaitingFor (KEYWORD_LIST)" in str(
            refused.value
        )
