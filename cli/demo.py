"""`anabranch demo`: three orders through the order graph, on servers that it starts and stops."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from typing import Any

from rich.rule import Rule
from rich.text import Text
from temporalio.client import Client, WorkflowFailureError

from anabranch.cli.failure import describe, show_failure
from anabranch.cli.leaving import ENDING, interruptible
from anabranch.cli.live import LiveRun
from anabranch.cli.local import embedded_server, environment, first_of, worker_beside
from anabranch.cli.report import out
from anabranch.cli.versions import versions_table
from anabranch.cli.watch import draw
from anabranch.console.codec.alone import CODEC_PATH, codec_alone
from anabranch.dev.demo_services import EXAMPLES, demo_services
from anabranch.display import plain
from anabranch.graph.load import LoadedGraph, load_graph
from anabranch.graph.source.files import json_object
from anabranch.loopback import LOOPBACK, free_port, serving
from anabranch.settings import on_this_machine, settings_from_environment

GRAPH = EXAMPLES / "distributed_context_graph.yaml"
ORDERS = ("approved", "declined", "out_of_stock")


async def demonstrate(*, keep: bool, postgres: bool) -> int:
    """Show the demo; returns the exit code: 0 if every order completed. SIGINT and SIGTERM stop it."""
    task, signals = asyncio.current_task(), []

    def interrupt(number: int) -> None:
        signals.append(number)
        if task is not None:
            task.cancel()

    with interruptible(interrupt, within=ENDING):
        try:
            return await _demonstrate(keep=keep, postgres=postgres)
        except asyncio.CancelledError:
            return 0 if keep and signals else 128 + signals[0]


async def _demonstrate(*, keep: bool, postgres: bool) -> int:
    loaded, screen = load_graph(GRAPH), out()
    chosen = on_this_machine(settings_from_environment(graphs=EXAMPLES, task_queue="anabranch-demo"))
    screen.print(Text.assemble(("anabranch demo", "bold"), "  three orders on a real Temporal server"))
    async with AsyncExitStack() as stack:
        starting = stack.enter_context(screen.status("starting a Temporal server, a database and a worker"))
        services = await stack.enter_async_context(demo_services(os.environ, postgres=postgres))
        stack.enter_context(environment(services.environ))
        ui_port = free_port()
        app = codec_alone((f"http://{LOOPBACK}:{ui_port}",))
        codec_url = await stack.enter_async_context(serving(app)) + CODEC_PATH
        server, client = await stack.enter_async_context(
            embedded_server(chosen, ui_port=ui_port, codec_endpoint=codec_url)
        )
        worker = await stack.enter_async_context(worker_beside(chosen, client, alone=True))
        starting.stop()
        for note in services.notes:
            screen.print(Text(f"  {note}", "dim"))
        screen.print(Text.assemble("  Web UI: ", (str(server.ui_url), "cyan"), "  while this demo runs"))
        failed = [order for order in ORDERS if not await _place(order, client, loaded, worker, server.ui_url)]
        if keep:
            screen.print(
                Text.assemble("\nThe Web UI stays open: ", (str(server.ui_url), "cyan"), ". Ctrl-C stops everything.")
            )
            await first_of(asyncio.get_running_loop().create_future(), worker=worker)
    screen.print(
        Text("\nEverything is stopped again. `anabranch dev` keeps it open; try your own graphs there.", "dim")
    )
    return 1 if failed else 0


async def _place(
    order: str, client: Client, loaded: LoadedGraph, worker: asyncio.Task[None], ui_url: str | None
) -> bool:
    """Run one order, draw it, and show its result; returns whether it completed."""
    screen, data = out(), json_object(str(EXAMPLES / "orders" / f"{order}.json"))
    workflow_id = str(data["order_id"]).lower()
    screen.print()
    screen.print(
        Rule(f"{order.replace('_', ' ')}: order {data['order_id']}, ${data['order_total']:,.2f}", align="left")
    )
    handle = await client.start_workflow(
        loaded.graph.name,
        data,
        id=workflow_id,
        task_queue="anabranch-demo",
        static_summary=f"{order}: {data['order_id']}",
        static_details=loaded.graph.description,
    )
    result: asyncio.Future[Any] = asyncio.ensure_future(handle.result())
    drawing = asyncio.create_task(draw(handle, LiveRun(loaded.graph, workflow_id), result))
    await first_of(result, worker=worker)
    await drawing
    try:
        outcome = result.result()
    except WorkflowFailureError as error:
        show_failure(describe(error))
        return False
    screen.print(versions_table(await handle.query("history")), soft_wrap=False)
    notification = outcome["data"].get("notification", {})
    screen.print(
        Text.assemble(
            "  → ",
            (str(outcome["data"].get("order_status")), "bold green"),
            f"  {plain(notification.get('message', ''))}",
        )
    )
    screen.print(Text(f"    {ui_url}/namespaces/default/workflows/{workflow_id}", "dim"))
    return True
