"""Events at the limits of what Temporal and brokers take: they are published, or become dead letters; none hangs."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner

from anabranch.brokers.source import Message, Outgoing
from anabranch.errors import SizeLimitExceeded
from anabranch.events.consumer import Consumer, Flow
from anabranch.events.event import Reading
from anabranch.events.event_workflow import EventWorkflow
from anabranch.events.publishing import Publisher
from tests.integration.graph_kit import PATIENCE, worker_for
from tests.workers import worker_on

GRAPH = """
name: order
nodes:
  copy: {type: rule, rules: [{then: {copied: "{{ blob }}!"}}]}
"""
MEGABYTE = 1_000_000


@dataclass
class Delivered:
    message: Message
    acknowledged: bool = False

    async def acknowledge(self) -> None:
        self.acknowledged = True

    async def extend(self) -> None:
        pass


@dataclass
class Broker:
    """A source of some messages, and a sink that takes `limit` bytes, headers included."""

    waiting: list[Delivered] = field(default_factory=list)
    limit: int = 10 * MEGABYTE
    stored: asyncio.Queue[Outgoing] = field(default_factory=asyncio.Queue)

    async def fetch(self, limit: int) -> Sequence[Delivered]:
        fetched, self.waiting = self.waiting[:limit], self.waiting[limit:]
        await asyncio.sleep(0 if fetched else 0.05)
        return fetched

    async def publish(self, message: Outgoing) -> None:
        size = len(message.body) + sum(len(name) + len(value) for name, value in message.headers.items())
        if size > self.limit:
            raise SizeLimitExceeded(f"{size} bytes are too many")
        self.stored.put_nowait(message)

    async def aclose(self) -> None:
        pass


@asynccontextmanager
async def flowing(
    client: Client, task_queue: str, broker: Broker, message: Message, limit: int
) -> AsyncGenerator[None]:
    """Consume one message, and publish what came of it, while the block runs; it has been acknowledged then."""
    delivered = Delivered(message)
    broker.waiting.append(delivered)
    flow = Flow("order", "done", "dead", task_queue, f"{task_queue}/events", Reading(max_bytes=limit))
    publisher = Publisher(broker, max_bytes=limit)
    consumer = Consumer(broker, client, publisher, flow)
    async with worker_on(
        client,
        flow.events_queue,
        workflows=[EventWorkflow],
        activities=[publisher.publish],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        consuming = asyncio.create_task(consumer.consume())
        try:
            yield
        finally:
            consumer.stop()
            await consuming
    assert delivered.acknowledged


def noise(size: int) -> str:
    """Text that cannot be compressed below three quarters of itself."""
    return base64.b64encode(random.Random(size).randbytes(size * 3 // 4)).decode()


async def test_a_large_event_with_a_larger_result_is_published(client: Client, task_queue: str, tmp_path: Path) -> None:
    broker, blob = Broker(), noise(MEGABYTE)
    body = json.dumps({"id": task_queue, "blob": blob}).encode()
    (tmp_path / "order.yaml").write_text(GRAPH)
    async with (
        worker_for(client, task_queue, tmp_path),
        flowing(client, task_queue, broker, Message(body, {}, "orders-1"), 4 * MEGABYTE),
    ):
        published = await asyncio.wait_for(broker.stored.get(), PATIENCE)
    assert published.topic == "done"
    assert json.loads(published.body) == {"id": task_queue, "blob": blob, "copied": f"{blob}!"}


async def test_an_event_that_temporal_cannot_take_is_a_dead_letter(client: Client, task_queue: str) -> None:
    broker = Broker()
    body = json.dumps({"id": task_queue, "blob": noise(7 * MEGABYTE)}).encode()
    async with flowing(client, task_queue, broker, Message(body, {}, "orders-1"), 8 * MEGABYTE):
        dead = await asyncio.wait_for(broker.stored.get(), PATIENCE)
    assert (dead.topic, dead.body) == ("dead", body)
    assert dead.headers["Anabranch-Error-Code"] == "INPUT_INVALID"


async def test_poison_whose_headers_leave_no_room_is_a_dead_letter_without_them(
    client: Client, task_queue: str
) -> None:
    broker = Broker(limit=2000)
    async with flowing(client, task_queue, broker, Message(b"poison", {"Mine": "x" * 1990}, "orders-1"), MEGABYTE):
        dead = await asyncio.wait_for(broker.stored.get(), PATIENCE)
    assert (dead.topic, dead.body) == ("dead", b"")
    assert "Mine" not in dead.headers
    assert dead.headers["Anabranch-Body-Left-Out"] == "6 bytes"
    assert dead.headers["Anabranch-Error-Code"] == "WIRE_FORMAT_INVALID"
    assert dead.headers["Anabranch-Source"] == "orders-1"
