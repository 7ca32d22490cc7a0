"""One flow of events as a process serves it: a source, a sink, a consumer, and the worker that publishes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import structlog
from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from anabranch.brokers.address import Address
from anabranch.brokers.open import open_sink, open_source
from anabranch.events.consumer import Consumer, Counts, Flow
from anabranch.events.event_workflow import EventWorkflow
from anabranch.events.publishing import Publisher
from anabranch.observe.metrics_registry import record_on
from anabranch.transport.workflow_threads import WorkflowThreads
from anabranch.transport.working import working

GRACE: Final = timedelta(seconds=10)
"""How long publications may go on when a flow is asked to stop."""
_STICKY: Final = timedelta(seconds=2)
"""How long a workflow waits for the process that has it cached: short, so that another process replays it quickly."""

log = structlog.get_logger("anabranch.events")


@dataclass(frozen=True, slots=True)
class Route:
    """The brokers of a flow. `consumer` names the durable consumer or group that shares the events.

    With `create`, JetStream streams that do not exist are created.
    """

    source: Address
    sink: Address
    consumer: str
    create: bool = True


async def serve_events(
    client: Client, flow: Flow, route: Route, stop: asyncio.Event, *, max_cached_workflows: int = 1000
) -> Counts:
    """Consume and publish until `stop`, then finish what was begun. Raises ConfigurationError, Unavailable."""
    async with AsyncExitStack() as stack:
        topics = [topic for topic in (flow.results, flow.failures) if topic is not None]
        sink = await open_sink(route.sink, topics, create=route.create)
        stack.push_async_callback(sink.aclose)
        source = await open_source(route.source, route.consumer, create=route.create)
        stack.push_async_callback(source.aclose)
        publisher = Publisher(sink, max_bytes=flow.reading.max_bytes, cipher=flow.reading.cipher)
        consumer = Consumer(source, client, publisher, flow)
        record_on(client.service_client.config.runtime or Runtime.default(), lambda: (flow.label,))
        awaited = set[asyncio.Future[Any]]()
        if flow.delivers is None:
            worker = _worker(client, flow, publisher, max_cached_workflows)
            awaited.add(await stack.enter_async_context(working(worker)))
        consuming = asyncio.create_task(consumer.consume())
        stopping = asyncio.create_task(stop.wait())
        awaited |= {consuming, stopping}
        log.info("consuming", source=str(route.source), graph=flow.label, results=flow.results, failures=flow.failures)
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        consumer.stop()
        await consuming
        log.info(
            "stopped",
            started=consumer.counts.started,
            delivered=consumer.counts.delivered,
            repeated=consumer.counts.repeated,
            dead=consumer.counts.dead,
        )
        return consumer.counts


def events_queue(task_queue: str, graph: str, source: Address) -> str:
    """The task queue of a flow: processes that consume the same topic for the same graph share it."""
    return f"{task_queue}/events/{graph}/{source.broker}/{source.topic}"


def _worker(client: Client, flow: Flow, publisher: Publisher, max_cached_workflows: int) -> Worker:
    return Worker(
        client,
        task_queue=flow.events_queue,
        workflows=[EventWorkflow],
        activities=[publisher.publish],
        workflow_runner=UnsandboxedWorkflowRunner(),
        workflow_task_executor=WorkflowThreads(),
        max_cached_workflows=max_cached_workflows,
        max_concurrent_activities=flow.concurrency,
        graceful_shutdown_timeout=GRACE,
        sticky_queue_schedule_to_start_timeout=_STICKY,
    )
