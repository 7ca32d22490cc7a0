"""One load, with and without a cache that fails in its middle: are the answers the same, and what did it cost?"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from anabranch.context.cache.cache import DistributedCache
from anabranch.context.distributed import DistributedContext

NAMES = tuple(f"session-{index}" for index in range(12))
Answer = Any
Fault = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Run:
    """The answers of a load in order, and the seconds that each call took since the fault."""

    answers: list[Answer] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    during: list[float] = field(default_factory=list)


async def run(clients: list[DistributedCache], calls: int, *, seed: int, fault: Fault | None = None) -> Run:
    """Make the calls through the clients in turn; after a third of them the fault comes."""
    dice = random.Random(seed)
    outcome = Run()
    times = outcome.before
    for number in range(calls):
        if fault is not None and number == calls // 3:
            await fault()
            times = outcome.during
        call = _draw(dice, number)
        started = time.perf_counter()
        answer = await call(clients[number % len(clients)])
        times.append(time.perf_counter() - started)
        outcome.answers.append(answer)
    return outcome


def _draw(dice: random.Random, number: int) -> Callable[[DistributedCache], Awaitable[Answer]]:
    name = dice.choice(NAMES)
    kind = dice.choices(["get", "get_many", "put", "put_many", "update", "delete"], [10, 2, 4, 1, 2, 1])[0]
    names = dice.sample(NAMES, 4)

    async def call(cached: DistributedCache) -> Answer:
        match kind:
            case "get":
                return _seen(await cached.get(name))
            case "get_many":
                return [_seen(context) for context in await cached.get_many(names)]
            case "put":
                return await cached.put(DistributedContext(name, {"put": number}))
            case "put_many":
                return await cached.put_many([DistributedContext(each, {"put": number}) for each in names])
            case "update":
                return _seen(await cached.update(name, lambda context: context.set("updated", number)))
            case _:
                return await cached.delete(name)

    return call


def _seen(context: DistributedContext | None) -> Answer:
    return None if context is None else (context.session_id, context.metadata.version, dict(context.data))
