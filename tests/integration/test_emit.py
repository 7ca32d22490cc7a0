"""`emit` nodes against a real NATS server, Kafka's protocol and other runs: a retry publishes once where it can."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from anabranch.activities.emit.handler import EmitActivity
from anabranch.errors import ConfigurationError, NodeError, Unavailable
from anabranch.graph.model import EmitNode
from tests.event_faults.brokers import Broker, kafka_broker, nats_broker
from tests.integration.graph_kit import PATIENCE, Served, chain, error_of, put, until_status
from tests.node_tasks import task_of


@dataclass(frozen=True)
class Site:
    """Two brokers, a topic on both, and the node type that publishes there."""

    nats: Broker
    kafka: Broker
    emit: EmitActivity

    @property
    def topic(self) -> str:
        return self.nats.topic

    async def publish(
        self, to: str, context: dict[str, Any] | None = None, *, effect: str = "run-1/a", **node: Any
    ) -> Any:
        fields = {"type": "emit", "to": to, "connection": f"{to.upper()}_EVENTS", "topic": self.topic, **node}
        task = task_of({}, context, key=effect)
        return (await self.emit(task, EmitNode.model_validate(fields))).result


@pytest.fixture
async def site(nats_url: str, kafka_url: str) -> AsyncIterator[Site]:
    topic = f"emitted{uuid.uuid4().hex[:8]}"
    connections = {"NATS_EVENTS": nats_url, "KAFKA_EVENTS": kafka_url, "WITH_TOPIC": f"{nats_url}/orders"}
    emit = EmitActivity(environ=connections)
    async with nats_broker(nats_url, topic) as nats, kafka_broker(kafka_url, topic) as kafka:
        yield Site(nats, kafka, emit)
    await emit.aclose()


async def test_an_event_is_its_data_and_has_the_nodes_key_as_its_id(site: Site) -> None:
    context = {"order": {"id": 7}, "topic": site.topic}
    for to, broker in (("nats", site.nats), ("kafka", site.kafka)):
        data = {"order": "{{ order.id }}", "note": "ä"}
        result = await site.publish(
            to, context, topic="{{ topic }}", data=data, headers={"X-Order": "no {{ order.id }}"}
        )
        assert result == {"id": "run-1/a", "topic": site.topic}
        (found,) = await broker.read("")
        assert json.loads(found.body) == {"order": 7, "note": "ä"}
        told = {name: found.headers[name] for name in ("Content-Type", "Anabranch-Event-Id", "X-Order")}
        assert told == {"Content-Type": "application/json", "Anabranch-Event-Id": "run-1/a", "X-Order": "no 7"}


async def test_another_attempt_publishes_nothing_again(site: Site) -> None:
    """Not even on another worker, where the broker is NATS; Kafka's readers tell by the id."""
    other = EmitActivity(environ={"NATS_EVENTS": site.nats.url})
    for to in ("nats", "nats", "kafka", "kafka"):
        await site.publish(to, data=1)
    await Site(site.nats, site.kafka, other).publish("nats", data=1)
    await other.aclose()
    await site.publish("nats", effect="run-1/b", data=2)
    assert (await site.nats.count(""), await site.kafka.count("")) == (2, 1)


async def test_a_cloud_event_is_around_the_data(site: Site) -> None:
    fields: dict[str, Any] = {"format": "cloudevents", "event": "com.example.{{ kind }}", "data": {"n": 1}}
    await site.publish("nats", {"kind": "paid"}, **fields)
    await site.publish("kafka", {"kind": "paid"}, **fields, source="/shop", key="k")
    (plain,), (named,) = await site.nats.read(""), await site.kafka.read("")
    expected = {
        "specversion": "1.0",
        "id": "run-1/a",
        "source": "/anabranch/orders",
        "type": "com.example.paid",
        "time": "2026-01-02T03:04:05Z",
        "datacontenttype": "application/json",
        "data": {"n": 1},
    }
    assert json.loads(plain.body) == expected
    assert json.loads(named.body) == {**expected, "source": "/shop"}
    assert plain.headers["Content-Type"] == "application/cloudevents+json"


async def test_what_cannot_be_published_says_why_and_no_url(site: Site) -> None:
    refusals: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ConfigurationError, "this worker has no connection OTHER_EVENTS", {"connection": "OTHER_EVENTS"}),
        (ConfigurationError, "this worker has no connection TEMPORAL_ADDRESS", {"connection": "TEMPORAL_ADDRESS"}),
        (ConfigurationError, "leads to kafka, and the node publishes to nats", {"connection": "KAFKA_EVENTS"}),
        (ConfigurationError, "the URL names a topic", {"connection": "WITH_TOPIC"}),
        (NodeError, "the node publishes to no topic", {"topic": "a b"}),
        (NodeError, "the header 'X' has characters that do not print", {"headers": {"X": "a\nb"}}),
        (Unavailable, "no JetStream stream has the subject 'nobodys'", {"topic": "nobodys"}),
    ]
    for kind, said, fields in refusals:
        with pytest.raises(kind, match=said) as refused:
            await site.publish("nats", **fields)
        assert site.nats.url not in str(refused.value)


async def test_a_run_sends_an_event_to_another_one(served: Served) -> None:
    waiting = await served.start(chain(pay={"type": "receive", "event": "paid", "output": {"got": "result"}}))
    await until_status(waiting, "pay", "waiting")
    tell = {"type": "emit", "to": "run", "run": "{{ other }}", "event": "paid", "data": {"n": "{{ n }}"}}
    sender = await served.start(chain(tell={**tell, "output": {"told": "result.run"}}), {"other": waiting.id, "n": 7})
    told, got = [await asyncio.wait_for(handle.result(), PATIENCE) for handle in (sender, waiting)]
    assert told["data"]["told"] == waiting.id
    assert got["data"]["got"] == {"name": "paid", "id": f"{sender.first_execution_run_id}/tell", "data": {"n": 7}}


async def test_an_event_for_a_run_that_is_not_there_fails_the_node_and_the_run_is_undone(served: Served) -> None:
    tell = {"type": "emit", "to": "run", "run": "nobody-{{ run.id }}", "event": "paid"}
    error = await error_of(await served.start(chain(first={**put(x=1), "compensate": put(x=0)}, tell=tell)))
    assert (error.type, error.details[0]["compensated"]) == ("RUN_NOT_FOUND", ["first"])


async def test_an_event_that_was_sent_is_undone_by_the_nodes_compensation(served: Served) -> None:
    listening = chain(
        one={"type": "receive", "event": "booked", "output": {"one": "result.data"}},
        two={"type": "receive", "event": "released", "output": {"two": "result.data"}},
    )
    other = await served.start(listening)
    emit = {"type": "emit", "to": "run", "run": "{{ other }}"}
    tell = {**emit, "event": "booked", "data": 1, "compensate": {**emit, "event": "released", "data": 2}}
    graph = chain(tell=tell, stop={"type": "fail", "code": "SOLD_OUT"})
    error = await error_of(await served.start(graph, {"other": other.id}))
    assert error.details[0]["compensated"] == ["tell"]
    assert (await asyncio.wait_for(other.result(), PATIENCE))["data"] == {"one": 1, "two": 2}
