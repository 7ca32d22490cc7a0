"""`anabranch run`: one run of a graph file, on the server that the environment names or on an embedded one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from anabranch import spans
from anabranch.cli.local import embedded_server, worker_beside
from anabranch.cli.queues import is_served
from anabranch.cli.report import err, show_finding
from anabranch.cli.watch import Watch
from anabranch.context.values import Json, check_value
from anabranch.display import code_span, plain
from anabranch.errors import AnabranchError, InputError, Unavailable
from anabranch.graph.load import LoadedGraph, canonical, digests
from anabranch.graph.model import Graph
from anabranch.settings import Settings, on_this_machine
from anabranch.transport.client import connect, named_address
from anabranch.transport.node_protocol import GRAPH_DIGESTS
from anabranch.transport.starting import Start, start_run

_DESCRIPTION = 2_000


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What `anabranch run` is to do."""

    loaded: LoadedGraph
    data: dict[str, Json]
    settings: Settings
    workflow_id: str
    follow: bool
    as_json: bool
    worker: bool


@dataclass(frozen=True, slots=True)
class Target:
    """Where the run happens. `worker` is the one beside it, if there is one."""

    client: Client
    embedded: bool
    worker: asyncio.Task[None] | None


async def execute(options: RunOptions) -> int:
    """Start the run, watch it and print its result; returns the exit code.

    Raises Unavailable when the server does not answer or refuses, InputError for an id that is taken, and
    for input that the server rejects.
    """
    check_value(options.workflow_id, path=("--id",))
    try:
        async with _target(options) as target:
            start = await _start(options, target)
            handle = start.handle
            address = target.client.service_client.config.target_host
            where = "an embedded server" if target.embedded else address
            done = "started" if start.is_new else "joined"
            started = f"{done} {plain(options.workflow_id)} on {plain(where)}"
            watch = Watch(
                handle,
                options.loaded.graph,
                target.worker,
                follow=options.follow,
                as_json=options.as_json,
                client=target.client,
                server=address if target.embedded else None,
            )
            return await watch.until_over(started, cancel_on_interrupt=target.embedded)
    except RPCError as error:
        raise _server_error(error) from error


def _server_error(error: RPCError) -> AnabranchError:
    said = f"the Temporal server refuses: {error.message}"
    too_large = error.status is RPCStatusCode.RESOURCE_EXHAUSTED and "larger than max" in error.message
    if too_large or error.status is RPCStatusCode.INVALID_ARGUMENT:
        return InputError(said, suggestion="check --id, --task-queue and the size of the input")
    return Unavailable(said, suggestion="check the namespace and the credentials that TEMPORAL_* or the profile name")


@asynccontextmanager
async def _target(options: RunOptions) -> AsyncGenerator[Target]:
    embedded, worker = named_address() is None, None
    async with AsyncExitStack() as stack:
        with err().status("starting a Temporal server and a worker" if embedded else "connecting"):
            if embedded:
                _, client = await stack.enter_async_context(embedded_server(options.settings))
            else:
                client = await connect(options.settings)
            if embedded or options.worker:
                settings = on_this_machine(options.settings) if embedded else options.settings
                worker = await stack.enter_async_context(worker_beside(settings, client, alone=embedded))
            else:
                await _warn_without_worker(client, options.settings.task_queue)
        yield Target(client, embedded, worker)


async def _start(options: RunOptions, target: Target) -> Start:
    graph = options.loaded.graph
    if target.embedded:
        name, given = "GraphWorkflow", {"graph": json.loads(canonical(graph)), "data": options.data}
    else:
        # A worker of others runs its own graphs only; it compares them with the file's.
        name, given = graph.name, options.data
    named: dict[str, spans.Attribute] = {"anabranch.graph": graph.name, "anabranch.session_id": options.workflow_id}
    with spans.span(f"start {graph.name}", named, kind="client"):
        return await start_run(
            target.client,
            name,
            given,
            options.workflow_id,
            graph.id,
            task_queue=options.settings.task_queue,
            memo=None if target.embedded else {GRAPH_DIGESTS: digests(options.loaded)},
            static_summary=f"{graph.name} {graph.version}",
            static_details=details_of(graph),
        )


def details_of(graph: Graph) -> str:
    """Markdown for the Web UI."""
    head = f"**{code_span(graph.name)}** {code_span(graph.version)}"
    return f"{head}\n\n{code_span(graph.description, _DESCRIPTION)}" if graph.description else head


async def _warn_without_worker(client: Client, task_queue: str) -> None:
    if not await is_served(client, task_queue, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW):
        text = f"no worker listens on the task queue {plain(task_queue)!r}: the run waits for one"
        show_finding("NO_WORKER", None, text, "start `anabranch worker`, or give --worker", warning=True)
