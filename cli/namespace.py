"""`anabranch setup-namespace`: what a namespace needs for its runs to be found by their state."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from anabranch.cli.report import out
from anabranch.display import plain
from anabranch.graph.load import load_library
from anabranch.settings import Settings
from anabranch.transport.client import check_namespace, connect
from anabranch.transport.search_attributes import SEARCH_ATTRIBUTES, own_keys, register


async def setup_namespace(settings: Settings, graphs: Path | None = None) -> None:
    """Register what the namespace lacks, and say what that was; that of a folder of `graphs` too.

    Raises GraphError, ConfigurationError, Unavailable.
    """
    own = own_keys(each.graph for each in load_library(graphs).values()) if graphs is not None else ()
    client = await connect(settings)
    await check_namespace(client)
    added = await register(client, own)
    screen = out()
    screen.print(Text(f"The search attributes of the namespace {plain(client.namespace)}:"))
    for key in (*SEARCH_ATTRIBUTES, *own):
        done = "registered now" if key.name in added else "there already"
        screen.print(Text.assemble((f"  {key.name}", "bold"), f"  {done}"))
