"""`anabranch show`: one run at one moment."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from anabranch.cli.abridged import ALL, abridged, names
from anabranch.cli.opening import Opened
from anabranch.cli.report import print_block, print_json
from anabranch.cli.run_tree import RunTree
from anabranch.context.values import Json
from anabranch.display import plain
from anabranch.inspection import reports
from anabranch.inspection.inspection import Inspection, status_of
from anabranch.inspection.runs import Pending

_TASKS = 10


async def show_run(opened: Opened, moment: str | None, *, as_json: bool) -> None:
    """Print a run on standard output. Raises InputError for a moment that it has not."""
    if moment is not None:
        opened = await opened.at(moment)
    if as_json:
        print_json(reports.run(opened.inspection, opened.pending))
    else:
        _draw(opened)


def _draw(opened: Opened) -> None:
    inspection = opened.inspection
    graph = inspection.graph
    if graph is None:
        name = plain(inspection.workflow_type)
        print_block(Text.assemble((f"{name} · {plain(inspection.workflow_id)}", "bold"), f"  {inspection.status}"))
        print_block("no worker has loaded its graph" if inspection.closing is None else "its graph was never loaded")
    else:
        tree = RunTree(graph, inspection.workflow_id)
        tree.show({**status_of(inspection), "status": inspection.status})
        tree.show_history(reports.versions(opened.lineage))
        is_open = inspection.closing is None
        print_block(tree.drawn(now=inspection.last_event_at / 1000, asks=is_open))
        context, is_cut = abridged(inspection.last.context)
        cut = f"  abridged: {ALL}" if is_cut else ""
        print_block(Text.assemble("\n", ("context", "bold"), f"  version {inspection.last.versions}", (cut, "dim")))
        print_block(Text(context))
    for line in (*_open(opened), *end_of(inspection)):
        print_block(line)


def _open(opened: Opened) -> Iterator[Text]:
    """What the run waits for."""
    inspection = opened.inspection
    if inspection.closing is not None or not inspection.frames:
        return
    known, last = {each.address: each for each in opened.pending}, inspection.last
    asked = {*last.approvals, *last.conflicts, *last.paused, *last.events}  # which are told beside the drawing
    tasks = sorted((each for each in last.open_tasks if each not in asked), key=lambda each: _ease(known.get(each)))
    if tasks:
        yield Text.assemble("\n", ("waits for", "bold"))
    for address in tasks[:_TASKS]:
        yield Text(f"  {plain(address)}{_pending(known.get(address))}")
    if (more := len(tasks) - _TASKS) > 0:
        yield Text(f"  … {more:,} more: {ALL}", "dim")


def _ease(each: Pending | None) -> tuple[bool, int]:
    """What has failed comes first, and of that what was tried most."""
    return (True, 0) if each is None else (each.failure is None, -each.attempt)


def _pending(each: Pending | None) -> str:
    if each is None:
        return ""
    limit = f" of {each.max_attempts}" if each.max_attempts else ""
    state = f"running on {each.worker}" if each.is_running else f"waits in the task queue {each.queue!r}"
    failed = "" if each.failure is None else f"; the last one failed: {each.failure.code}: {each.failure.message}"
    return plain(f"  attempt {each.attempt}{limit}, {state}{failed}")


def end_of(inspection: Inspection) -> Iterator[Text]:
    """How the run ended, and why."""
    if (closing := inspection.closing) is None:
        return
    yield Text.assemble("\n", ("end", "bold"), f"  {closing.kind.replace('_', ' ')} at {clock(closing.at)}")
    if closing.error is not None:
        yield from _why(closing.error)
    if inspection.next_run_id is not None:
        yield Text(f"  it goes on as the run {inspection.next_run_id}")


def _why(error: Mapping[str, Json]) -> Iterator[Text]:
    place = f"node {error['node']!r}" if error.get("node") else ""
    message = str(error.get("message", "")).removeprefix(f"{place}: ")
    yield Text.assemble(
        (f"  {plain(error.get('code', ''))}", "bold red"),
        f" {plain(place)}: {plain(message)}" if place else f" {plain(message)}",
    )
    for title in ("compensated", "not_compensated"):
        if isinstance(steps := error.get(title), list) and steps:
            yield Text(f"  {title.replace('_', ' ')}: {names([*map(str, steps)])}")


def clock(at: int) -> str:
    """A time for people, in UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(" ", "milliseconds").replace("+00:00", "Z")


def indented(value: Any) -> str:
    """A value as JSON for people."""
    return plain(json.dumps(value, indent=2, ensure_ascii=False))
