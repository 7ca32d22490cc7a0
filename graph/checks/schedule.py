"""`schedule` of a graph: times that are none, and an input with which no run would begin."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from anabranch.errors import InputError, Problem
from anabranch.graph.checks.inputs import misfit
from anabranch.graph.cron import CronInvalid, parse_cron
from anabranch.graph.dataflow.dataflow import Library, graph_inputs
from anabranch.graph.expressions.functions.zones import zone_names
from anabranch.graph.model import Graph
from anabranch.graph.policies import Schedule
from anabranch.graph.run_id import run_id
from anabranch.graph.source.problems import did_you_mean
from anabranch.graph.source.yaml_source import Pointer, Source

_SHORTEST = timedelta(seconds=1)
_SHORTEST_CATCHUP = timedelta(seconds=10)


def check_schedule(graph: Graph, source: Source) -> Iterator[Problem]:
    """Problems of the times of a graph's schedule."""
    if (schedule := graph.schedule) is None:
        return
    if bool(schedule.crons) == (schedule.every is not None):
        message = "`schedule` has not exactly one of `cron` and `every`"
        yield Problem("SCHEDULE_TIMES", message, source.place(("schedule",), key=True), "keep one of them")
    for path, text in _crons(schedule):
        try:
            parse_cron(text)
        except CronInvalid as error:
            place = source.place_in(path, error.offset)
            yield Problem(
                "SCHEDULE_CRON", f"`cron` is no cron expression: {error}", place, "such as `30 6 * * MON-FRI`"
            )
    yield from _check_zone(schedule, source)
    yield from _check_durations(schedule, source)


def check_scheduled_input(graph: Graph, library: Library, source: Source) -> Iterator[Problem]:
    """Problems of the input with which a schedule starts runs, where everything else is right."""
    if (schedule := graph.schedule) is None:
        return
    place = source.place(("schedule", "input") if schedule.input else ("schedule",), key=True)
    missing = sorted(graph_inputs(graph, library).keys() - schedule.input.keys())
    for name in missing:
        message = f"`schedule.input` does not give the graph its input `{name}`"
        yield Problem("INPUT_LACKING", message, place, "add it: what a schedule starts has no other input")
    for name, value in schedule.input.items():
        schema = (graph.inputs or {}).get(name)
        if schema is not None and (wrong := misfit(value, schema)) is not None:
            path = ("schedule", "input", name)
            message = f"`schedule.input.{name}` does not fit the input of the graph: {wrong}"
            yield Problem("INPUT_UNFIT", message, source.place(path))
    if not missing:
        try:
            run_id(graph, schedule.input)
        except InputError as error:
            yield Problem(error.code, f"with `schedule.input`, {error}", place)


def _crons(schedule: Schedule) -> Iterator[tuple[Pointer, str]]:
    if isinstance(schedule.cron, str):
        yield ("schedule", "cron"), schedule.cron
    for index, text in enumerate(schedule.cron if isinstance(schedule.cron, tuple) else ()):
        yield ("schedule", "cron", index), text


def _check_zone(schedule: Schedule, source: Source) -> Iterator[Problem]:
    place = source.place(("schedule", "timezone"))
    if schedule.timezone not in zone_names():
        advice = did_you_mean(schedule.timezone, zone_names()) or "write one such as Europe/Berlin"
        yield Problem("SCHEDULE_TIMEZONE", f"there is no time zone {schedule.timezone[:64]!r}", place, advice)
    elif schedule.every is not None and "timezone" in schedule.model_fields_set:
        message = "`timezone` has no effect: `every` counts the time from one start to the next"
        yield Problem("FIELD_HAS_NO_EFFECT", message, place, "remove it, or write a `cron`")


def _check_durations(schedule: Schedule, source: Source) -> Iterator[Problem]:
    if schedule.every is not None and schedule.every < _SHORTEST:
        message = "`every` is below a second, which is the shortest time that the server takes"
        yield Problem("SCHEDULE_TIMES", message, source.place(("schedule", "every")))
    if schedule.catchup < _SHORTEST_CATCHUP:
        message = "`catchup` is below ten seconds, which is the shortest time that the server takes"
        yield Problem("SCHEDULE_TIMES", message, source.place(("schedule", "catchup")))
