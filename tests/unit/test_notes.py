"""What workflow code has to tell is told once, whatever becomes of the workflow task that told it."""

from __future__ import annotations

import uuid
from collections.abc import Hashable
from dataclasses import dataclass

from anabranch.observe.notes import Notes


@dataclass(frozen=True)
class Said:
    key: Hashable
    heard: list[Hashable]

    def tell(self, at: int) -> None:
        assert at > 0
        self.heard.append(self.key)


class Run:
    """A workflow run, whose worker may lose it from its memory."""

    def __init__(self) -> None:
        self.heard: list[Hashable] = []
        self._id = uuid.uuid4().hex
        self.evict()

    def evict(self) -> None:
        self._notes = Notes(self._id)

    def activate(
        self, *keys: str, length: int, replay: bool = False, failed: bool = False, closes: bool = True
    ) -> None:
        self._notes.begin(is_replaying=replay, history_length=length)
        for key in keys:
            self._notes.add(Said(key, self.heard))
        self._notes.end(failed=failed, closes_task=closes)


def test_a_replay_tells_nothing_and_what_follows_it_is_told() -> None:
    run = Run()
    run.activate("a", length=3)
    run.evict()
    run.activate("a", length=3, replay=True)
    run.activate("b", length=7)
    assert run.heard == ["a", "b"]


def test_what_is_noted_while_a_local_activity_is_under_way_waits_for_the_end_of_the_task() -> None:
    run = Run()
    run.activate("a", length=3, closes=False)
    assert run.heard == []
    run.activate("b", length=3)
    assert run.heard == ["a", "b"]


def test_a_worker_that_dies_before_the_end_of_the_task_has_told_nothing_of_it() -> None:
    run = Run()
    run.activate("a", length=3, closes=False)
    run.evict()
    run.activate("a", "b", length=3)
    assert run.heard == ["a", "b"]


def test_what_a_longer_history_holds_is_told_though_the_next_local_activity_is_under_way() -> None:
    run = Run()
    run.activate("a", length=3, closes=False)
    run.activate("b", length=9, closes=False)
    assert run.heard == ["a"]


def test_a_failed_activation_tells_nothing() -> None:
    run = Run()
    run.activate("a", length=3, failed=True)
    run.evict()
    run.activate("a", length=3)
    assert run.heard == ["a"]


def test_a_task_that_the_server_refuses_is_not_told_again() -> None:
    run = Run()
    run.activate("a", length=3)
    run.activate("b", "end", length=7)
    run.evict()
    run.activate("a", length=3, replay=True)
    run.activate("heard a signal", "b", "end", length=10)
    assert run.heard == ["a", "b", "end", "heard a signal"]
