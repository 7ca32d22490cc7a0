"""Sagas that events of NATS start, and whose contexts are the next events: how often each comes out, and where."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from nats.errors import Error as NatsError
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from anabranch.events.event_workflow import event_workflow_id, run_id
from anabranch.events.publishing import CODE, EVENT_ID
from tests.command import anabranch
from tests.event_faults.brokers import Nats, Published, nats_broker
from tests.storms.graphs import SHAPES
from tests.storms.runs import PATIENCE, Ended, Handle, Run, persist

_SOON = 0.1
_ANSWER_SECONDS = 2.0


class ByEvents:
    """Starts each run by an event, which is sent again, without any id of NATS's own, until an answer comes."""

    def __init__(self, client: Client, topics: Mapping[str, Nats]) -> None:
        self._client = client
        self._topics = topics

    def handle(self, run: Run) -> Handle:
        return self._client.get_workflow_handle(run_id(run.graph, run.name))

    async def start(self, run: Run) -> Handle:
        topic = self._topics[run.graph]
        handle = self.handle(run)
        async with asyncio.timeout(PATIENCE):
            while not await _is_stored(topic, run):  # noqa: ASYNC110 - it is asked of a server, as all below
                await asyncio.sleep(_SOON)
            while not await _is_known(handle):  # noqa: ASYNC110 - as above
                await asyncio.sleep(_SOON)
        return handle

    async def findings(self, ended: Sequence[Ended]) -> list[str]:
        for each in ended:
            await self._until_published(each.run)
        found: list[str] = []
        for graph, topic in self._topics.items():
            await _until_acknowledged(topic)
            done, dead = await topic.read(".done"), await topic.read(".done.dead")
            found += _findings([each for each in ended if each.run.graph == graph], done, dead)
        return found

    async def _until_published(self, run: Run) -> None:
        """Until the workflow around the run has ended, which it does when the broker has the result."""
        around: Handle = self._client.get_workflow_handle(event_workflow_id(run.graph, run.name))
        async with asyncio.timeout(PATIENCE):
            while (await persist(around.describe)).status is WorkflowExecutionStatus.RUNNING:  # noqa: ASYNC110 - as above
                await asyncio.sleep(_SOON)


async def _is_stored(topic: Nats, run: Run) -> bool:
    with suppress(NatsError, OSError, TimeoutError):
        body = json.dumps(run.given).encode()
        await topic.stream.publish(topic.topic, body, headers={EVENT_ID: run.name}, timeout=_ANSWER_SECONDS)
        return True
    return False


async def _is_known(handle: Handle) -> bool:
    with suppress(RPCError):
        await handle.describe()
        return True
    return False


async def _until_acknowledged(topic: Nats) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(NatsError, OSError, TimeoutError):
                if await topic.unfinished() == 0:
                    return
            await asyncio.sleep(_SOON)


def _findings(ended: Sequence[Ended], done: Sequence[Published], dead: Sequence[Published]) -> Iterator[str]:
    """A completed run's context comes out once, and no dead letter; of any other run one dead letter, and no more."""
    contexts = _by_event(done)
    letters = _by_event(dead)
    for each in ended:
        name, is_completed = each.run.name, each.ends == "completed"
        came, letter = contexts.pop(name, []), letters.pop(name, [])
        if [json.loads(message.body) for message in came] != ([dict(each.data)] if is_completed else []):
            yield f"{name}: it {each.ends} with {dict(each.data)}, and what came out is {came}"
        if len(letter) != (not is_completed) or any(CODE not in message.headers for message in letter):
            yield f"{name}: it {each.ends}, and its dead letters are {letter}"
    for name in (*contexts, *letters):
        yield f"{name}: a message of a run that nobody started"


def _by_event(messages: Sequence[Published]) -> dict[str, list[Published]]:
    found: dict[str, list[Published]] = {}
    for message in messages:
        found.setdefault(message.headers.get(EVENT_ID, "?"), []).append(message)
    return found


@asynccontextmanager
async def by_events(client: Client, url: str, environment: Mapping[str, Any]) -> AsyncGenerator[ByEvents]:
    """A process that consumes the events of each graph, and publishes what comes of them, while the block runs."""
    async with AsyncExitStack() as stack:
        topics: dict[str, Nats] = {}
        for graph in SHAPES:
            topic = await stack.enter_async_context(nats_broker(url, graph))
            topics[graph] = replace(topic, consumer=f"anabranch-{graph}")
            address = f"{url}/{graph}"
            command = ("events", "--from", address, "--graph", graph, "--to", f"{address}.done")
            stack.enter_context(anabranch(*command, environ=environment))
        yield ByEvents(client, topics)
