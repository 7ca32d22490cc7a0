"""Sources and sinks by address. The library of a broker is imported when one of its kind is opened."""

from __future__ import annotations

from anabranch.brokers.address import Address
from anabranch.brokers.source import EventSink, EventSource


async def open_source(address: Address, consumer: str, *, create: bool) -> EventSource:
    """The source of an address. Raises ConfigurationError and Unavailable."""
    if address.broker == "nats":
        from anabranch.brokers.nats import NatsSource

        return await NatsSource.open(address, consumer, create=create)
    from anabranch.brokers.kafka import KafkaSource

    return await KafkaSource.open(address, consumer)


async def open_sink(address: Address, topics: list[str], *, create: bool) -> EventSink:
    """The sink of an address's broker. Raises ConfigurationError and Unavailable."""
    if address.broker == "nats":
        from anabranch.brokers.nats import NatsSink

        return await NatsSink.open(address, topics, create=create)
    from anabranch.brokers.kafka import KafkaSink

    return await KafkaSink.open(address)
