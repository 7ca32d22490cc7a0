"""`anabranch cost`: what one run of a graph takes in Temporal."""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from anabranch.cli.arguments import Played, TaskQueueOption
from anabranch.cli.report import err, out, print_block, print_json, show_problems
from anabranch.cli.together import together
from anabranch.display import plain
from anabranch.settings import Settings, settings_from_environment

if TYPE_CHECKING:
    from anabranch.context.values import Json
    from anabranch.graph.load import LoadedGraph
    from anabranch.inspection.billing import Usage

_ROWS = {
    "actions": "Actions",
    "events": "history events",
    "bytes": "history bytes",
    "activities": "activities",
    "local_activities": "local activities",
    "timers": "timers",
    "children": "child workflows",
    "model_calls": "model calls",
}


@together(Played)
def cost(played: Played, *, task_queue: TaskQueueOption = None) -> None:
    """Show what one run takes in Temporal: Actions, history, activities, model calls; as assumed, and at worst.

    The graph is played once, on a server that is started for it. Nodes end as in `anabranch dry-run`: rules are
    evaluated, nothing else is called. At worst each activity needs all of its attempts.
    """
    path = played.path
    from anabranch.cli.logs import log_to_stderr
    from anabranch.graph.load import load_graph
    from anabranch.inspection.billing import assumed, worst

    settings = settings_from_environment(
        imports=played.imports, task_queue=task_queue, graphs=path.parent, graphs_below=False
    )
    loaded = load_graph(path)
    show_problems(loaded.warnings)
    data = played.data()
    log_to_stderr(logging.ERROR, of_runs=False)
    histories = asyncio.run(_histories(settings, loaded, data, played.outcomes))
    usages = {"assumed": assumed(histories), "worst": worst(histories)}
    if played.as_json:
        print_json({name: asdict(usage) for name, usage in usages.items()})
    else:
        _show(loaded, usages)


async def _histories(
    settings: Settings, loaded: LoadedGraph, data: dict[str, Json], outcomes: Path | None
) -> list[Any]:
    from anabranch.cli.local import embedded_server
    from anabranch.graph.plan import plan_graph
    from anabranch.graph.run_id import run_id
    from anabranch.settings import on_this_machine
    from anabranch.testkit.given import read_outcomes
    from anabranch.testkit.rehearsal import rehearsed
    from anabranch.transport.search_attributes import SEARCH_ATTRIBUTES, own_keys
    from anabranch.workflows.interpreter.input import check_input

    plan = plan_graph(loaded.graph, loaded.graphs)
    given = read_outcomes(outcomes, plan) if outcomes else {}
    check_input(plan, data)
    run = run_id(loaded.graph, data) or f"{loaded.graph.name}-{uuid.uuid4().hex[:8]}"
    keys = (*SEARCH_ATTRIBUTES, *own_keys((loaded.graph, *loaded.graphs.values())))
    with err().status("playing it on a server of its own"):
        async with embedded_server(settings, search_attributes=keys) as (_, client):
            return await rehearsed(client, on_this_machine(settings), loaded, data, given, run=run)


def _show(loaded: LoadedGraph, usages: dict[str, Usage]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(f"one run of {plain(loaded.graph.name)}")
    for name in usages:
        table.add_column(name, justify="right")
    for field, title in _ROWS.items():
        counts = [getattr(usage, field) for usage in usages.values()]
        if any(count != 0 for count in counts):
            table.add_row(title, *("no limit" if count is None else f"{count:,}" for count in counts))
    print_block(table)
    out().print(
        Text("Actions are those of Temporal Cloud. Queries, and who reads a history, are not among them.", "dim")
    )
