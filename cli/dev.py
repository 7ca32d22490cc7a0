"""`anabranch dev`: a Temporal server, its Web UI, the console and a worker until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text
from starlette.types import ASGIApp

from anabranch.cli.codec import codec_auth, codec_token
from anabranch.cli.console import login
from anabranch.cli.leaving import ENDING, interruptible
from anabranch.cli.local import check_port, embedded_server, environment, first_of, worker_beside
from anabranch.cli.report import out, show_problems
from anabranch.console.access.access import Access
from anabranch.console.access.caller import Role
from anabranch.console.access.configured import access_of
from anabranch.console.access.tokens import Tokens
from anabranch.console.app import console
from anabranch.console.codec.alone import CODEC_PATH
from anabranch.console.codec.server import codec_server
from anabranch.console.services import Services
from anabranch.dev.demo_services import EXAMPLES
from anabranch.dev.demo_services import demo_services as start_demo_services
from anabranch.dev.devserver import temporal_command
from anabranch.display import plain
from anabranch.errors import ConfigurationError, GraphError
from anabranch.graph.load import LoadedGraph, load_each
from anabranch.imports import import_own
from anabranch.loopback import LOOPBACK, answering, listening
from anabranch.plugin import check_folder
from anabranch.settings import Settings, on_this_machine
from anabranch.transport.client import converter_for
from anabranch.transport.search_attributes import SEARCH_ATTRIBUTES, own_keys

_TEMPORAL_PORT = 7233
_CONSOLE_PORT = 8234


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the servers listen, on the loopback interface."""

    temporal: int
    web_ui: int
    console: int | None
    """None is the usual port, or any where that is taken."""


async def develop(settings: Settings, ports: Ports, *, database: Path | None, demo_services: bool | None) -> None:
    """Start everything, print addresses and commands to try, and stop it all at SIGINT or SIGTERM.

    Raises ConfigurationError naming the option of a port that is taken, Unavailable.
    """
    began = time.monotonic()
    settings = _with_graphs(on_this_machine(settings))
    check_folder(settings.graphs)
    import_own(settings.imports)
    for port, option in ((ports.temporal, "--port"), (ports.web_ui, "--ui-port"), (ports.console, "--console-port")):
        if port is not None:
            check_port(port, option)
    library = _library(settings)
    stop = asyncio.Event()
    with interruptible(lambda _: stop.set(), within=ENDING):
        async with AsyncExitStack() as stack:
            notes = await _demo_services(stack, settings, wanted=demo_services)
            ui_url = f"http://{LOOPBACK}:{ports.web_ui}"
            listener = stack.enter_context(listening(_console_port(ports)))
            console_url = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
            codec_url = console_url + CODEC_PATH
            if settings.console_url is None:
                settings = settings.model_copy(update={"console_url": console_url})
            token = codec_token(settings)
            _, client = await stack.enter_async_context(
                embedded_server(
                    settings,
                    port=ports.temporal,
                    ui_port=ports.web_ui,
                    codec_endpoint=codec_url,
                    database=database,
                    search_attributes=(*SEARCH_ATTRIBUTES, *own_keys(each.graph for each in library.values())),
                )
            )
            services = Services.of(client, settings, web_ui=ui_url)
            app = _console(services, settings, ui_url, token)
            await stack.enter_async_context(answering(app, listener))
            stack.push_async_callback(services.close)
            worker = await stack.enter_async_context(worker_beside(settings, client))
            if not stop.is_set():
                kept = f"kept in {database}" if database else "in memory"
                addresses = {
                    "Console": console_url,
                    "Web UI": ui_url,
                    "Temporal": f"{LOOPBACK}:{ports.temporal}  ({kept})",
                    "Codec server": codec_url,
                    "Worker": f"task queue {settings.task_queue}, graphs of {settings.graphs}",
                }
                if token is not None:
                    notes = (
                        *notes,
                        f"Sign in with the token below: at {console_url}, and for the Web UI at {codec_url}/.",
                    )
                _announce(addresses, notes, time.monotonic() - began)
                _suggest(settings, ports, f"{codec_url}{codec_auth(token)}", library)
            await first_of(asyncio.ensure_future(stop.wait()), worker=worker)
            out().print("stopping")


def _console_port(ports: Ports) -> int:
    if ports.console is not None:
        return ports.console
    try:
        check_port(_CONSOLE_PORT, "--console-port")
    except ConfigurationError:
        return 0
    return _CONSOLE_PORT


def _console(services: Services, settings: Settings, ui_url: str, token: str | None) -> ASGIApp:
    origins = (ui_url, ui_url.replace(LOOPBACK, "localhost"))
    codec = codec_server(origins, converter_for(settings), token=token)
    return console(services, _access(settings, token), codec=codec)


