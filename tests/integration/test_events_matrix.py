"""Events for a run that waits, by each way that they come and at each awkward moment: taken once, and none lost."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from anabranch.dev.devserver import DevServer
from tests.acceptance.worker_process import kill, worker_process
from tests.asking import connect_to
from tests.integration.deliveries import Site, broker_at
from tests.integration.events_kit import serving
from tests.integration.graph_kit import PATIENCE, Handle, chain, edge, runs_of, until_status, worker_for

PAID: dict[str, Any] = {"type": "receive", "event": "paid", "output": {"id": "result.id"}}
GO: dict[str, Any] = {"type": "receive", "event": "go"}
TURNS = 16


def rule(**values: Any) -> dict[str, Any]:
    return {"type": "rule", "rules": [{"then": values}]}


def late() -> dict[str, Any]:
    """A node that has waited in vain before its event comes, and one behind it that takes it."""
    graph = chain(late={**PAID, "timeout": "50ms"}, told=rule(why="{{ error.code }}"), hold=GO, pay=PAID, end=GO)
    graph["edges"][0] = edge("late", "told", outcome="timeout")
    return graph


def loop() -> dict[str, Any]:
    body = chain(pay=PAID, up=rule(n=1))
    each = {"type": "while", "until": f"turn == {TURNS}", "body": body, "collect": {"into": "ids", "value": "id"}}
    return chain(loop=each, end=GO)


@dataclass
class Signals:
    """Events that somebody sends to the run itself."""

    client: Client
    run: str

    async def send(self, *numbers: int) -> None:
        """Send events, in this order; what is sent has arrived."""
        for number in numbers:
            sent = {"name": "paid", "id": f"p{number}", "data": {"amount": 20}}
            await self.client.get_workflow_handle(self.run).signal("event", sent)

    async def until_delivered(self) -> None:
        """They are in the run's history already."""

    async def deliver(self, stack: AsyncExitStack, *, killed: bool = False) -> None:
        """Nobody stands between them and the run."""

    async def dead(self) -> int:
        return 0


@dataclass
class Topic:
    """Events of a broker, which `anabranch events --deliver` brings to the run."""

    site: Site

    async def send(self, *numbers: int) -> None:
        """Send events; a broker with partitions keeps no order between them."""
        sent = [{"id": f"p{number}", "order_id": 0, "amount": 20} for number in numbers]
        await self.site.broker.send([json.dumps(each).encode() for each in sent])

    async def until_delivered(self) -> None:
        await self.site.until_delivered()

    async def deliver(self, stack: AsyncExitStack, *, killed: bool = False) -> None:
        """Deliver until the stack is left; as a process that is killed then, or in this one."""
        if killed:
            command = stack.enter_context(self.site.delivering())
            stack.callback(command.signal, signal.SIGKILL)
        else:
            await stack.enter_async_context(serving(self.site.client, self.site.route, self.site.flow))

    async def dead(self) -> int:
        return await self.site.broker.count(".done.dead")


@dataclass
class Stage:
    """A server, a way for events to come, and the run that waits for them."""

    client: Client
    server: DevServer
    task_queue: str
    folder: Path
    way: Signals | Topic
    run: str
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self, graph: dict[str, Any]) -> Handle:
        """Start the run; no worker is there yet."""
        (self.folder / "fulfil.yaml").write_text(json.dumps({"name": "fulfil", **graph}))
        return await self.client.start_workflow("fulfil", {"order_id": 0}, id=self.run, task_queue=self.task_queue)

    async def serve(self) -> None:
        """Serve the run, and deliver what is sent to it, until the test ends."""
        await self.stack.enter_async_context(worker_for(self.client, self.task_queue, self.folder))
        await self.way.deliver(self.stack)

    async def go(self) -> None:
        """Let the node behind go on, when all that was sent has reached the run: one that is over takes nothing."""
        await self.way.until_delivered()
        await self.client.get_workflow_handle(self.run).signal("event", {"name": "go"})


@pytest.fixture
def server(request: pytest.FixtureRequest, moment: str) -> DevServer:
    """The server of all, or one that has runs continue as new soon."""
    found: DevServer = request.getfixturevalue("impatient_server" if moment == "continued" else "dev_server")
    return found


@pytest.fixture
def url(request: pytest.FixtureRequest, way: str) -> str | None:
    """The broker's; None for signals."""
    return None if way == "signals" else request.getfixturevalue(f"{way}_url")


