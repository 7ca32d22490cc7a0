"""`anabranch events`: runs that events of NATS or Kafka start, or that wait for them, and dead letters sent again."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from anabranch.cli.arguments import TaskQueueOption
from anabranch.errors import ConfigurationError
from anabranch.settings import settings_from_environment

if TYPE_CHECKING:
    from anabranch.brokers.address import Address
    from anabranch.events.consumer import Flow
    from anabranch.events.delivery import Delivery
    from anabranch.events.event import Reading
    from anabranch.events.service import Route
    from anabranch.settings import Settings

_SUFFIX = ".dead"
_GRAPH = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,127}")
_EVENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/\-]{0,127}")
_PLAIN = re.compile(r"[^A-Za-z0-9_-]")
_CONSUMER = re.compile(r"[A-Za-z0-9_-]{1,200}")


SourceOption: TypeAlias = Annotated[
    str, typer.Option("--from", metavar="URL", help="nats://host:port/subject or kafka://host:port/topic.")
]
GraphOption: TypeAlias = Annotated[
    str | None, typer.Option("--graph", metavar="NAME", help="The graph that each event starts.")
]
DeliverOption: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="EVENT", help="Instead: the name under which each event goes to a run that waits for it."),
]
ToRunOption: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="TEMPLATE", help='With --deliver: the id of the run, such as "order-{{ order_id }}".'),
]
ResendOption: TypeAlias = Annotated[
    bool, typer.Option("--resend", help="Instead: send the dead letters of --from again, to --to, and end.")
]
TargetOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--to", metavar="URL", help="Where results go; by default nowhere. Of --resend: --from without `.dead`."
    ),
]
DeadLetterOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--dead-letter", metavar="TOPIC", help="Default: the topic of --to (else of --from) and `.dead`."),
]
ConsumerOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Processes of one name share the events. Default: `anabranch-` and the graph or event.",
    ),
]
IdHeaderOption: TypeAlias = Annotated[str, typer.Option(metavar="NAME", help="The header that holds an event's id.")]
IdFieldOption: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="PATH",
        help="Without that header: the field of a JSON event that holds the id; `order.id` goes inside.",
    ),
]
ConcurrencyOption: TypeAlias = Annotated[int, typer.Option(min=1, max=1000, help="Events in hand at a time.")]
CreateOption: TypeAlias = Annotated[
    bool, typer.Option("--create/--no-create", help="Create JetStream streams that do not exist.")
]
GraphsOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--graphs", metavar="DIR", help="The folder with the graph, whose `id` its runs have then."),
]


def events(
    *,
    source: SourceOption,
    graph: GraphOption = None,
    deliver: DeliverOption = None,
    to_run: ToRunOption = None,
    again: ResendOption = False,
    target: TargetOption = None,
    dead_letter: DeadLetterOption = None,
    consumer: ConsumerOption = None,
    id_header: IdHeaderOption = "Anabranch-Event-Id",
    id_field: IdFieldOption = "id",
    concurrency: ConcurrencyOption = 32,
    create: CreateOption = True,
    task_queue: TaskQueueOption = None,
    graphs: GraphsOption = None,
) -> None:
    """Start a run for each event until Ctrl-C, and publish its result; or deliver events to runs that wait for them.

    The workflow's id is made from the event's id, so an event that is delivered again starts nothing. An event is
    acknowledged when its run has durably started, or has it. Unreadable events, failed runs, and events for runs that
    are not there go to the dead-letter topic.
    """
    from anabranch.cli.leaving import run_until_over
    from anabranch.cli.logs import log_of_worker
    from anabranch.context.values import parse_path
    from anabranch.events.event import Reading
    from anabranch.observe.traces_process import traces_sent

    chosen = settings_from_environment(task_queue=task_queue)
    reading = Reading(id_header, parse_path(id_field), chosen.max_context_size_bytes, chosen.cipher())
    _check_one(graph=graph, deliver=deliver, resend=again or None)
    log_of_worker(chosen)
    if again:
        run_until_over(_resend(resend_route(source, target, consumer, create=create), id_header))
        return
    delivers = _delivery(deliver, to_run, target)
    options = _Options(source, target, graph or "", dead_letter, consumer, create, graphs, delivers)
    route, flow = _route(chosen, options, reading, concurrency)
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
    graphs: Path | None
    delivers: Delivery | None

    @property
    def name(self) -> str:
        """Of what the events are for."""
        return self.graph if self.delivers is None else self.delivers.event


def _check_one(**given: object) -> None:
    named = [f"--{name}" for name, value in given.items() if value is not None]
    if len(named) != 1:
        said = "nothing says what becomes of the events" if not named else f"{' and '.join(named)} exclude each other"
        raise ConfigurationError(said, suggestion="give one of --graph, --deliver and --resend")


def _delivery(event: str | None, to_run: str | None, target: str | None) -> Delivery | None:
    from anabranch.events.delivery import Delivery

    if event is None:
        if to_run is not None:
            raise ConfigurationError("only events that are delivered go to a run", place="--to-run")
        return None
    _check_name("--deliver", _EVENT, event)
    if to_run is None:
        raise ConfigurationError(
            "nothing says to which run", place="--to-run", suggestion='give a template: "order-{{ order_id }}"'
        )
    if target is not None:
        raise ConfigurationError("events that are delivered have no results", place="--to")
    found = Delivery(event, to_run)
    found.check("--to-run")
    return found


def resend_route(source: str, target: str | None, consumer: str | None, *, create: bool) -> Route:
    """From where dead letters are sent again, and to where. Raises ConfigurationError."""
    from anabranch.brokers.address import parse_address
    from anabranch.events.service import Route

    origin = parse_address(source, "--from")
    if target is None and not origin.topic.endswith(_SUFFIX):
        raise ConfigurationError(f"{origin.topic!r} does not end with {_SUFFIX}", place="--to", suggestion="give it")
    sink = (
        replace(origin, topic=origin.topic.removesuffix(_SUFFIX)) if target is None else parse_address(target, "--to")
    )
    _check_apart(origin, sink, sink, origin.topic + _SUFFIX)
    name = consumer or "anabranch-resend"
    _check_name("--consumer", _CONSUMER, name)
    return Route(origin, sink, name, create)


def _route(chosen: Settings, options: _Options, reading: Reading, concurrency: int) -> tuple[Route, Flow]:
    from anabranch.brokers.address import check_topic, parse_address
    from anabranch.events.consumer import Flow
    from anabranch.events.service import Route, events_queue
    from anabranch.graph.load import find_graph

    consumer = options.consumer or f"anabranch-{_PLAIN.sub('_', options.name)}"
    if options.delivers is None:
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
        definition=None if options.graphs is None else find_graph(options.graphs, options.graph).graph,
        delivers=options.delivers,
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


async def _resend(route: Route, id_header: str) -> None:
    from anabranch.brokers.open import open_sink, open_source
    from anabranch.events.resending import resend

    sink = await open_sink(route.sink, [route.sink.topic], create=route.create)
    try:
        source = await open_source(route.source, route.consumer, create=False)
        try:
            done = await resend(source, sink, route.sink.topic, id_header=id_header)
        finally:
            await source.aclose()
    finally:
        await sink.aclose()
    left = f", {done.left} have no body to send" if done.left else ""
    typer.echo(f"{done.sent} sent again to {route.sink}{left}")
