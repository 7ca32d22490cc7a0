"""What is no history of a graph's run is refused with a code, and says what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from anabranch.errors import HistoryInvalid, InputError
from anabranch.inspection.history import History
from anabranch.inspection.inspect import Inspector
from anabranch.transport.converter import data_converter
from anabranch.workflows.temporal import failures
from tests.replay.record import HISTORIES
from tests.replay.test_replay import events_of

Events = list[dict[str, Any]]


def events(name: str = "saga") -> Events:
    return events_of(HISTORIES / f"{name}.json.gz")


def history(found: Events) -> History:
    return History.from_json(json.dumps({"events": found}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "this is not the JSON of a history"),
        ("not json", "this is not the JSON of a history"),
        ("[]", "this is not the JSON of a history"),
        ("{}", "this is not the JSON of a history"),
        ('{"events": []}', "the history has no events"),
        ('{"events": [{"eventId": "1", "eventType": "NO_SUCH"}]}', "does not begin with the start of a workflow"),
        (json.dumps({"events": events()})[:5000], "this is not the JSON of a history"),
    ],
)
def test_what_is_no_json_of_a_history_is_refused(text: str, said: str) -> None:
    with pytest.raises(HistoryInvalid, match=said) as refused:
        History.from_json(text, place="run.json")
    assert (refused.value.code, refused.value.place) == ("HISTORY_INVALID", "run.json")


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        (lambda found: found[1:], "does not begin with the start of a workflow, but with event 2"),
        (lambda found: [*found[:9], *found[12:]], "event 10 is missing, event 13 follows"),
        (lambda found: [*found[:3], *found[1:]], "event 2 comes in place 4"),
        (lambda found: [*found, {**found[2], "eventId": "37"}], "goes on after its end at event 36"),
    ],
)
def test_a_history_that_is_not_whole_is_refused(cut: Callable[[Events], Events], said: str) -> None:
    with pytest.raises(HistoryInvalid, match=said):
        history(cut(events()))


def test_a_file_that_is_not_there_and_one_that_is_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        History.read(tmp_path / "none.json")
    (tmp_path / "picture").write_bytes(b"\x89PNG\xff")
    with pytest.raises(HistoryInvalid, match="the file is not JSON text"):
        History.read(tmp_path / "picture")


async def refused(found: Events) -> HistoryInvalid:
    inspector = Inspector(data_converter())
    try:
        with pytest.raises(HistoryInvalid) as raised:
            await inspector.inspect(history(found))
        return raised.value
    finally:
        inspector.close()


async def test_the_run_of_another_program_is_refused() -> None:
    ended = {**events()[-1], "eventId": "5"}
    ended["workflowExecutionFailedEventAttributes"]["workflowTaskCompletedEventId"] = "4"
    foreign = [*events()[:4], ended]
    assert "not that of a graph's run" in str(await refused(foreign))


async def test_a_run_of_a_newer_interpreter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "REVISION", 0)
    error = await refused(events())
    assert "is held to revision 1 of the interpreter" in str(error)
    assert "inspect it with a newer release" in str(error)


async def test_a_run_that_no_worker_has_taken_is_shown_without_a_graph() -> None:
    inspection = await Inspector(data_converter()).inspect(history(events()[:2]))
    assert (inspection.status, inspection.graph, inspection.frames, inspection.undo_plan) == ("loading", None, (), None)
    with pytest.raises(InputError, match="no worker has loaded its graph"):
        _ = inspection.last


@pytest.mark.parametrize(("until", "heard"), [(36, 36), (35, 35), (34, 34), (33, 30), (31, 30), (4, 4), (3, 3), (2, 0)])
def test_a_run_has_heard_of_what_was_there_at_its_last_workflow_task(until: int, heard: int) -> None:
    assert len(history(events()).until(until).heard) == heard


async def test_what_came_since_the_last_workflow_task_is_for_the_next_one() -> None:
    inspector = Inspector(data_converter())
    ahead = await inspector.inspect(history(events()).until(15))
    assert (ahead.last.event_id, ahead.last.open_tasks, ahead.activities["charge"][0].outcome) == (
        10,
        ("charge",),
        "completed",
    )
    inspector.close()


def test_a_history_is_cut_at_an_event_or_a_time() -> None:
    whole = history(events())
    moment = datetime.fromtimestamp(whole.events[9].event_time.ToMilliseconds() / 1000, UTC)
    assert whole.until_time(moment).last.event_id >= 10
    assert (whole.until(10).last.event_id, whole.until(10).closed, whole.closed) == (10, None, "failed")
    with pytest.raises(InputError, match="the history has the events 1 to 36, not 40"):
        whole.until(40)
    with pytest.raises(InputError, match="the run had not started by then"):
        whole.until_time(datetime(2020, 1, 1, tzinfo=UTC))
