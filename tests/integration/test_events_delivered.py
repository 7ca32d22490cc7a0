"""Events of a broker for runs that wait: each comes to its run once, and what nobody waits for is sent again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client

from anabranch.dev.devserver import DevServer
from tests.integration.deliveries import Site, broker_at
from tests.integration.events_kit import serving
from tests.integration.graph_kit import PATIENCE, Handle, worker_for

GRAPH = """
name: fulfil
nodes:
  paid: {type: receive, event: payment_received, correlate: {order_id: event.order_id}, output: {by: result.id}}
  done: {type: rule, local: true, rules: [{then: {text: "{{ order_id }} is paid by {{ by }}"}}]}
edges: [{from: paid, to: done}]
"""


@pytest.fixture(params=["nats", "kafka"])
def broker_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def site(
    broker_url: str, client: Client, dev_server: DevServer, task_queue: str, tmp_path: Path
) -> AsyncIterator[Site]:
    (tmp_path / "fulfil.yaml").write_text(GRAPH)
    async with broker_at(broker_url) as broker, worker_for(client, task_queue, tmp_path):
        yield Site(client, dev_server.address, task_queue, broker)


async def results(handles: list[Handle], *, patience: float = PATIENCE) -> list[str]:
    async with asyncio.timeout(patience):
        return [(await handle.result())["data"]["text"] for handle in handles]


def paid(orders: range) -> list[str]:
    return [f"{order} is paid by p{order}" for order in orders]


async def test_events_come_to_the_runs_that_wait_and_dead_letters_are_sent_again(site: Site) -> None:
    """Two runs are not there yet when their events come; one event is broken."""
    handles = [await site.start(order) for order in range(8)]
    async with serving(site.client, site.route, site.flow):
        await site.pay(*range(10))
        await site.broker.send([b"broken"])
        assert await results(handles) == paid(range(8))
        await site.until_dead(3)
        letters = await site.broker.read(".done.dead")
        late = [await site.start(order) for order in (8, 9)]
        assert await site.resend() == f"3 sent again to {site.route.sink}\n"
        assert await results(late) == paid(range(8, 10))
        await site.until_dead(4)
    headers = [each.headers for each in letters]
    assert sorted(each["Anabranch-Error-Code"] for each in headers) == [
        "RUN_NOT_FOUND",
        "RUN_NOT_FOUND",
        "WIRE_FORMAT_INVALID",
    ]
    assert {each["Anabranch-Graph"] for each in headers} == {"payment_received"}
    assert {each.get("Anabranch-Event-Id") for each in headers} == {"p8", "p9", None}


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_thousand_runs_get_their_events(site: Site) -> None:
    """Each is sent twice, in another order than that of the runs."""
    handles = [await site.start(order) for order in range(1000)]
    async with serving(site.client, site.route, site.flow):
        await site.pay(*reversed(range(1000)))
        await site.pay(*range(1000))
        assert await results(handles, patience=6 * PATIENCE) == paid(range(1000))
