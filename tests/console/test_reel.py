"""A run as its page is given it: each frame with what it changed, the same however the run was followed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from anabranch.console.run.reel import Reel, Strip
from anabranch.inspection.inspect import Inspector
from anabranch.transport.converter import data_converter
from tests.inspection.test_history import events, history


async def strip(name: str) -> Strip:
    inspector = Inspector(data_converter())
    try:
        return Reel().extend(await inspector.inspect(history(events(name))))
    finally:
        inspector.close()


def frames(found: Strip) -> list[dict[str, Any]]:
    return [json.loads(each) for each in found.frames]


def cards(found: Iterable[dict[str, Any]]) -> dict[str, str]:
    """The state of each card after these frames, with its note."""
    shown: dict[str, str] = {}
    for frame in found:
        for name, card in frame.get("cards", {}).items():
            shown[name] = " ".join(filter(None, (card["state"], card.get("note"))))
    return shown


async def test_a_failed_saga_is_shown_running_then_failing_then_undone_step_by_step() -> None:
    film = frames(await strip("saga"))
    assert [frame.get("status") for frame in film] == ["running", None, None, "compensating", None, "failed"]
    assert cards(film[:2]) == {"ship": "pending", "reserve": "succeeded", "charge": "running"}
    assert cards(film[:5])["charge"] == "compensated"
    assert cards(film) == {
        "ship": "failed",
        "reserve": "compensated",
        "charge": "compensated",
        "charge/compensate": "succeeded",
        "reserve/compensate": "succeeded",
    }


async def test_a_frame_has_the_leaves_of_the_context_that_it_changed() -> None:
    film = frames(await strip("saga"))
    assert film[1]["set"] == [["reserved", "true"]]
    assert (film[-1]["set"], film[-1]["removed"]) == (
        [["refunded", "true"], ["released", '"NO_STOCK"']],
        ["charged", "reserved"],
    )


async def test_an_edge_is_taken_or_dead_from_when_its_source_has_ended() -> None:
    film = frames(await strip("failure_edge"))
    settled = {edge: state for frame in film for edge, state in frame.get("edges", {}).items()}
    assert settled == {"#0": "taken", "#1": "dead"} or set(settled.values()) == {"taken", "dead"}


async def test_the_cards_of_a_body_count_their_visits() -> None:
    shown = cards(frames(await strip("bodies")))
    assert shown["merge"] == "succeeded 2/2"
    assert shown["merge/w"] == "succeeded 2 succeeded"


@pytest.mark.parametrize(
    "name",
    [
        "saga",
        "bodies",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("people", "tried_again", "finally_of_blocks")),
    ],
)
async def test_a_run_that_is_followed_event_by_event_is_shown_like_one_that_is_opened_at_its_end(name: str) -> None:
    inspector, whole, reel = Inspector(data_converter()), history(events(name)), Reel()
    try:
        grown = [reel.extend(await inspector.inspect(whole.until(count))) for count in range(1, len(whole.events) + 1)]
        at_once = Reel().extend(await inspector.inspect(whole))
    finally:
        inspector.close()
    assert grown[-1] == at_once


async def test_who_has_some_frames_is_given_the_newest_of_them_again_and_all_that_follow() -> None:
    whole = await strip("saga")
    assert whole.since(3) == (2, 2)
    assert [json.loads(each)["number"] for each in whole.versions[2:]] == [3, 4, 5, 6]
    assert whole.since(0) == (0, 0)
