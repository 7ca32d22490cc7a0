"""`anabranch events`: runs of a graph from the events of NATS or Kafka, and their results to the next topic."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from anabranch.cli.arguments import TaskQueueOption
from anabranch.errors import ConfigurationError
from anabranch.settings import settings_from_environment

if TYPE_CHECKING:
    from anabranch.events.address import Address
    from anabranch.events.consumer import Flow
    from anabranch.events.event import Reading
    from anabranch.events.service import Route
    from anabranch.settings import Settings

_SUFFIX = ".dead"
_GRAPH = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,127}")
_CONSUMER = re.compile(r"[A-Za-z0-9_-]{1,200}")


def events(
    *,
    source: Annotated[
        str, typer.Option("--from", metavar="URL", help="nats://host:port/subject or kafka://host:port/topic.")
    ],
    graph: Annotated[str, typer.Option("--graph", metavar="NAME", help="The graph that each event starts.")],
    target: Annotated[
        str | None, typer.Option("--to", metavar="URL", help="Where results go; by default nowhere.")
    ] = None,
    dead_letter: Annotated[
        str | None,
        typer.Option("--dead-letter", metavar="TOPIC", help="Default: the topic of --to (else of --from) and `.dead`."),
    ] = None,
    consumer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Processes of one name share the events. Default: `anabranch-` and the graph."
        ),
    ] = None,
    id_header: Annotated[
        str, typer.Option(metavar="NAME", help="The header that holds an event's id.")
    ] = "Anabranch-Event-Id",
    id_field: Annotated[
        str,
        typer.Option(
            metavar="PATH",
            help="Without that header: the field of a JSON event that holds the id; `order.id` goes inside.",
        ),
    ] = "id",
    concurrency: Annotated[int, typer.Option(min=1, max=1000, help="Events in hand at a time.")] = 32,
    create: Annotated[
        bool, typer.Option("--create/--no-create", help="Create JetStream streams that do not exist.")
    ] = True,
    task_queue: TaskQueueOption = None,
) -> None:
    """Start a run for each event until Ctrl-C, and publish its result.

    The workflow's id is made from the event's id, so an event that is delivered again starts nothing. An event is
    acknowledged when its run has durably started. Unreadable events and failed runs go to the dead-letter topic.
    """
    from anabranch.cli.leaving import run_until_over
    from anabranch.cli.logs import log_of_worker
    from anabranch.context.values import parse_path
    from anabranch.events.event import Reading
    from anabranch.observe.traces_process import traces_sent

    chosen = settings_from_environment(task_queue=task_queue)
    reading = Reading(id_header, parse_path(id_field), chosen.max_context_size_bytes, chosen.cipher())
    options = _Options(source, target, graph, dead_letter, consumer, create)
    route, flow = _route(chosen, options, reading, concurrency)
    log_of_worker(chosen)
    with traces_sent(chosen):
        run_until_over(_serve(chosen, route, flow))


@dataclass(frozen=True, slots=True)
class _Options:
    source: str
    target: str | None
    graph: str
    dead_letter: str | None
    consumer: str | None
    create: bool


def _route(chosen: Settings, options: _Options, reading: Reading, concurrency: int) -> tuple[Route, Flow]:
    from anabranch.events.address import check_topic, parse_address
    from anabranch.events.consumer import Flow
    from anabranch.events.service import Route, events_queue

    consumer = options.consumer or f"anabranch-{options.graph.replace('.', '_')}"
    _check_name("--graph", _GRAPH, options.graph)
    _check_name("--consumer", _CONSUMER, consumer)
    origin = parse_address(options.source, "--from")
    results = None if options.target is None else parse_address(options.target, "--to")
    sink = results or origin
    failures = check_topic(sink.scheme, options.dead_letter or sink.topic + _SUFFIX, "--dead-letter")
    _check_apart(origin, results, sink, failures)
    flow = Flow(
        graph=options.graph,
        results=None if results is None else results.topic,
        failures=failures,
        task_queue=chosen.task_queue,
        events_queue=events_queue(chosen.task_queue, options.graph, origin),
        reading=reading,
        concurrency=concurrency,
    )
    return Route(origin, sink, consumer, options.create), flow


def _check_name(option: str, pattern: re.Pattern[str], name: str) -> None:
    if not pattern.fullmatch(name):
        raise ConfigurationError(
            f"{name[:50]!r} cannot be a name here", place=option, suggestion=f"it must match {pattern.pattern}"
        )


def _check_apart(origin: Address, results: Address | None, sink: Address, failures: str) -> None:
    """Refuse a flow that would feed itself."""
    if origin.servers != sink.servers or origin.scheme != sink.scheme:
        return
    for option, topic in (("--to", results.topic if results else None), ("--dead-letter", failures)):
        if topic == origin.topic:
            raise ConfigurationError(
                f"the events come from {topic!r} too", place=option, suggestion="give another topic"
            )


async def _serve(chosen: Settings, route: Route, flow: Flow) -> None:
    from anabranch.cli.leaving import BEYOND_GRACE, interruptible
    from anabranch.events.service import GRACE, serve_events
    from anabranch.observe.probes import observing
    from anabranch.transport.client import connect

    stop = asyncio.Event()
    async with observing(chosen.metrics_address, chosen.metrics_endpoint, {}) as runtime:
        client = await connect(chosen, runtime=runtime)
        with interruptible(lambda _: stop.set(), within=GRACE.total_seconds() + BEYOND_GRACE):
            await serve_events(client, flow, route, stop, max_cached_workflows=chosen.max_cached_workflows)
