"""Each frame of a run is what a worker answers that is given the history up to there, and nothing else."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anabranch.inspection.history import History
from anabranch.inspection.inspect import Inspector
from anabranch.inspection.inspection import Inspection, status_of
from anabranch.transport.converter import data_converter
from anabranch.workflows.interpreter.excerpt import newest_versions
from anabranch.workflows.interpreter.size import ByteBudget
from anabranch.workflows.interpreter.trail import AuditTrail
from tests.inspection.truth import answers
from tests.replay.record import HISTORIES

FILES = sorted(HISTORIES.glob("*.json.gz"))
LARGE = {"many_skipped", "heavy", "wide", "asked_while_loading", "wide_start"}
"""Histories that take long to replay: of each only some frames are compared, unless the test is a slow one."""


def name_of(path: Path) -> str:
    return path.name.removesuffix(".json.gz")


def history_at(path: Path) -> History:
    return History.from_json(gzip.decompress(path.read_bytes()).decode())


@pytest.fixture
def inspector() -> Iterator[Inspector]:
    made = Inspector(data_converter())
    yield made
    made.close()


def seen(inspection: Inspection, index: int) -> dict[str, Any]:
    """A frame as the queries answer."""
    frame = inspection.frames[index]
    trail = AuditTrail()
    trail.versions = [each for each in inspection.lineage if each.number <= frame.versions][-1000:]
    trail.count = frame.versions
    context = {"number": frame.versions, "data": dict(frame.context)}
    if frame.in_conflict:
        context["in_conflict"] = list(frame.in_conflict)
    return {"status": status_of(inspection, index), "history": newest_versions(trail, ByteBudget()), "context": context}


def without_limits(told: dict[str, Any]) -> dict[str, Any]:
    """What queries answer, without what only says who is asked."""
    context = {key: value for key, value in told["context"].items() if key not in {"session_id", "version"}}
    return {**told, "context": context}


def without_times(told: dict[str, Any]) -> dict[str, Any]:
    """The same without when each version was made.

    A worker that is given a part of a workflow task's events knows an earlier time than one that is given all.
    """
    return {**told, "history": [{**version, "at": None} for version in told["history"]]}


async def compare(inspection: Inspection, history: History, indices: list[int]) -> None:
    for index in indices:
        event_id = inspection.frames[index].event_id
        told = await answers(history.until(event_id))
        assert seen(inspection, index) == without_limits(told), f"event {event_id}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
async def test_each_frame_of_a_recorded_run_is_what_a_worker_answers(path: Path, inspector: Inspector) -> None:
    history = history_at(path)
    inspection = await inspector.inspect(history)
    indices = [*range(len(inspection.frames))]
    await compare(inspection, history, indices[:: max(1, len(indices) // 2)] if name_of(path) in LARGE else indices)


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=name_of)
async def test_a_run_at_each_of_its_events_is_what_a_worker_answers(path: Path, inspector: Inspector) -> None:
    history = history_at(path)
    inspection = await inspector.inspect(history)
    for event in history.events[inspection.frames[0].event_id - 1 :]:
        told = await answers(History(history.workflow_id, history.until(event.event_id).heard))
        index = inspection.at(event.event_id)
        assert index is not None
        assert without_times(seen(inspection, index)) == without_times(without_limits(told)), f"event {event.event_id}"
