"""Events of a broker for runs that wait: each comes to its run once, and what nobody waits for is sent again."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from temporalio.client import Client

from anabranch.brokers.address import parse_address
from anabranch.brokers.open import open_sink, open_source
from anabranch.events.consumer import Flow
from anabranch.events.delivery import Delivery
from anabranch.events.resending import Resent, resend
from anabranch.events.service import Route
from tests.event_faults.brokers import Broker, kafka_broker, nats_broker
from tests.integration.events_kit import serving
from tests.integration.graph_kit import PATIENCE, Handle, worker_for

GRAPH = """
name: fulfil
nodes:
  paid: {type: receive, event: payment_received, correlate: {order_id: event.order_id}, output: {by: result.id}}
  done: {type: rule, local: true, rules: [{then: {text: "{{ order_id }} is paid by {{ by }}"}}]}
edges: [{from: paid, to: done}]
"""


@dataclass(frozen=True)
class Site:
    """A topic of payments on one broker, and a worker whose runs wait for them."""

    client: Client
    task_queue: str
    broker: Broker

    @property
    def route(self) -> Route:
        url = f"{self.broker.url}/{self.broker.topic}"
        return Route(parse_address(url, "--from"), parse_address(url, "--from"), "anabranch-order")

    @property
    def flow(self) -> Flow:
        delivers = Delivery("payment_received", f"{self.broker.topic}-{{{{ order_id }}}}")
        return Flow("", None, f"{self.broker.topic}.done.dead", self.task_queue, "", delivers=delivers)

    async def start(self, order: int) -> Handle:
        name, data = f"{self.broker.topic}-{order}", {"order_id": order}
        return await self.client.start_workflow("fulfil", data, id=name, task_queue=self.task_queue)

    async def pay(self, *orders: int) -> None:
        sent = [{"id": f"p{order}", "order_id": order, "amount": 20} for order in orders]
        await self.broker.send([json.dumps(each).encode() for each in sent])

    async def resend(self) -> Resent:
        dead = parse_address(f"{self.broker.url}/{self.broker.topic}.done.dead", "--from")
        sink = await open_sink(self.route.sink, [], create=False)
        source = await open_source(dead, "anabranch-resend", create=False)
        try:
            return await resend(source, sink, self.broker.topic)
        finally:
            await source.aclose()
            await sink.aclose()

    async def until_dead(self, count: int) -> None:
        for _ in range(2000):
            if await self.broker.count(".done.dead") >= count:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("there are too few dead letters")


@pytest.fixture(params=["nats", "kafka"])
def broker_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def site(broker_url: str, client: Client, task_queue: str, tmp_path: Path) -> AsyncIterator[Site]:
    (tmp_path / "fulfil.yaml").write_text(GRAPH)
    async with _broker(broker_url) as broker, worker_for(client, task_queue, tmp_path):
        yield Site(client, task_queue, broker)


@asynccontextmanager
async def _broker(url: str) -> AsyncGenerator[Broker]:
    topic = f"payments{uuid.uuid4().hex[:8]}"
    if url.startswith("nats"):
        async with nats_broker(url, topic) as nats:
            yield nats
    else:
        async with kafka_broker(url, topic) as kafka:
            yield kafka


async def results(handles: list[Handle]) -> list[str]:
    async with asyncio.timeout(PATIENCE):
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
        assert await site.resend() == Resent(sent=3)
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
async def test_a_thousand_runs_get_their_events(site: Site) -> None:
    """Each is sent twice, in another order than that of the runs."""
    handles = [await site.start(order) for order in range(1000)]
    async with serving(site.client, site.route, site.flow):
        await site.pay(*reversed(range(1000)))
        await site.pay(*range(1000))
        assert await results(handles) == paid(range(1000))