@pytest.fixture
async def stage(server: DevServer, url: str | None, task_queue: str, tmp_path: Path) -> AsyncIterator[Stage]:
    client = await connect_to(server)
    async with AsyncExitStack() as stack:
        if url is None:
            yield Stage(client, server, task_queue, tmp_path, Signals(client, task_queue), task_queue, stack)
            return
        broker = await stack.enter_async_context(broker_at(url))
        topic = Topic(Site(client, server.address, task_queue, broker, "paid"))
        yield Stage(client, server, task_queue, tmp_path, topic, f"{broker.topic}-0", stack)


async def early(stage: Stage) -> dict[str, Any]:
    """They come before their `receive`."""
    handle = await stage.start(chain(hold=GO, pay=PAID, end=GO))
    await stage.serve()
    await until_status(handle, "hold", "waiting")
    await stage.way.send(1)
    await stage.go()
    await stage.go()
    return await ended(handle)


async def twice(stage: Stage) -> dict[str, Any]:
    """They come more often than once, before and after they are taken."""
    first, second = ({**PAID, "output": {name: "result.id"}} for name in ("first", "second"))
    handle = await stage.start(chain(hold=GO, one=first, two=second, end=GO))
    await stage.serve()
    await until_status(handle, "hold", "waiting")
    await stage.way.send(1, 1)
    await stage.go()
    await until_status(handle, "two", "waiting")
    await stage.way.send(1, 2, 2)
    await until_status(handle, "end", "waiting")
    await stage.way.send(1, 2)
    await stage.go()
    data = await ended(handle)
    return {"ids": [data["first"], data["second"]]}


async def too_late(stage: Stage) -> dict[str, Any]:
    """They come after the node that waits for them has given up: the next one takes them."""
    handle = await stage.start(late())
    await stage.serve()
    await until_status(handle, "hold", "waiting")
    await stage.way.send(1)
    await stage.go()
    await stage.go()
    return await ended(handle)


async def continued(stage: Stage) -> dict[str, Any]:
    """They come while the run continues as new, again and again, each of them twice."""
    handle = await stage.start(loop())
    await stage.serve()
    for number in range(0, TURNS, 2):
        await stage.way.send(number, number + 1, number, number + 1)
    await stage.way.until_delivered()
    await stage.go()
    data = await ended(stage.client.get_workflow_handle(stage.run))
    assert await runs_of(stage.client, handle) > 1
    return data


async def killed(stage: Stage) -> dict[str, Any]:
    """Worker and deliverer are killed among them, and the rest comes while nobody is there."""
    environment = {
        "TEMPORAL_ADDRESS": stage.server.address,
        "ANABRANCH_GRAPHS": str(stage.folder),
        "ANABRANCH_TASK_QUEUE": stage.task_queue,
    }
    handle = await stage.start(loop())
    with worker_process(environment) as worker:
        async with AsyncExitStack() as before:
            await stage.way.deliver(before, killed=True)
            await stage.way.send(*range(8), *range(4))
            await until_taken(handle, 3)
            kill(worker)
    await stage.way.send(*range(4, TURNS))
    await stage.serve()
    await stage.go()
    return await ended(handle)


async def until_taken(handle: Handle, count: int) -> None:
    """Wait until a run has been through so many turns: each has an activity."""
    deadline = time.monotonic() + PATIENCE
    while True:
        events = [event async for event in handle.fetch_history_events()]
        if sum(event.HasField("activity_task_completed_event_attributes") for event in events) >= count:
            return
        assert time.monotonic() < deadline, f"{len(events)} events"
        await asyncio.sleep(0.05)


async def ended(handle: Handle) -> dict[str, Any]:
    """The data of a run, which has nothing to warn of: no event is left, or was refused."""
    result = await asyncio.wait_for(handle.result(), PATIENCE)
    assert "warnings" not in result
    data: dict[str, Any] = result["data"]
    return data


EVERY = sorted(f"p{number}" for number in range(TURNS))
MOMENTS: dict[str, tuple[Callable[[Stage], Awaitable[dict[str, Any]]], dict[str, Any]]] = {
    "early": (early, {"id": "p1"}),
    "twice": (twice, {"ids": ["p1", "p2"]}),
    "too late": (too_late, {"id": "p1", "why": "NO_EVENT"}),
    "continued": (continued, {"ids": EVERY}),
    "killed": (killed, {"ids": EVERY}),
}


@pytest.mark.parametrize("way", ["signals", "nats", "kafka"])
@pytest.mark.parametrize(
    "moment", [pytest.param(name, marks=pytest.mark.slow if name == "killed" else ()) for name in MOMENTS]
)
async def test_each_event_is_taken_once_and_none_is_lost(stage: Stage, moment: str) -> None:
    act, wanted = MOMENTS[moment]
    data = await act(stage)
    found = {name: sorted(value) if name == "ids" else value for name, value in data.items() if name in wanted}
    assert found == wanted
    assert await stage.way.dead() == 0