def _access(settings: Settings, token: str | None) -> Access:
    """Whoever runs the command; with the codec server's token where payloads are encrypted, unless settings say who."""
    name = login()
    if settings.console_tokens is not None or settings.console_issuer is not None:
        return access_of(settings, LOOPBACK, read_only=False, login=name)
    return Access(None if token is None else Tokens.of(name, Role.OPERATOR, token), login=name)


def _with_graphs(settings: Settings) -> Settings:
    """The shipped examples, if there is no folder of the default name."""
    if settings.graphs == Settings.model_fields["graphs"].default and not settings.graphs.is_dir():
        return settings.model_copy(update={"graphs": EXAMPLES})
    return settings


async def _demo_services(stack: AsyncExitStack, settings: Settings, *, wanted: bool | None) -> tuple[str, ...]:
    if wanted is None:
        wanted = settings.graphs.resolve() == EXAMPLES.resolve() and not os.environ.get("POSTGRES_URL")
    if not wanted:
        return ()
    services = await stack.enter_async_context(start_demo_services(os.environ))
    stack.enter_context(environment(services.environ))
    return services.notes


def _announce(addresses: Mapping[str, str], notes: tuple[str, ...], seconds: float) -> None:
    screen = out()
    screen.print(Text.assemble(("anabranch dev", "bold"), (f"  ready after {seconds:.1f} s", "dim")))
    table = Table.grid(padding=(0, 3))
    for name, address in addresses.items():
        table.add_row(Text(f"  {name}", "bold"), Text(plain(address), "cyan"))
    screen.print(table)
    for note in notes:
        screen.print(Text(f"  {note}", "dim"))


def _suggest(settings: Settings, ports: Ports, codec: str, library: Mapping[str, LoadedGraph]) -> None:
    screen = out()
    if library:
        for title, lines in _commands(settings, ports, codec, library).items():
            screen.print(f"\n  {plain(title)}", markup=False)
            for line in lines:
                screen.print(Text(f"    {plain(line)}", "green"), soft_wrap=True)  # to be copied
    else:
        screen.print(Text(f"  There is no graph in {plain(settings.graphs)} yet.", "yellow"))
    screen.print(Text("\n  Ctrl-C stops everything.", "dim"))


def _library(settings: Settings) -> dict[str, LoadedGraph]:
    """The valid graphs that the worker will serve, by name; problems of the others are printed."""
    found: dict[str, LoadedGraph] = {}
    for each in load_each(settings.graphs, below=settings.graphs_below):
        if isinstance(each, GraphError):
            show_problems(each.problems)
        else:
            found[each.graph.name] = each
    return found


def temporal_program() -> str:
    """How a shell finds the `temporal` command: by its name, or at the path of the one that is brought along."""
    return "temporal" if shutil.which("temporal") else shlex.quote(os.path.relpath(temporal_command()))


def _commands(
    settings: Settings, ports: Ports, codec: str, library: Mapping[str, LoadedGraph]
) -> dict[str, tuple[str, ...]]:
    """Commands to try, under titles. `codec` is the codec server's URL, and what it asks for."""
    temporal = temporal_program()
    server = "" if ports.temporal == _TEMPORAL_PORT else f" --address {LOOPBACK}:{ports.temporal}"
    name = "order_processing" if "order_processing" in library else next(iter(library))
    run = f"--workflow-id {_example_id(name)}{server}"
    return {
        f"The graphs are {', '.join(library)}. Start a run, and see its result:": (
            f"{temporal} workflow start --type {name} --task-queue {shlex.quote(settings.task_queue)} {run} "
            + _example_input(library[name], settings.graphs),
            f"{temporal} workflow result {run}",
        ),
        "Look into it; the queries are `status`, `context`, `history` and `diagram`:": (
            f"{temporal} workflow query {run} --type status",
            f"{temporal} workflow show {run} --detailed --codec-endpoint {codec}",
        ),
    }


def _example_id(name: str) -> str:
    return "order-1" if name.startswith("order") else f"{name}-1"


def _example_input(loaded: LoadedGraph, folder: Path) -> str:
    from anabranch.graph.dataflow.dataflow import graph_inputs

    file = folder / "order.json"
    if loaded.graph.name.startswith("order") and file.is_file():
        return f"--input-file {shlex.quote(os.path.relpath(file))}"
    inputs = ", ".join(f'"{key}": …' for key in sorted(graph_inputs(loaded.graph, loaded.graphs)))
    return f"--input {shlex.quote('{' + inputs + '}')}"
