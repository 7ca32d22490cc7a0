"""Schedules of a namespace that are made of graphs, and how they are compared with what the graphs say.

Ours are those with our prefix in their id and our mark in their memo. No other one is ever changed or deleted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleCalendarSpec,
    ScheduleDescription,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from anabranch.context.values import Json
from anabranch.errors import InputError
from anabranch.graph import policies
from anabranch.graph.cron import Cron, parse_cron
from anabranch.graph.model import Graph
from anabranch.graph.run_id import run_id
from anabranch.limits import SERVER_NAME_BYTES

MARK: Final = "anabranch_schedule"
"""The key of the memo that says of which graph a schedule is."""
_PREFIX: Final = "anabranch"
Said = Mapping[str, Json]
"""What a schedule says, as JSON: the same for a graph's and for the server's."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The schedule of a graph whose runs are started on a task queue."""

    graph: Graph
    schedule: policies.Schedule
    task_queue: str

    @classmethod
    def of(cls, graphs: Iterable[Graph], task_queue: str) -> dict[str, Self]:
        """The schedules of graphs, by the names of the graphs. Raises InputError for one whose id is too long."""
        found = {each.name: cls(each, each.schedule, task_queue) for each in graphs if each.schedule is not None}
        for each in found.values():
            if (size := len(each.id.encode())) > SERVER_NAME_BYTES:
                raise InputError(
                    f"the schedule of {each.graph.name!r} would have an id of {size} bytes, over {SERVER_NAME_BYTES}",
                    suggestion="give the graph or the task queue a shorter name",
                )
        return found

    @property
    def id(self) -> str:
        """The id of the schedule."""
        return prefix_of(self.task_queue) + self.graph.name

    @property
    def said(self) -> Said:
        """What it says."""
        schedule = self.schedule
        given: dict[str, Any] = schedule.input
        crons: list[Json] = [*sorted(str(parse_cron(text)) for text in schedule.crons)]
        every: list[Json] = [] if schedule.every is None else [_seconds(schedule.every)]
        return {
            "graph": self.graph.name,
            "task_queue": self.task_queue,
            "workflow_id": run_id(self.graph, schedule.input) or self.graph.name,
            "input": given,
            "cron": crons,
            "every": every,
            "timezone": schedule.timezone if schedule.crons else "UTC",
            "jitter": _seconds(schedule.jitter or timedelta(0)),
            "overlap": schedule.overlap,
            "catchup": _seconds(schedule.catchup),
            "paused": schedule.paused,
        }

    def made(self, before: ScheduleState | None = None) -> Schedule:
        """It as the server takes it; `before` is what the one there was like, where the graph does not say."""
        schedule, state = self.schedule, before or ScheduleState()
        said = self.said
        if schedule.paused is not None:
            state.paused = schedule.paused
        return Schedule(
            action=ScheduleActionStartWorkflow(
                self.graph.name,
                schedule.input,
                id=str(said["workflow_id"]),
                task_queue=self.task_queue,
                static_summary=f"{self.graph.name} by its schedule",
            ),
            spec=ScheduleSpec(
                calendars=[_calendar(text) for text in schedule.crons],
                intervals=[] if schedule.every is None else [ScheduleIntervalSpec(schedule.every)],
                jitter=schedule.jitter,
                time_zone_name=str(said["timezone"]),
            ),
            policy=SchedulePolicy(
                overlap=ScheduleOverlapPolicy[schedule.overlap.upper()], catchup_window=schedule.catchup
            ),
            state=state,
        )


@dataclass(frozen=True, slots=True)
class Found:
    """A schedule of the server. `said` is None of one that is not ours."""

    id: str
    said: Said | None
    next_at: datetime | None = None

    def differences(self, wanted: Wanted) -> dict[str, tuple[Json, Json]]:
        """What is to be changed: what it says, and what it should."""
        have, want = self.said or {}, wanted.said
        return {
            name: (have.get(name), value)
            for name, value in want.items()
            if have.get(name) != value and not (name == "paused" and value is None)
        }


