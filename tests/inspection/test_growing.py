"""A run that is looked at as it grows shows what it shows to somebody who looks for the first time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from anabranch.errors import HistoryInvalid
from anabranch.inspection.growing import Growing
from anabranch.inspection.history import History
from anabranch.inspection.inspect import Inspector
from anabranch.inspection.inspection import Inspection
from anabranch.transport.converter import data_converter
from tests.inspection.test_frames import FILES, LARGE, history_at, name_of

LOOKS = 6
PEOPLE = next(path for path in FILES if name_of(path) == "people")


@pytest.fixture
def inspector() -> Iterator[Inspector]:
    made = Inspector(data_converter())
    yield made
    made.close()


@pytest.fixture
async def growing() -> AsyncIterator[Growing]:
    made = Growing()
    yield made
    await made.aclose()


def shown(inspection: Inspection) -> dict[str, Any]:
    """All that an inspection tells of a run."""
    return {
        "status": inspection.status,
        "frames": inspection.frames,
        "versions": [*inspection.lineage],
        "visits": inspection.visits,
        "activities": inspection.activities,
        "children": inspection.children,
        "event_ids": inspection.event_ids,
        "skipped": inspection.skipped,
        "line": inspection.line and (inspection.line.data, str(inspection.line.writes)),
        "undo_plan": inspection.undo_plan,
        "end": inspection.closing and inspection.closing.kind,
        "journal": (inspection.journal.entries, inspection.journal.late),
        "kept": inspection.kept,
    }


def moments_of(path: Path, history: History) -> list[int]:
    """Events at which somebody looks, among them neighbours, and the last one."""
    rng, count = random.Random(name_of(path)), len(history.events)
    chosen = {rng.randint(1, count) for _ in range(1 if name_of(path) in LARGE else LOOKS)}
    return sorted({*chosen, *(min(each + 1, count) for each in chosen), count})


@pytest.mark.parametrize("path", FILES, ids=name_of)
async def test_a_run_looked_at_as_it_grows_is_what_it_is_at_the_first_look(
    path: Path, inspector: Inspector, growing: Growing
) -> None:
    history = history_at(path)
    for event_id in moments_of(path, history):
        until = history.until(event_id)
        grown, fresh = (await inspector.inspect(until, growing)), await Inspector(data_converter()).inspect(until)
        assert shown(grown) == shown(fresh), f"event {event_id}"


async def test_its_workflow_is_asked_for_what_is_new_only(inspector: Inspector, growing: Growing) -> None:
    history = history_at(PEOPLE)
    whole = await inspector.inspect(history)
    tasks = [frame.event_id for frame in whole.frames]
    middle = next(event.event_id for event in history.events if event.event_id > tasks[len(tasks) // 2])
    begun = await inspector.inspect(history.until(middle), growing)
    workflow, replayed, asked = growing.instance, growing.replayed, len(growing.told)
    assert asked >= len(begun.frames) > 0
    ended = await Inspector(data_converter()).inspect(history, growing)
    assert growing.instance is workflow
    assert growing.replayed is replayed
    assert len(growing.told) - asked == len(ended.frames) - len(begun.frames) > 0
    assert begun.frames == ended.frames[: len(begun.frames)]  # what was shown before has not changed


async def test_it_is_hardly_ever_made_anew_wherever_somebody_looks(inspector: Inspector, growing: Growing) -> None:
    history, workflows = history_at(PEOPLE), list[object]()
    for event in history.events:
        await Inspector(data_converter()).inspect(history.until(event.event_id), growing)
        if growing.instance is not None and growing.instance not in workflows:
            workflows.append(growing.instance)
    assert len(workflows) <= 2  # while its graph is loaded, nobody knows yet what the next activation brings


async def test_a_visit_under_way_is_not_over_since_nobody_looks_any_more(inspector: Inspector) -> None:
    path = next(path for path in FILES if name_of(path) == "asked_while_loading")
    inspection = await inspector.inspect(history_at(path).until(32))
    under_way = [visit for visit in inspection.visits if visit.ended is None]
    assert len(under_way) > 1
    assert all(visit.failure is None for visit in inspection.visits)
    assert {entry.event for entry in inspection.journal.entries} == {"succeeded"}


async def test_another_history_is_replayed_from_its_start(inspector: Inspector, growing: Growing) -> None:
    histories = [history_at(path) for path in FILES if name_of(path) in {"people", "saga", "loops"}]
    assert len(histories) > 1
    for history in [*histories, histories[0].until(len(histories[0].events) // 2), histories[0]]:
        grown = await Inspector(data_converter()).inspect(history, growing)
        assert shown(grown) == shown(await Inspector(data_converter()).inspect(history))


async def test_what_cannot_be_replayed_leaves_nothing_behind(inspector: Inspector, growing: Growing) -> None:
    history = history_at(PEOPLE)
    await inspector.inspect(history.until(len(history.events) // 2), growing)
    foreign = history_at(PEOPLE)
    for event in foreign.events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            event.activity_task_scheduled_event_attributes.activity_id = "another"
    with pytest.raises(HistoryInvalid):
        await Inspector(data_converter()).inspect(foreign, growing)
    assert growing.instance is None
    grown = await Inspector(data_converter()).inspect(history, growing)
    assert shown(grown) == shown(await inspector.inspect(history))
