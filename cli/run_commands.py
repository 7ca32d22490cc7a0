"""The options of the commands that look at runs; each imports what it does."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

RunArgument: TypeAlias = Annotated[
    str, typer.Argument(metavar="RUN", help="A workflow id, or a file of `temporal workflow show -o json`.")
]
RunIdOption: TypeAlias = Annotated[
    str | None, typer.Option("--run-id", metavar="ID", help="An older run of the workflow id.")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
AtOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--at", metavar="MOMENT", help="As it was: a version's number, `event:20`, or an ISO 8601 time."),
]


def runs(
    *,
    graph: Annotated[str | None, typer.Option("--graph", metavar="G", help="Only runs of this graph.")] = None,
    state: Annotated[
        str | None, typer.Option("--state", metavar="STATES", help="Only runs in these states: `failed,waiting`.")
    ] = None,
    query: Annotated[
        str | None, typer.Option("--query", metavar="QUERY", help="A list filter of Temporal: `StartTime > '…'`.")
    ] = None,
    person: Annotated[
        list[str] | None,
        typer.Option("--for", metavar="NAME", help="Only runs that ask this person, who has not answered yet."),
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option("--group", metavar="GROUP", help="Only runs that ask this group.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1000, help="At most so many.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List runs, the newest first: graph, state, what each waits for, start, and how long it took.

    Where runs do not say in search attributes what they wait for, the histories of open ones are read. A closed run of
    another workflow is listed too, unless --graph leaves it out.

    --for and --group may be given several times: a run is listed where an approval asks one of them. Whom it asks is
    read from its history.
    """
    import asyncio

    from anabranch.cli.runs import show_runs
    from anabranch.inspection.selection import CLOSED_STATES, OPEN_STATES, Selection

    states = [] if state is None else state.split(",")
    for each in states:
        if each not in (*OPEN_STATES, *CLOSED_STATES):
            known = ", ".join((*OPEN_STATES, *CLOSED_STATES))
            raise typer.BadParameter(f"no run is {each!r}: {known}", param_hint="--state")
    with quiet():
        selection = Selection(graph, states, also=query, people=person or (), groups=group or ())
        asyncio.run(show_runs(selection, limit=limit, as_json=as_json))


def watch(
    *,
    run: Annotated[str, typer.Argument(metavar="RUN", help="A workflow id.")],
    run_id: RunIdOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each frame.")] = False,
) -> None:
    """Draw a run while it goes on, whoever started it, until it is over. The exit code is 0 where it completed.

    Its history is polled; no worker is asked. Where it continues as new, the next run is followed.
    """
    import asyncio

    from anabranch.cli.leaving import collect_as_ever
    from anabranch.cli.watch_run import watch_run

    collect_as_ever()
    with quiet():
        code = asyncio.run(watch_run(run, run_id, as_json=as_json))
    if code:
        raise typer.Exit(code)


def show(*, run: RunArgument, at: AtOption = None, run_id: RunIdOption = None, as_json: JsonOption = False) -> None:
    """Show a run: its nodes with their states, its context, what it waits for, and how it ended.

    It is rebuilt from the run's history alone: no worker needs to run, and none is asked.
    """
    from anabranch.cli.opening import shown
    from anabranch.cli.show import show_run

    with quiet():
        shown(run, run_id, lambda opened: show_run(opened, at, as_json=as_json))


def history(
    *,
    run: RunArgument,
    path: Annotated[str | None, typer.Argument(metavar="PATH", help="Only what changed there: `order.total`.")] = None,
    run_id: RunIdOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the versions of a run's context: who changed what, when, and what merges settled."""
    from anabranch.cli.opening import shown
    from anabranch.cli.trail import show_history

    with quiet():
        shown(run, run_id, lambda opened: show_history(opened, path, as_json=as_json))


def diff(
    *,
    run: RunArgument,
    first: Annotated[int, typer.Argument(metavar="V1", help="The number of a version.")],
    second: Annotated[int, typer.Argument(metavar="V2", help="The number of another one.")],
    run_id: RunIdOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what differs between two versions of a run's context."""
    from anabranch.cli.opening import shown
    from anabranch.cli.trail import show_diff

    with quiet():
        shown(run, run_id, lambda opened: show_diff(opened, first, second, as_json=as_json))


def blame(
    *,
    run: RunArgument,
    path: Annotated[str | None, typer.Argument(metavar="PATH", help="Only there: `order.total`.")] = None,
    at: AtOption = None,
    run_id: RunIdOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show who wrote each path of a run's context last, when, and in which version."""
    from anabranch.cli.opening import shown
    from anabranch.cli.trail import show_blame

    with quiet():
        shown(run, run_id, lambda opened: show_blame(opened, path, at, as_json=as_json))


def why(
    *,
    run: RunArgument,
    path: Annotated[str | None, typer.Argument(metavar="PATH", help="A path of the context: `order_status`.")] = None,
    node: Annotated[
        str | None, typer.Option("--node", metavar="NODE", help="Instead of a path: why this node ran, or was skipped.")
    ] = None,
    at: AtOption = None,
    run_id: RunIdOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show why a value is what it is: its writer, what decided there, what that read, and so on to the input.

    Or why a node ran, or was skipped: the conditions of the edges to it, and the values that they saw.
    """
    if (path is None) == (node is None):
        raise typer.BadParameter("give a path of the context, or --node", param_hint="PATH")
    from anabranch.cli.opening import shown
    from anabranch.cli.why import show_why

    with quiet():
        shown(run, run_id, lambda opened: show_why(opened, path, node, at, as_json=as_json))


def undo_plan(
    *, run: RunArgument, at: AtOption = None, run_id: RunIdOption = None, as_json: JsonOption = False
) -> None:
    """Show what a cancel would undo, in which order and on which context; what stays; and what is unknown.

    Nothing is cancelled.
    """
    from anabranch.cli.opening import shown
    from anabranch.cli.undo_plan import show_undo_plan

    with quiet():
        shown(run, run_id, lambda opened: show_undo_plan(opened, at, as_json=as_json))


def replay_check(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The graph's YAML file, as the release has it.")],
    as_json: JsonOption = False,
) -> None:
    """Replay the runs in flight of a graph by this release, and count those that hold another definition of it.

    The exit code is 0 where all of them are replayed: workers of this release may take them over.
    """
    import asyncio

    from anabranch.cli.leaving import collect_as_ever
    from anabranch.cli.replay_check import check_replays

    collect_as_ever()
    with quiet():
        code = asyncio.run(check_replays(file, as_json=as_json))
    if code:
        raise typer.Exit(code)


@contextmanager
def quiet() -> Generator[None]:
    """What libraries log of a replay that fails is no part of what is shown: the error is."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
