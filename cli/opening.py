"""The run that a command is about: a workflow id on the server that the environment names, or a history file."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import typer
from temporalio.converter import DataConverter
from temporalio.service import RPCError

from anabranch.errors import InputError, Unavailable
from anabranch.inspection.history import History
from anabranch.inspection.inspect import Inspector
from anabranch.inspection.inspection import Inspection
from anabranch.inspection.lineage import Lineage
from anabranch.inspection.runs import Pending, Runs
from anabranch.settings import Settings, settings_from_environment
from anabranch.transport.client import connect, converter_for

T = TypeVar("T")
_EVENT = re.compile(r"event:(\d{1,9})")


@dataclass(frozen=True, slots=True)
class Opened:
    """A run that a command shows."""

    inspection: Inspection
    lineage: Lineage
    """The versions of the whole chain, as far as they can be reached."""
    pending: tuple[Pending, ...]
    """What is under way, as the server knows it."""
    history: History
    inspector: Inspector

    async def at(self, moment: str) -> Opened:
        """The run as it was: at a version, at an event (`event:20`), or at a time. Raises InputError."""
        cut = _cut(self.history, self.inspection, moment)
        inspection = await self.inspector.inspect(cut)
        known = [each for each in self.lineage if inspection.frames and each.number <= inspection.last.versions]
        return replace(self, inspection=inspection, lineage=Lineage(known), pending=(), history=cut)


def shown(run: str, run_id: str | None, show: Callable[[Opened], Awaitable[T]]) -> T:
    """Open a run and show it. Raises InputError, HistoryInvalid, Unavailable, …"""

    async def opened() -> T:
        async with opening(run, run_id) as found:
            return await show(found)

    return asyncio.run(opened())


@asynccontextmanager
async def opening(run: str, run_id: str | None) -> AsyncGenerator[Opened]:
    """The run while the block runs. Raises what `shown` raises."""
    settings = settings_from_environment()
    path = Path(run)
    if path.is_file():  # noqa: ASYNC240 - nothing else runs in this loop yet
        if run_id is not None:
            raise typer.BadParameter("a file holds one run", param_hint="--run-id")
        inspector = inspector_for(converter_for(settings), settings)
        history = History.read(path)
        inspection = await inspector.inspect(history)
        yield Opened(inspection, inspection.lineage, (), history, inspector)
    elif path.suffix == ".json":
        raise InputError("there is no such file", place=run, suggestion="name a history file, or a workflow id")
    else:
        yield await _from_server(run, run_id, settings)


async def _from_server(run: str, run_id: str | None, settings: Settings) -> Opened:
    client = await connect(settings)
    inspector = inspector_for(client.data_converter, settings, client.namespace)
    runs = Runs(client, inspector)
    try:
        history = await runs.history(run, run_id)
        inspection = await inspector.inspect(history)
        pending = () if inspection.closing is not None else await runs.pending(inspection)
        return Opened(inspection, await runs.whole(inspection), pending, history, inspector)
    except RPCError as error:
        raise Unavailable(f"the Temporal server refuses: {error.message}") from error


def inspector_for(converter: DataConverter, settings: Settings, namespace: str = "default") -> Inspector:
    """What inspects runs of workers with these settings."""
    cipher = settings.cipher()
    return Inspector(converter, namespace=namespace, strict=cipher is not None and cipher.strict)


def _cut(history: History, inspection: Inspection, moment: str) -> History:
    if (event := _EVENT.fullmatch(moment)) is not None:
        return history.until(int(event[1]))
    if moment.isascii() and moment.isdigit():
        return history.until(inspection.frames[inspection.made(int(moment))].event_id)
    try:
        time = datetime.fromisoformat(moment)
    except ValueError:
        raise InputError(
            f"{moment!r} is not a moment of the run",
            place="--at",
            suggestion="give the number of a version, `event:20`, or a time such as 2026-11-29T14:00:00Z",
        ) from None
    return history.until_time(time if time.tzinfo else time.astimezone())
