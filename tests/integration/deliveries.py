"""A topic of events for runs that wait, on either broker; and the commands that deliver them and send them again."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass

from temporalio.client import Client

from anabranch.brokers.address import parse_address
from anabranch.events.consumer import Flow
from anabranch.events.delivery import Delivery
from anabranch.events.service import Route
from tests.command import Command, anabranch
from tests.event_faults.brokers import Broker, kafka_broker, nats_broker
from tests.integration.graph_kit import Handle


@dataclass(frozen=True)
class Site:
    """A topic of payments on one broker, for runs that wait for them."""

    client: Client
    server: str
    task_queue: str
    broker: Broker
    event: str = "payment_received"

    @property
    def route(self) -> Route:
        url = f"{self.broker.url}/{self.broker.topic}"
        return Route(parse_address(url, "--from"), parse_address(url, "--from"), "anabranch-order")

    @property
    def flow(self) -> Flow:
        delivers = Delivery(self.event, f"{self.broker.topic}-{{{{ order_id }}}}")
        return Flow("", None, f"{self.broker.topic}.done.dead", self.task_queue, "", delivers=delivers)

    async def start(self, order: int) -> Handle:
        """Start the run `fulfil` of an order."""
        name, data = f"{self.broker.topic}-{order}", {"order_id": order}
        return await self.client.start_workflow("fulfil", data, id=name, task_queue=self.task_queue)

    async def pay(self, *orders: int) -> None:
        """Send the event of each of these orders."""
        sent = [{"id": f"p{order}", "order_id": order, "amount": 20} for order in orders]
        await self.broker.send([json.dumps(each).encode() for each in sent])

    def delivering(self) -> AbstractContextManager[Command]:
        """`anabranch events --deliver` as a process, which starts no run."""
        given = ("--deliver", self.event, "--to-run", f"{self.broker.topic}-{{{{ order_id }}}}")
        address = f"{self.broker.url}/{self.broker.topic}"
        more = ("--consumer", self.route.consumer, "--dead-letter", self.flow.failures)
        return anabranch("events", "--from", address, *given, *more, environ={"TEMPORAL_ADDRESS": self.server})

    async def resend(self) -> str:
        """Send the dead letters again by the command; what it says."""
        origin, target = f"{self.broker.url}/{self.flow.failures}", f"{self.broker.url}/{self.broker.topic}"
        with anabranch("events", "--resend", "--from", origin, "--to", target) as command:
            code = await asyncio.to_thread(command.leave)
        assert code == 0, command.stderr
        return command.stdout

    async def until_delivered(self) -> None:
        """Wait until the broker has nothing that is not acknowledged."""
        for _ in range(2000):
            if await self.broker.unfinished() == 0:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("not all is delivered in time")

    async def until_dead(self, count: int) -> None:
        """Wait for so many dead letters."""
        for _ in range(2000):
            if await self.broker.count(".done.dead") >= count:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("there are too few dead letters")


@asynccontextmanager
async def broker_at(url: str) -> AsyncGenerator[Broker]:
    """A topic of its own on the broker of a URL, with those for dead letters."""
    topic = f"payments{uuid.uuid4().hex[:8]}"
    if url.startswith("nats"):
        async with nats_broker(url, topic) as nats:
            yield nats
    else:
        async with kafka_broker(url, topic) as kafka:
            yield kafka
