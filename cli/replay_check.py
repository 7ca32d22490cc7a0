"""`anabranch replay-check`: what this release would do to the runs in flight of a graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from rich.table import Table
from rich.text import Text
from temporalio.service import RPCError

from anabranch.cli.opening import inspector_for
from anabranch.cli.report import print_block, print_json, show_finding
from anabranch.display import plain
from anabranch.errors import Unavailable
from anabranch.graph.load import LoadedGraph, load_graph
from anabranch.inspection.release import Release, replayed
from anabranch.inspection.runs import Runs
from anabranch.settings import settings_from_environment
from anabranch.transport.client import connect

_DIGEST = 12
_FAILED = 1


async def check_replays(path: Path, *, as_json: bool) -> int:
    """Replay the runs in flight of a graph; the exit code is 0 where all of them replay. Raises GraphError."""
    loaded = load_graph(path)
    settings = settings_from_environment()
    client = await connect(settings)
    runs = Runs(client, inspector_for(client.data_converter, settings, client.namespace))
    try:
        async with aclosing(replayed(client, runs, loaded)) as found:
            each = [release async for release in found]
    except RPCError as error:
        raise Unavailable(f"the Temporal server refuses: {error.message}") from error
    if as_json:
        print_json(_told(loaded, each))
    else:
        _show(loaded, each)
    return _FAILED if any(release.problem is not None for release in each) else 0


def _told(loaded: LoadedGraph, found: Sequence[Release]) -> dict[str, object]:
    return {
        "graph": loaded.graph.name,
        "running": len(found),
        "clean": sum(each.problem is None for each in found),
        "older": sum(_is_older(each) for each in found),
        "runs": [_run(each) for each in found],
    }


def _run(each: Release) -> dict[str, object]:
    told: dict[str, object] = {"workflow_id": each.workflow_id, "run_id": each.run_id}
    if each.problem is not None:
        return told | {"clean": False, "code": each.problem.code, "message": str(each.problem)}
    return told | {"clean": True, "digest": each.digest, "version": each.version, "current": each.is_current}


def _is_older(each: Release) -> bool:
    return each.problem is None and not each.is_current


def _show(loaded: LoadedGraph, found: Sequence[Release]) -> None:
    clean = sum(each.problem is None for each in found)
    runs = f"{len(found)} run{'s' * (len(found) != 1)}"
    head = f"{plain(loaded.graph.name)}: {runs} in flight, {clean} replayed by this release"
    print_block(Text(head, "bold"))
    if clean:
        print_block(_definitions(found))
    for each in found:
        if each.problem is not None:
            show_finding(each.problem.code, plain(each.workflow_id), each.problem.message, each.problem.suggestion)


def _definitions(found: Sequence[Release]) -> Table:
    held = Counter((each.is_current, each.version, each.digest) for each in found if each.problem is None)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("runs", "definition", "version", "digest"):
        table.add_column(title, justify="right" if title == "runs" else "left", no_wrap=title != "version")
    for (is_current, version, digest), count in sorted(held.items(), key=lambda each: (not each[0][0], -each[1])):
        which = Text("this one", "green") if is_current else Text("another one", "yellow")
        held_by = "not loaded yet" if digest is None else digest[:_DIGEST]
        table.add_row(str(count), which, plain(version or ""), held_by)
    return table
