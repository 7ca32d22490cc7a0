"""Orders as events, while the process that consumes and publishes is killed three times; then what came of each."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from temporalio.client import Client

from tests.acceptance.worker_process import worker_process
from tests.command import Command, anabranch
from tests.event_faults.brokers import Broker

GRAPH = """
name: order
defaults: {timeout: 20s, retry: {max_attempts: 0, initial_interval: 50ms}}
nodes:
  price: {type: rule, local: true, rules: [{when: quantity > 0, then: {total: "{{ price * quantity }}"}}]}
  book:
    type: db
    connection: ORDERS_URL
    query: insert into booked (order_id, total) values (:order_id, :total) returning order_id as booked
    params: {order_id: "{{ id }}", total: "{{ total }}"}
edges: [{from: price, to: book}]
"""
KILLS = 3
_REPEATED = 20
"""Every so many events one is sent twice, as a producer does that missed an answer."""
_POISON = 50
"""Every so many events there is one that nobody can read."""


@dataclass(frozen=True)
class Site:
    """The servers of a storm."""

    client: Client
    address: str
    database: str
    folder: Path
    task_queue: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "TEMPORAL_ADDRESS": self.address,
            "ANABRANCH_GRAPHS": str(self.folder),
            "ANABRANCH_TASK_QUEUE": self.task_queue,
            "ANABRANCH_CONNECTIONS": "ORDERS_URL",
            "ORDERS_URL": self.database,
        }


@dataclass(frozen=True)
class Found:
    """What came of a storm."""

    booked: Counter[str]
    """How often each order is in the database."""
    results: Counter[str]
    """How often each order's right result was published."""
    wrong: list[str]
    dead: Counter[bytes]
    runs: int
    unfinished: int
    seconds: float


def order_id(site: Site, number: int) -> str:
    return f"{site.task_queue}-{number}"


def events(site: Site, first: int, last: int) -> Iterator[bytes]:
    for number in range(first, last):
        event = json.dumps({"id": order_id(site, number), "price": 1.5, "quantity": number + 1}).encode()
        yield event
        if number % _REPEATED == 0:
            yield event
        if number % _POISON == 0:
            yield poison(number)


def poison(number: int) -> bytes:
    return b"\x93 poison %d" % number


async def storm(site: Site, broker: Broker, count: int, *, seconds: float) -> Found:
    """Send `count` orders in four parts; after each but the last the consumer is killed in the middle of its work."""
    (site.folder / "order.yaml").write_text(GRAPH)
    await create_table(site.database)
    started = time.monotonic()
    with worker_process(site.environment):
        for part in range(KILLS + 1):
            parts = KILLS + 1
            await broker.send(list(events(site, count * part // parts, count * (part + 1) // parts)))
            with consuming(site, broker) as command:
                if part < KILLS:
                    await until_published(broker, await broker.count(".done") + count // parts // 2, seconds)
                    command.signal(signal.SIGKILL)
                    command.leave()
                else:
                    await until_all(broker, count, seconds)
                    command.signal(signal.SIGTERM)
                    assert command.leave() == 0, command.stderr
    return await look(site, broker, count, time.monotonic() - started)


@contextmanager
def consuming(site: Site, broker: Broker) -> Generator[Command]:
    address = f"{broker.url}/{broker.topic}"
    with anabranch(
        "events", "--from", address, "--graph", "order", "--to", f"{address}.done", environ=site.environment
    ) as command:
        try:
            yield command
        except AssertionError as failed:
            failed.add_note(command.stderr[-4000:])
            raise


async def until_published(broker: Broker, count: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (found := await broker.count(".done")) < count:
        assert time.monotonic() < deadline, f"{found} results after {seconds} s, not {count}"
        await asyncio.sleep(0.1)


async def until_all(broker: Broker, count: int, seconds: float) -> None:
    """Wait until there is a result of each order, a dead letter of each poison, and nothing to acknowledge."""
    await until_published(broker, count, seconds)
    deadline = time.monotonic() + seconds
    while (results := len({each.headers["Anabranch-Event-Id"] for each in await broker.read(".done")})) < count:
        assert time.monotonic() < deadline, f"results of {results} orders, not of {count}"
        await asyncio.sleep(0.5)
    while (unfinished := await broker.unfinished()) > 0:
        assert time.monotonic() < deadline, f"{unfinished} events are not acknowledged"
        await asyncio.sleep(0.2)


async def look(site: Site, broker: Broker, count: int, seconds: float) -> Found:
    results, wrong = Counter[str](), []
    expected = {order_id(site, number): 1.5 * (number + 1) for number in range(count)}
    for published in await broker.read(".done"):
        data = json.loads(published.body)
        name = published.headers["Anabranch-Event-Id"]
        if data.get("booked") == data["id"] == name and data["total"] == expected.get(name):
            results[name] += 1
        else:
            wrong.append(f"{name}: {data}")
    return Found(
        booked=await booked(site.database),
        results=results,
        wrong=wrong,
        dead=Counter(letter.body for letter in await broker.read(".done.dead")),
        runs=await runs(site),
        unfinished=await broker.unfinished(),
        seconds=seconds,
    )


async def runs(site: Site) -> int:
    """How many runs of the graph the server knows; it counts a moment late."""
    query = f"TaskQueue = '{site.task_queue}' and WorkflowType = 'order'"
    await asyncio.sleep(2)
    return (await site.client.count_workflows(query)).count


async def create_table(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("drop table if exists booked"))
        await connection.execute(text("create table booked (order_id text, total double precision)"))
    await engine.dispose()


async def booked(url: str) -> Counter[str]:
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        rows = (await connection.execute(text("select order_id from booked"))).scalars().all()
    await engine.dispose()
    return Counter(rows)


def findings(site: Site, found: Found, count: int, *, repeats: int) -> list[str]:
    """What is not as it must be; `repeats` results may be there twice."""
    every = {order_id(site, number) for number in range(count)}
    poisoned = Counter({poison(number): 1 for number in range(0, count, _POISON)})
    wrong = list(found.wrong)
    if found.booked != Counter(every):
        wrong.append(f"booked not once: {dict((found.booked - Counter(every)) + (Counter(every) - found.booked))}")
    if found.results.keys() != every:
        wrong.append(f"without result: {sorted(every - found.results.keys())}")
    if (twice := found.results.total() - len(found.results)) > repeats:
        wrong.append(f"{twice} results are there twice")
    if found.dead.keys() != poisoned.keys() or (repeats == 0 and found.dead != poisoned):
        wrong.append(f"dead letters: {found.dead}")
    if (found.runs, found.unfinished) != (count, 0):
        wrong.append(f"{found.runs} runs, {found.unfinished} events not acknowledged")
    return wrong
