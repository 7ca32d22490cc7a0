"""`anabranch console`: the console for the server that the environment names."""

from __future__ import annotations

import asyncio
import getpass
from contextlib import suppress
from dataclasses import dataclass

from rich.text import Text
from starlette.types import ASGIApp

from anabranch.cli.leaving import ENDING, interruptible
from anabranch.cli.report import out
from anabranch.console.access.configured import access_of, is_local
from anabranch.console.app import console
from anabranch.console.codec.server import codec_server
from anabranch.console.services import Services
from anabranch.display import plain
from anabranch.loopback import answering, listening
from anabranch.plugin import check_folder
from anabranch.settings import Settings
from anabranch.transport.client import connect, converter_for


@dataclass(frozen=True, slots=True)
class ConsoleOptions:
    """Where the console listens, and what it is to be."""

    address: str
    port: int
    read_only: bool
    web_ui: str | None


async def serve_console(settings: Settings, options: ConsoleOptions) -> None:
    """Serve until SIGINT or SIGTERM. Raises ConfigurationError, Unavailable."""
    if settings.graphs != Settings.model_fields["graphs"].default:
        check_folder(settings.graphs)  # without a folder of the default name there are no graphs to start
    access = access_of(settings, options.address, read_only=options.read_only, login=login())
    services = Services.of(await connect(settings), settings, web_ui=options.web_ui)
    app = console(services, access, codec=_codec(settings, options))
    stop = asyncio.Event()
    with interruptible(lambda _: stop.set(), within=ENDING), listening(options.port, options.address) as listener:
        async with answering(app, listener):
            out().print(Text(f"console on {_url(options.address, listener.getsockname()[1])}", "bold"))
            await stop.wait()
            await services.close()  # before the server: who watches a run leaves it waiting


def login() -> str:
    """The name of who runs the command."""
    with suppress(KeyError, OSError, ImportError):  # a container's user may have no name
        return getpass.getuser()
    return "unnamed"


def _codec(settings: Settings, options: ConsoleOptions) -> ASGIApp | None:
    """The codec server; without a token it is for this machine, and for payloads that are not encrypted."""
    token = settings.codec_token
    if token is None and (settings.cipher() is not None or not is_local(options.address)):
        return None
    origins = () if options.web_ui is None else (options.web_ui.rstrip("/"),)
    return codec_server(origins, converter_for(settings), token=None if token is None else token.get_secret_value())


def _url(address: str, port: int) -> str:
    return plain(f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}")
