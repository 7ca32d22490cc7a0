"""`anabranch schedules`: what a namespace starts by itself, as the graphs of a folder say it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from anabranch.cli.arguments import GraphsOption, JsonOption, TaskQueueOption
from anabranch.cli.report import out, print_block, print_json, show_finding
from anabranch.display import one_line, plain
from anabranch.settings import Settings, settings_from_environment

if TYPE_CHECKING:
    from temporalio.client import Client

    from anabranch.context.values import Json
    from anabranch.transport.schedules import Found, Wanted

T = TypeVar("T")
DeleteOption = Annotated[
    bool,
    typer.Option(
        "--delete-removed", help="Also delete what was made here for this task queue, and no graph asks for any more."
    ),
]
schedules = typer.Typer(no_args_is_help=True, help="What the namespace starts by itself, as graphs say it.")


class Act(StrEnum):
    """What is to be done with a schedule."""

    CREATE = "create"
    CHANGE = "change"
    KEEP = "keep"
    REMOVE = "remove"
    LOST = "lost"
    """It was made here, and no graph asks for it any more: it stays until somebody says that it may go."""
    LEAVE = "leave"
    """Somebody else made it: it stays as it is."""


@dataclass(frozen=True, slots=True)
class Step:
    """One schedule and what is to be done with it."""

    act: Act
    id: str
    wanted: Wanted | None = None
    found: Found | None = None

    @property
    def differences(self) -> Mapping[str, tuple[Json, Json]]:
        """What is to be changed: what the server has, and what the graph says."""
        if self.act is not Act.CHANGE or self.found is None or self.wanted is None:
            return {}
        return self.found.differences(self.wanted)

    @property
    def said(self) -> Mapping[str, Json]:
        """What the graph says; of one that no graph asks for, what the server has."""
        if self.wanted is not None:
            return self.wanted.said
        return (self.found and self.found.said) or {}


@schedules.command("diff")
def diff(
    *,
    graphs: GraphsOption = None,
    task_queue: TaskQueueOption = None,
    delete_removed: DeleteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show what `apply` would do; the exit code is 1 if that is anything."""
    steps = _on_server(graphs, task_queue, lambda settings, client: _plan(settings, client, delete=delete_removed))
    _show(steps, as_json=as_json)
    if any(step.act not in (Act.KEEP, Act.LOST) for step in steps):
        raise typer.Exit(1)


