"""Events in, runs started or told: each is acknowledged when its start, its signal, or its dead letter, is durable."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

import structlog
from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from anabranch import spans
from anabranch.backoff import Backoff
from anabranch.brokers.source import Delivery, EventSource
from anabranch.display import code_span
from anabranch.errors import AnabranchError, EvaluationError, InputError, RunNotFound, Unavailable
from anabranch.events.delivery import Delivery as Delivers
from anabranch.events.event import Event, Reading, read_event
from anabranch.events.event_workflow import EventRun, EventWorkflow, event_workflow_id
from anabranch.events.publishing import Publisher, event_context
from anabranch.graph.model import Graph
from anabranch.graph.run_id import run_id as run_id_of
from anabranch.observe import metrics

_BACKOFF: Final = Backoff(first=0.4, longest=10.0)
_REFUSED: Final = frozenset({RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.OUT_OF_RANGE})
_TOO_LARGE: Final = "larger than max"
"""What gRPC servers say of a message over 4 MiB, with a status that otherwise means to try later."""

log = structlog.get_logger("anabranch.events")


@dataclass(frozen=True, slots=True)
class Flow:
    """From which events which graph is run, and where its results and failures go.

    `task_queue` is where the graph's workers listen; `events_queue` is the flow's own, on which this process publishes.
    A flow that `delivers` starts no runs: its events go to runs that wait for them.
    """

    graph: str
    results: str | None
    failures: str
    task_queue: str
    events_queue: str
    reading: Reading = field(default_factory=Reading)
    concurrency: int = 32
    delivers: Delivers | None = None
    definition: Graph | None = None
    """The graph, where this process has it: its `id` says which workflow ids its runs have."""

    def run_of(self, event: Event) -> EventRun:
        """What is to be done for an event, its position apart. Raises RunIdInvalid."""
        said = None if self.definition is None else self.definition.id
        own: dict[str, Any] = {}
        if self.definition is not None and said is not None:
            made = run_id_of(self.definition, event.context.data)
            own = {"own_id": made, "reuse": said.reuse, "conflict": said.conflict}
        return EventRun(
            graph=self.graph,
            event_id=event.id,
            task_queue=self.task_queue,
            context=event_context(event.context),
            format=event.format,
            position="",
            results=self.results,
            failures=self.failures,
            trace=event.trace,
            **own,
        )

    @property
    def label(self) -> str:
        """What metrics and dead letters call it: the graph, or the event that it delivers."""
        return self.graph if self.delivers is None else self.delivers.event


@dataclass(slots=True)
class Counts:
    """What a consumer has done since it started."""

    started: int = 0
    delivered: int = 0
    repeated: int = 0
    dead: int = 0


class Consumer:
    """Starts a run for each event of a source, or delivers it to one, at most `concurrency` at a time."""

    def __init__(self, source: EventSource, client: Client, publisher: Publisher, flow: Flow) -> None:
        self._source = source
        self._client = client
        self._publisher = publisher
        self._flow = flow
        self._stop = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self.counts = Counts()

    def stop(self) -> None:
        """Take no further events."""
        self._stop.set()

    async def consume(self) -> None:
        """Run until `stop`. What is in hand is then finished, or left unacknowledged if a service does not answer."""
        pauses = iter(_BACKOFF)
        try:
            while not self._stop.is_set():
                try:
                    await self._take()
                    pauses = iter(_BACKOFF)
                except Unavailable as error:
                    pause = next(pauses)
                    log.warning("the broker does not answer", reason=str(error), again_in=round(pause, 3))
                    await self._rest(pause)
        finally:
            self._stop.set()
            if self._running:
                await asyncio.wait(self._running)
            self._raise_failures(self._running)

    async def _take(self) -> None:
        """Fetch as many events as there is room for, and wait for room if there is none."""
        room = self._flow.concurrency - len(self._running)
        if room > 0:
            for delivery in await self._source.fetch(room):
                self._running.add(asyncio.create_task(self._handle(delivery)))
        if len(self._running) >= self._flow.concurrency:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        done = {task for task in self._running if task.done()}
        self._running -= done
        self._raise_failures(done)

    def _raise_failures(self, tasks: set[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.result()

    async def _handle(self, delivery: Delivery) -> None:
        """Pass the event on, or make the message a dead letter; acknowledge it then, and only then."""
        try:
            event = read_event(delivery.message, self._flow.reading)
        except AnabranchError as poison:
            handled = await self._dead_letter(delivery, poison)
        else:
            handled = await self._pass_on(delivery, event)
        if handled:
            with suppress(Unavailable):  # then it is delivered again, and found to have been started
                await delivery.acknowledge()

    async def _pass_on(self, delivery: Delivery, event: Event) -> bool:
        act = self._start_workflow if self._flow.delivers is None else self._deliver
        try:
            return await self._persist(delivery, lambda: act(event, delivery.message.position))
        except (InputError, RunNotFound, EvaluationError) as refused:
            return await self._dead_letter(delivery, refused, event)

    async def _deliver(self, event: Event, position: str) -> None:
        """Send it to the run that waits for it. Raises InputError, EvaluationError, RunNotFound, Unavailable."""
        if (delivers := self._flow.delivers) is None:
            raise AssertionError("this flow starts runs")
        run = delivers.run_of(event)
        of_event = {"anabranch.session_id": run}
        with spans.continued(event.trace), spans.span(f"event {delivers.event}", of_event, kind="consumer"):
            await delivers.send(self._client, run, event)
        self.counts.delivered += 1
        metrics.count(metrics.EVENTS_CONSUMED, self._flow.label, "delivered")

    async def _dead_letter(self, delivery: Delivery, poison: AnabranchError, event: Event | None = None) -> bool:
        message, flow = delivery.message, self._flow
        log.warning("dead letter", position=message.position, code=poison.code, reason=str(poison))
        published = await self._persist(
            delivery, lambda: self._publisher.dead_letter(message, flow.failures, flow.label, poison, event)
        )
        self.counts.dead += published
        metrics.count(metrics.EVENTS_CONSUMED, flow.label, "dead", by=int(published))
        return published

    async def _persist(self, delivery: Delivery, attempt: Callable[[], Awaitable[None]]) -> bool:
        """Try until it is done; False if the consumer is stopped before."""
        position = delivery.message.position
        pauses = iter(_BACKOFF)
        while True:
            try:
                await attempt()
            except Unavailable as error:
                pause = next(pauses)
                log.warning("an event waits", position=position, reason=str(error), again_in=round(pause, 3))
                if self._stop.is_set():
                    return False
                with suppress(Unavailable):
                    await delivery.extend()
                await self._rest(pause)
            else:
                return True

    async def _start_workflow(self, event: Event, position: str) -> None:
        flow = self._flow
        run = replace(flow.run_of(event), position=position)
        of_event = {"anabranch.graph": flow.graph, "anabranch.session_id": run.run}
        try:
            with spans.continued(event.trace), spans.span(f"event {flow.graph}", of_event, kind="consumer"):
                await self._client.start_workflow(
                    EventWorkflow.run,
                    run,
                    id=event_workflow_id(flow.graph, event.id),
                    task_queue=flow.events_queue,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    static_summary=f"{flow.graph} for event {code_span(str(position))}",
                )
            self.counts.started += 1
            metrics.count(metrics.EVENTS_CONSUMED, flow.graph, "started")
        except WorkflowAlreadyStartedError:
            self.counts.repeated += 1
            metrics.count(metrics.EVENTS_CONSUMED, flow.graph, "repeated")
        except RPCError as error:
            if error.status in _REFUSED or _TOO_LARGE in error.message:
                raise InputError(f"Temporal refuses the run: {error.message}", place=event.id[:64]) from error
            raise Unavailable(f"Temporal does not start the run: {error.message}") from error

    async def _rest(self, pause: float) -> None:
        """Pause for so many seconds, or until the consumer is stopped."""
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._stop.wait()
