"""The brokers of `emit` nodes: one that does not answer is waited for by those alone who want it."""

from __future__ import annotations

import asyncio

import pytest

from anabranch.activities.emit import sinks
from anabranch.activities.emit.sinks import Sinks
from anabranch.brokers.address import Address
from anabranch.brokers.source import Outgoing


class Sink:
    async def publish(self, message: Outgoing) -> None:
        """Nothing is published."""

    async def aclose(self) -> None:
        """Nothing is open."""


async def test_a_broker_that_does_not_answer_keeps_nobody_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    answering = asyncio.Event()

    async def opens(address: Address, _topics: list[str], *, create: bool) -> Sink:
        opened.append(address.broker)
        if address.broker == "kafka":
            await answering.wait()
        return Sink()

    monkeypatch.setattr(sinks, "open_sink", opens)
    found = Sinks({"LOST": "kafka://192.0.2.1", "NEAR": "nats://127.0.0.1"})
    waiting = [asyncio.create_task(found.get("LOST", "kafka")) for _ in range(2)]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        near = await found.get("NEAR", "nats")
        assert await found.get("NEAR", "nats") is near
        answering.set()
        first, second = await asyncio.gather(*waiting)
    assert first is second
    assert opened == ["kafka", "nats"]
    await found.aclose()
