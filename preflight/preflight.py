"""The preflight: graphs, what they need, and the servers of the settings, looked at side by side within seconds."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import chain
from threading import Event
from typing import Any, Final, TypeAlias

import structlog

from anabranch.activities.python import known_handlers
from anabranch.activities.registry import NodeActivities
from anabranch.errors import AnabranchError, GraphError, SourceLocation, Unavailable
from anabranch.graph.kinds.kind import Runs
from anabranch.graph.kinds.kinds import types_that_run
from anabranch.graph.load import LoadedGraph, load_each
from anabranch.graph.source.index import FolderIndex
from anabranch.imports import OwnCode
from anabranch.preflight.finding import Finding, findings_of
from anabranch.preflight.means import Means, unforeseen
from anabranch.preflight.needs import Need, Sort, needs_of
from anabranch.preflight.services import check_attributes, reach, reach_temporal, services
from anabranch.settings import Settings
from anabranch.sql import DRIVERS

GRAPHS_SECONDS: Final = 10.0
"""How long a worker looks at its graphs before it serves them."""
_ANSWER_SECONDS: Final = 5.0
"""How long each server has to answer."""
_IMPORT_SECONDS: Final = 20.0
"""How long the module of a handler or of a node type has to be imported. Some bring large libraries."""

_LISTED: Final = (Sort.CONNECTION, Sort.MODEL, Sort.SECRET)
"""What the worker's environment has for graphs."""
_CODE: Final = (Sort.HANDLER, Sort.NODE_TYPE)
_Answer: TypeAlias = tuple[str, list[Finding]]

