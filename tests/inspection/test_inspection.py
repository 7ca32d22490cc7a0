"""What an inspection holds beside its frames: versions, attempts, children, events, the end."""

from __future__ import annotations

from typing import Any

import pytest

from anabranch.inspection.inspect import Inspector
from anabranch.inspection.inspection import Inspection
from anabranch.transport.converter import data_converter
from anabranch.workflows.interpreter.node_run import Status
from anabranch.workflows.interpreter.saga import StepState
from tests.inspection.test_history import events, history


async def inspected(name: str, until: int | None = None) -> Inspection:
    inspector = Inspector(data_converter())
    whole = history(events(name))
    try:
        return await inspector.inspect(whole if until is None else whole.until(until))
    finally:
        inspector.close()


async def test_a_failed_saga_tells_what_was_done_and_undone_and_how_it_ended() -> None:
    saga = await inspected("saga")
    assert saga.closing is not None
    assert (saga.status, saga.closing.kind, saga.closing.event_id) == ("failed", "failed", 36)
    assert (saga.closing.error or {})["compensated"] == ["charge", "reserve"]
    ledgers = [[(step.address, str(step.state)) for step in frame.saga] for frame in saga.frames]
    assert ledgers == [
        [("reserve", "scheduled")],
        [("reserve", "done"), ("charge", "scheduled")],
        [("reserve", "done"), ("charge", "done")],
        [("reserve", "done"), ("charge", "compensating")],
        [("reserve", "compensating"), ("charge", "compensated")],
        [("reserve", "compensated"), ("charge", "compensated")],
    ]
    assert [visit.address for visit in saga.visits] == ["reserve", "charge", "ship", "undo charge", "undo reserve"]


async def test_a_saga_in_flight_tells_what_a_cancel_would_undo() -> None:
    saga = await inspected("saga", until=16)
    assert saga.undo_plan is not None
    assert [(step.address, step.is_certain) for step in saga.undo_plan.steps] == [("charge", True), ("reserve", True)]
    assert [step.state for step in saga.last.saga] == [StepState.DONE, StepState.DONE]
    assert saga.closing is None


async def test_the_activities_of_a_node_tell_their_worker_their_times_and_why_they_failed() -> None:
    saga = await inspected("saga")
    (ship,) = saga.activities["ship"]
    assert (ship.attempt, ship.outcome, ship.worker) == (1, "failed", "anabranch-test")
    assert ship.failure is not None
    assert (ship.failure.code, ship.failure.message) == ("NO_STOCK", "no stock")
    assert saga.event_ids["ship"] == (18, 19, 20)
    assert saga.nodes()["ship"].status is Status.FAILED


async def test_children_are_found_by_the_address_of_their_node() -> None:
    bodies = await inspected("bodies")
    assert {address: child.outcome for address, child in bodies.children.items()} == {"child": "completed"}
    assert bodies.children["child"].workflow_id == f"{bodies.workflow_id}/child"


async def test_a_run_that_continued_as_new_names_the_next_one() -> None:
    drained = await inspected("drained")
    assert (drained.status, drained.last.status) == ("continued", "running")
    assert drained.next_run_id is not None
    assert drained.previous_run_id is None


async def test_the_versions_tell_writers_and_conflicts_with_what_was_chosen() -> None:
    conflicts = await inspected("diamond_with_conflicts")
    merge = next(version for version in conflicts.lineage if version.kind == "merge")
    assert {each.path: each.value for each in merge.conflicts}[("total",)] == 17
    assert conflicts.lineage.after(merge.number).data["total"] == 17


async def test_the_same_history_is_replayed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    inspector, whole = Inspector(data_converter()), history(events())
    first = await inspector.inspect(whole)
    monkeypatch.setattr("anabranch.inspection.inspect.replay", None)
    assert await inspector.inspect(history(events())) is first


async def test_nothing_is_logged_traced_or_counted_of_a_run_that_is_inspected(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    for until in (3, 10, 16, 36):
        await inspected("saga", until)
    told: list[Any] = [record for record in caplog.records if record.name.startswith("anabranch")]
    assert told == []