def prefix_of(task_queue: str) -> str:
    """What the ids of the schedules begin with whose runs are started on a task queue."""
    return f"{_PREFIX}:{task_queue}:"


async def find(client: Client, schedule_id: str) -> Found | None:
    """The schedule of an id; None where there is none. Raises RPCError."""
    try:
        described = await client.get_schedule_handle(schedule_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    coming = described.info.next_action_times
    return Found(schedule_id, await _said(client, described), coming[0] if coming else None)


async def ours(client: Client, task_queue: str) -> AsyncIterator[Found]:
    """All of ours of a task queue, as far as the server lists them yet. Raises RPCError."""
    ids = [each.id async for each in await client.list_schedules() if each.id.startswith(prefix_of(task_queue))]
    for each in sorted(ids):
        if (found := await find(client, each)) is not None and found.said is not None:
            yield found


async def create(client: Client, wanted: Wanted) -> None:
    """Make the schedule of a graph, which is not there. Raises ScheduleAlreadyRunningError, RPCError."""
    await client.create_schedule(wanted.id, wanted.made(), memo={MARK: wanted.graph.name})


async def change(client: Client, wanted: Wanted) -> None:
    """Let a schedule of ours say what its graph does. Raises RPCError."""

    def changed(given: ScheduleUpdateInput) -> ScheduleUpdate:
        return ScheduleUpdate(wanted.made(given.description.schedule.state))

    await client.get_schedule_handle(wanted.id).update(changed)


async def remove(client: Client, found: Found) -> None:
    """Delete a schedule of ours; its runs go on. Raises RPCError."""
    await client.get_schedule_handle(found.id).delete()


async def _said(client: Client, described: ScheduleDescription) -> Said | None:
    if MARK not in described.raw_description.memo.fields:
        return None
    schedule, action = described.schedule, described.schedule.action
    if not isinstance(action, ScheduleActionStartWorkflow):
        return None
    values = await client.data_converter.decode(list(action.args))
    spec, policy = schedule.spec, schedule.policy
    crons: list[Json] = [*sorted(map(_cron_of, spec.calendars))]
    every: list[Json] = [_seconds(each.every) for each in spec.intervals]
    return {
        "graph": action.workflow,
        "task_queue": action.task_queue,
        "workflow_id": action.id,
        "input": values[0] if len(values) == 1 else values,
        "cron": crons,
        "every": every,
        "timezone": spec.time_zone_name or "UTC",
        "jitter": _seconds(spec.jitter or timedelta(0)),
        "overlap": ScheduleOverlapPolicy(policy.overlap).name.lower(),
        "catchup": _seconds(policy.catchup_window or timedelta(0)),
        "paused": schedule.state.paused,
    }


def _calendar(text: str) -> ScheduleCalendarSpec:
    minute, hour, day, month, weekday = (_ranges(each) for each in parse_cron(text).fields)
    return ScheduleCalendarSpec(
        minute=minute, hour=hour, day_of_month=day, month=month, day_of_week=weekday, comment=text
    )


def _ranges(allowed: frozenset[int]) -> list[ScheduleRange]:
    return [ScheduleRange(each) for each in sorted(allowed)]


def _cron_of(calendar: ScheduleCalendarSpec) -> str:
    """The spelling of a calendar; with its seconds and years where they are not those of a cron expression."""
    fields = (calendar.minute, calendar.hour, calendar.day_of_month, calendar.month, calendar.day_of_week)
    spelled = str(Cron(tuple(map(_numbers, fields))))
    more = [f"seconds {sorted(seconds)}"] if (seconds := _numbers(calendar.second)) != {0} else []
    more += [f"years {sorted(_numbers(calendar.year))}"] if calendar.year else []
    return "; ".join((spelled, *more))


def _numbers(ranges: Iterable[ScheduleRange]) -> frozenset[int]:
    return frozenset(number for each in ranges for number in range(each.start, each.end + 1, each.step))


def _seconds(time: timedelta) -> float | int:
    seconds = time.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


def when(at: datetime | None) -> str | None:
    """A time of the server in ISO 8601."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
