"""`anabranch undo-plan`: what a cancel would undo."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from anabranch.cli.abridged import ALL, Left, folded, names
from anabranch.cli.opening import Opened
from anabranch.cli.report import print_block, print_json
from anabranch.cli.versions import short
from anabranch.display import plain
from anabranch.errors import InputError
from anabranch.inspection import reports
from anabranch.inspection.undo_plan import PlannedUndo, UndoPlan

_KEYS = 4


async def show_undo_plan(opened: Opened, moment: str | None, *, as_json: bool) -> None:
    """Print the plan. Raises InputError for a run whose graph was never loaded."""
    if moment is not None:
        opened = await opened.at(moment)
    if (plan := opened.inspection.undo_plan) is None:
        raise InputError("the run has not begun: no worker has loaded its graph")
    if as_json:
        print_json(reports.plan(plan))
    else:
        draw_plan(plan)


def draw_plan(plan: UndoPlan) -> None:
    """Print the plan for people."""
    print_block(Text(_head(plan), "bold"))
    if plan.steps:
        print_block(_table(plan))
    for title, addresses in (
        ("undone already", plan.done),
        ("could not be undone", plan.failed),
        ("stays", plan.stays),
    ):
        if addresses:
            print_block(Text.assemble((f"{title}: ", "bold"), names(addresses)))
    if plan.pivoted:
        print_block("A pivot has succeeded, or may have: what came before it is not undone any more.")


def _head(plan: UndoPlan) -> str:
    if plan.is_over:
        return "The run is over: a cancel undoes nothing."
    if not plan.steps:
        return "A cancel would undo nothing."
    count = len(plan.steps)
    if count == 1:
        return "A cancel would undo 1 step:"
    order = "those with the same number at the same time" if plan.is_parallel else "one after the other"
    return f"A cancel would undo {count} steps, {order}:"


def _table(plan: UndoPlan) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("", justify="right")
    table.add_column("step", overflow="fold")
    table.add_column("by")
    table.add_column("happened", no_wrap=True)
    table.add_column("its compensation sees", overflow="fold", ratio=1)
    for step in folded(plan.steps, lambda each: each.address):
        if isinstance(step, Left):
            table.add_row("", Text(str(step), "dim"), "", _all_happened(step.entries), Text(ALL, "dim"))
            continue
        keys = [f"{key} = {short(value)}" for key, value in step.sees.items()]
        more = f", and {len(keys) - _KEYS} more" if len(keys) > _KEYS else ""
        table.add_row(
            str(step.wave), plain(step.address), step.type, _happened(step), plain(", ".join(keys[:_KEYS])) + more
        )
    return table


def _all_happened(steps: Sequence[PlannedUndo]) -> Text:
    certain = sum(step.is_certain for step in steps)
    return Text("yes", "green") if certain == len(steps) else Text(f"{certain:,} of them", "yellow")


def _happened(step: PlannedUndo) -> Text:
    if step.is_certain:
        return Text("yes", "green")
    return Text("under way" if step.is_under_way else "unknown", "yellow")