@schedules.command("apply")
def apply(
    *,
    graphs: GraphsOption = None,
    task_queue: TaskQueueOption = None,
    delete_removed: DeleteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make the namespace's schedules what the graphs of a folder say; what is the same is left alone.

    What is to be done is shown first. Schedules of others are never touched: one that has the id of ours is an error.
    """

    async def applied(settings: Settings, client: Client) -> list[Step]:
        steps = await _plan(settings, client, delete=delete_removed)
        _show(steps, as_json=as_json)
        for step in steps:
            await _carry_out(step, client)
        return steps

    steps = _on_server(graphs, task_queue, applied)
    if any(step.act is Act.LEAVE for step in steps):
        raise typer.Exit(1)


@schedules.command("list")
def list_schedules(
    *, graphs: GraphsOption = None, task_queue: TaskQueueOption = None, as_json: JsonOption = False
) -> None:
    """List the schedules that were made for a task queue: when they start what, and when next."""

    async def found(settings: Settings, client: Client) -> list[Found]:
        from anabranch.transport.schedules import ours

        return [each async for each in ours(client, settings.task_queue)]

    from anabranch.transport.schedules import when

    listed = _on_server(graphs, task_queue, found)
    if as_json:
        print_json([{"id": each.id, **(each.said or {}), "next": when(each.next_at)} for each in listed])
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("graph", "times", "zone", "input", "next"):
        table.add_column(title, overflow="fold")
    for each in listed:
        said = each.said or {}
        coming = "paused" if said.get("paused") else when(each.next_at) or ""
        given = one_line(_json(said.get("input")), _LONGEST)
        table.add_row(*map(plain, (said.get("graph"), _times(said), said.get("timezone"), given, coming)))
    print_block(table)


def _on_server(graphs: object, task_queue: str | None, act: Callable[[Settings, Client], Awaitable[T]]) -> T:
    """Do something on the server that the environment names. Raises AnabranchError."""
    from temporalio.service import RPCError

    from anabranch.cli.logs import log_to_stderr
    from anabranch.errors import Unavailable
    from anabranch.transport.client import connect

    settings = settings_from_environment(task_queue=task_queue, graphs=graphs)
    log_to_stderr(logging.WARNING)

    async def connected() -> T:
        try:
            return await act(settings, await connect(settings))
        except RPCError as error:
            raise Unavailable(f"the Temporal server refuses: {error.message}") from error

    return asyncio.run(connected())


async def _plan(settings: Settings, client: Client, *, delete: bool) -> list[Step]:
    """What is to be done, in the order of the graphs' names. Raises GraphError, where one of the graphs is broken."""
    from anabranch.graph.load import load_library
    from anabranch.transport.schedules import Wanted, find, ours

    library = load_library(settings.graphs)
    wanted = Wanted.of((each.graph for each in library.values()), settings.task_queue)
    steps = [_step(each, await find(client, each.id)) for _, each in sorted(wanted.items())]
    known = {step.id for step in steps}
    others = [each async for each in ours(client, settings.task_queue) if each.id not in known]
    return steps + [Step(Act.REMOVE if delete else Act.LOST, each.id, found=each) for each in others]


def _step(wanted: Wanted, found: Found | None) -> Step:
    if found is None:
        return Step(Act.CREATE, wanted.id, wanted)
    if found.said is None:
        return Step(Act.LEAVE, wanted.id, wanted, found)
    return Step(Act.CHANGE if found.differences(wanted) else Act.KEEP, wanted.id, wanted, found)


async def _carry_out(step: Step, client: Client) -> None:
    from anabranch.transport.schedules import change, create, remove

    if step.act is Act.CREATE and step.wanted is not None:
        await create(client, step.wanted)
    elif step.act is Act.CHANGE and step.wanted is not None:
        await change(client, step.wanted)
    elif step.act is Act.REMOVE and step.found is not None:
        await remove(client, step.found)


_LONGEST = 40
_STYLES = {
    Act.CREATE: "green",
    Act.CHANGE: "yellow",
    Act.KEEP: "dim",
    Act.REMOVE: "red",
    Act.LOST: "yellow",
    Act.LEAVE: "bold red",
}


def _show(steps: list[Step], *, as_json: bool) -> None:
    if as_json:
        print_json([_as_json(step) for step in steps])
    elif not steps:
        out().print("no graph has a schedule")
    for step in () if as_json else steps:
        act = (f"{step.act.value:8}", _STYLES[step.act])
        out().print(Text.assemble(act, plain(step.id), (f"  {plain(_times(step.said))}", "dim")))
        for name, (have, want) in step.differences.items():
            out().print(Text(plain(f"        {name}: {_json(have)} → {_json(want)}")))
    for step in steps:
        if step.act is Act.LOST:
            message = "no graph of the folder asks for this schedule, and it goes on"
            show_finding("SCHEDULE_LOST", step.id, message, "`--delete-removed` deletes it", warning=True)
        if step.act is Act.LEAVE:
            message = "a schedule with this id is there, and Anabranch did not make it"
            show_finding("SCHEDULE_TAKEN", step.id, message, "delete it, or give the graph another name")


def _as_json(step: Step) -> dict[str, Json]:
    differences: dict[str, Json] = {name: list(both) for name, both in step.differences.items()}
    return {"id": step.id, "graph": step.said.get("graph"), "act": step.act.value, "differences": differences}


def _times(said: Mapping[str, Json]) -> str:
    """When it starts runs, in a few words."""
    crons, every = said.get("cron"), said.get("every")
    words = [str(each) for each in crons] if isinstance(crons, list) else []
    words += [f"every {each} s" for each in every] if isinstance(every, list) else []
    return ", ".join(words)


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)
