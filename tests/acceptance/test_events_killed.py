"""A consumer that is killed three times: each order is processed once, and its result published. `make faults` does
the same with 5,000 orders."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import Client

from anabranch.dev.devserver import DevServer
from tests.event_faults.brokers import kafka_broker, nats_broker
from tests.event_faults.storm import KILLS, Site, findings, storm

ORDERS = 250


@pytest.fixture
def site(client: Client, dev_server: DevServer, postgres_url: str, task_queue: str, tmp_path: Path) -> Site:
    return Site(client, dev_server.address, postgres_url, tmp_path, task_queue)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_every_order_from_nats_is_processed_once_and_published_once(site: Site, nats_url: str) -> None:
    async with nats_broker(nats_url, "storm") as broker:
        found = await storm(site, broker, ORDERS, seconds=200)
    assert findings(site, found, ORDERS, repeats=0) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_every_order_from_kafka_is_processed_once_and_published(site: Site, kafka_url: str) -> None:
    """The broker is librdkafka's mock. A kill between its answer and Temporal's record of it publishes again."""
    async with kafka_broker(kafka_url, "storm") as broker:
        found = await storm(site, broker, ORDERS, seconds=200)
    assert findings(site, found, ORDERS, repeats=KILLS * 32) == []
