"""`anabranch runs`: a table of runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from anabranch.cli.opening import inspector_for
from anabranch.cli.report import err, out, print_block, print_json
from anabranch.cli.show import clock
from anabranch.display import plain
from anabranch.inspection.listing import Listed, Listing
from anabranch.inspection.runs import Runs
from anabranch.inspection.selection import Selection
from anabranch.settings import settings_from_environment
from anabranch.transport.client import connect

_STYLES = {
    "completed": "green",
    "failed": "bold red",
    "terminated": "red",
    "timed_out": "red",
    "cancelled": "yellow",
    "waiting": "yellow",
    "paused": "bold yellow",
    "compensating": "magenta",
}
_WIDE = 100
"""Columns of a terminal from which on there is room for the whole time of a start."""
_LONG, _SHORT = slice(19), slice(5, 16)
_MINUTE = 60_000
"""Milliseconds."""
_TIMES = 11 + 8 + 6 * 2
"""Columns of both times, and of the blanks behind each column."""
_ID = 20
_TITLE = len("waits for")
"""Columns that an id, which is what is copied, has at least."""


async def show_runs(selection: Selection, *, limit: int, as_json: bool) -> None:
    """Print the newest runs. Raises InputError, Unavailable."""
    settings = settings_from_environment()
    client = await connect(settings)
    runs = Runs(client, inspector_for(client.data_converter, settings, client.namespace))
    found = await Listing(client, runs).newest(selection, limit)
    if as_json:
        print_json([asdict(each) for each in found])
    elif found:
        print_block(_table(found))
    else:
        err().print("no run")


def _table(found: Sequence[Listed]) -> Table:
    screen = out()
    is_narrow = screen.is_terminal and screen.width < _WIDE
    starts = [clock(each.started)[_SHORT if is_narrow else _LONG] for each in found]
    rows = [
        (plain(each.workflow_id), plain(each.graph), plain(", ".join(each.waits_for)), each.state.replace("_", " "))
        for each in found
    ]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    titles = ("run", "graph", "waits for", "state")
    longest = [max(map(cell_len, column)) for column in zip(titles, *rows, strict=True)]
    run, graph, waits = _fitting(screen.width - longest[3] - _TIMES, *longest[:3]) if is_narrow else (None,) * 3
    table.add_column("run", overflow="fold", width=run)
    table.add_column("graph", overflow="fold", width=graph)
    table.add_column("state", no_wrap=True)
    table.add_column("waits for", overflow="fold", width=waits)
    table.add_column("started", no_wrap=True)
    table.add_column("took", justify="right", no_wrap=True)
    for each, start, (name, graph_name, waiting, state) in zip(found, starts, rows, strict=True):
        table.add_row(name, graph_name, Text(state, _STYLES.get(each.state, "")), waiting, start, _took(each))
    return table


def _fitting(room: int, run: int, graph: int, waits: int) -> tuple[int, int, int]:
    """The columns of an id, of a graph and of what is waited for. Where they do not fit, ids get the most."""
    if run + graph + waits <= room:
        return run, graph, waits
    rest = room - min(run, _ID)
    waits = max(_TITLE, min(waits, max(rest // 2, rest - graph)))
    graph = max(1, min(graph, rest - waits))
    return max(1, min(run, room - graph - waits)), graph, waits


def _took(each: Listed) -> str:
    ended = round(time.time() * 1000) if each.ended is None else each.ended
    if (took := max(0, ended - each.started)) < _MINUTE:
        return f"{took // 100 / 10:.1f} s"
    seconds = took // 1000
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours}:{minutes:02}:{seconds % 60:02}"