log = structlog.get_logger("anabranch.worker")


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker would serve and has, as names by sort (`graphs`, `connections`, …), and all that is wrong."""

    served: dict[str, list[str]]
    findings: tuple[Finding, ...] = ()

    def log(self) -> None:
        """One line for each finding: a warning where it may pass by itself, else an error."""
        for each in self.findings:
            told = {"place": None if each.place is None else str(each.place), "suggestion": each.suggestion}
            given = {name: value for name, value in told.items() if value is not None}
            (log.warning if each.may_pass else log.error)(
                "preflight finding", code=each.code, reason=each.message, **given
            )


@dataclass(slots=True)
class _Library:
    """The graphs of a folder that can be served, and what is wrong with the others."""

    graphs: list[LoadedGraph] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    is_whole: bool = True


async def preflight(
    settings: Settings,
    own: OwnCode,
    activities: NodeActivities,
    *,
    ask: bool = True,
    temporal: bool = False,
    graphs_seconds: float = math.inf,
) -> Report:
    """Look at everything that a worker with these settings, and the user's `own` code, would serve and use.

    `ask` is whether servers are asked, `temporal` whether Temporal's is too. Raises GraphError where the folder of
    graphs cannot be listed, or is too large.
    """
    library = await _library(settings, graphs_seconds)
    needs: dict[Need, list[SourceLocation]] = {}
    for loaded in library.graphs:
        for need, place in needs_of(loaded, settings.task_queue):
            needs.setdefault(need, []).append(place)
    await asyncio.to_thread(_import_what_asks, settings, needs)
    means = Means(settings, own, activities, ask=ask)
    lacking, answers, attributes = await asyncio.gather(
        asyncio.gather(*(_outcome(need, places, means) for need, places in needs.items())),
        _answers(settings, temporal=temporal) if ask else _no_answers(),
        _attributes(settings, library) if ask and temporal else _nothing(),
    )
    served = what_is_served(settings, own)
    served["graphs"] = _servable(served["graphs"], library)
    for sort in _LISTED:
        served[sort.value] = [
            need.name for need, found in zip(needs, lacking, strict=True) if need.sort is sort and not found
        ]
    served["services"] = [name for name, found in answers if not found]
    findings = [*library.findings, *chain.from_iterable(lacking), *chain.from_iterable(found for _, found in answers)]
    findings += attributes
    return Report(served, tuple(dict.fromkeys(findings)))


def what_is_served(settings: Settings, own: OwnCode) -> dict[str, list[str]]:
    """The names of all that a worker serves, without a look at any of it."""
    return {
        "graphs": sorted(FolderIndex(settings.graphs, below=settings.graphs_below).names().values()),
        "node_types": list(types_that_run(by={Runs.HANDLER})),
        "handlers": sorted(known_handlers()),
        "workflows": own.workflow_names,
        "activities": own.activity_names,
    }


async def _library(settings: Settings, seconds: float) -> _Library:
    stop = Event()
    try:
        return await asyncio.to_thread(_load, settings, seconds, stop)
    finally:
        stop.set()


def _load(settings: Settings, seconds: float, stop: Event) -> _Library:
    """Load the graphs, in a thread: a large one takes seconds."""
    folder, library, until = str(settings.graphs), _Library(), time.monotonic() + seconds
    for each in load_each(settings.graphs, below=settings.graphs_below):
        if isinstance(each, GraphError):
            library.findings += findings_of(each, folder)
        else:
            library.graphs.append(each)
        if stop.is_set() or time.monotonic() > until:
            library.is_whole = False
            library.findings += findings_of(_unfinished(len(library.graphs), seconds), folder)
            break
    return library


def _unfinished(count: int, seconds: float) -> Unavailable:
    return Unavailable(
        f"not all graphs could be looked at within {seconds:g} s, only {count}",
        suggestion="they are served all the same; `anabranch check` looks at all",
    )


def _servable(names: list[str], library: _Library) -> list[str]:
    """The names that only one file has, without those of files with problems."""
    valid = {each.graph.name for each in library.graphs}
    return [name for name in names if names.count(name) == 1 and (name in valid or not library.is_whole)]


def _import_what_asks(settings: Settings, needs: Iterable[Need]) -> None:
    """Import what takes seconds, while nobody waits for an answer."""
    schemes = {url.partition(":")[0].lower() for url in services(settings).values()}
    if not schemes.isdisjoint(DRIVERS) or any(need.sort is Sort.CONNECTION for need in needs):
        import_module("anabranch.activities.sql.databases")


async def _outcome(need: Need, places: Sequence[SourceLocation], means: Means) -> list[Finding]:
    """What is wrong with something that graphs name, at its first place."""
    seconds = _IMPORT_SECONDS if need.sort in _CODE else _ANSWER_SECONDS
    try:
        found = await _within(seconds, means.check(need), places[0])
    except (Exception, SystemExit) as error:  # code of others, which was imported
        found = list(findings_of(unforeseen(need, error), places[0]))
    if len(places) == 1:
        return found
    more = f"{len(places) - 1} other place{'s' * (len(places) > 2)}"  # noqa: PLR2004 - one other
    return [replace(each, message=f"{each.message} (also at {more})") for each in found]


async def _no_answers() -> list[_Answer]:
    return []


async def _nothing() -> list[Finding]:
    return []


async def _attributes(settings: Settings, library: _Library) -> list[Finding]:
    graphs = [each.graph for each in library.graphs]
    return await _within(_ANSWER_SECONDS, check_attributes(settings, graphs), "Temporal")


async def _answers(settings: Settings, *, temporal: bool) -> list[_Answer]:
    asked = {variable: reach(variable, url) for variable, url in services(settings).items()}
    if temporal:
        asked["Temporal"] = reach_temporal(settings)
    found = await asyncio.gather(*(_answer(name, asking) for name, asking in asked.items()))
    return list(zip(asked, found, strict=True))


async def _answer(name: str, asking: Coroutine[Any, Any, None]) -> list[Finding]:
    """What is wrong with a server. What a client library lets through is no reason not to start."""
    try:
        return await _within(_ANSWER_SECONDS, asking, name)
    except Exception as error:  # its words may hold the URL
        return list(findings_of(Unavailable(f"it cannot be asked: {type(error).__name__}"), name))


async def _within(seconds: float, check: Coroutine[Any, Any, None], place: SourceLocation | str) -> list[Finding]:
    """What a check raises, if it is an error of ours, or does not end in time."""
    try:
        async with asyncio.timeout(seconds):
            await check
    except AnabranchError as error:
        return list(findings_of(error, place))
    except TimeoutError:
        return list(findings_of(Unavailable(f"no answer within {seconds:g} s"), place))
    return []
