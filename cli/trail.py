"""`anabranch history`, `diff` and `blame`: the versions of a run's context."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from anabranch.cli.opening import Opened
from anabranch.cli.report import err, print_block, print_json
from anabranch.cli.show import clock
from anabranch.cli.versions import short, versions_table
from anabranch.context.values import Json, Missing, Path, format_path, parse_path
from anabranch.display import plain
from anabranch.errors import InputError
from anabranch.inspection import reports
from anabranch.inspection.blame import Blamed, blame
from anabranch.inspection.lineage import changes_between

_NAME, _VALUE = 18, 10
"""Columns that a name, and a value, have at least, where it is as long."""


async def show_history(opened: Opened, path: str | None, *, as_json: bool) -> None:
    """Print the versions, or those that changed something at a path."""
    lineage = opened.lineage
    found = list(lineage) if path is None else lineage.about(parse_path(path))
    told = reports.versions(found)
    for entry in told:
        entry.pop("left_out", None)
    if as_json:
        print_json(told)
        return
    if (first := next(iter(lineage), None)) is not None and first.number > 1:
        err().print(f"the versions before {first.number} are in the histories of earlier runs of the workflow")
    if told:
        print_block(versions_table(told, with_times=True))
    else:
        err().print("no version" if path is None else f"no version changed {plain(path)}")


async def show_diff(opened: Opened, first: int, second: int, *, as_json: bool) -> None:
    """Print what differs between two versions."""
    before, after = opened.lineage.after(first), opened.lineage.after(second)
    if missing := before.missing | after.missing:
        raise InputError(
            f"version {min(missing)} is in the history of an earlier run of the workflow",
            suggestion="give the workflow id, so that the runs before can be read too",
        )
    changed = changes_between(before, after)
    if as_json:
        print_json(reports.changes(changed, before))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("path", overflow="fold")
    table.add_column(f"version {first}", overflow="fold")
    table.add_column(f"version {second}", overflow="fold")
    for path in sorted((*changed.set, *changed.removed)):
        old, new = before.value(path), after.value(path)
        table.add_row(plain(format_path(path)), Text(_value(old), "red"), Text(_value(new), "green"))
    print_block(table if changed else Text("no difference"))


async def show_blame(opened: Opened, path: str | None, moment: str | None, *, as_json: bool) -> None:
    """Print who wrote each path last."""
    if moment is not None:
        opened = await opened.at(moment)
    line = opened.inspection.line
    inside: Path = () if path is None else parse_path(path)
    found = [] if line is None else blame(line, opened.lineage, inside)
    if as_json:
        print_json(reports.blamed(found))
        return
    if not found:
        raise InputError(f"nothing was ever at {path!r}" if path else "the context is empty")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("path", overflow="fold", min_width=min(_NAME, max(len(format_path(each.path)) for each in found)))
    table.add_column("value", overflow="fold", ratio=1, min_width=_VALUE)
    table.add_column("version", justify="right", no_wrap=True)
    table.add_column("by", overflow="fold", min_width=min(_NAME, max(len(each.by) for each in found)))
    table.add_column("when", no_wrap=True)
    for each in found:
        table.add_row(*_blamed(each))
    print_block(table)


def _blamed(each: Blamed) -> tuple[Any, ...]:
    number = "earlier" if each.version is None else str(each.version)
    when = "" if each.at is None else clock(each.at)[11:]
    return plain(format_path(each.path)), Text(_value(each.value)), number, plain(each.by), when


def _value(value: Json | Missing) -> str:
    return "absent" if isinstance(value, Missing) else plain(short(value, "null"))
