"""What was sent, what of it is known to be in the history, and the time that events have."""

from __future__ import annotations

import pytest
from temporalio import workflow

from anabranch.workflows.temporal.clock import Clock
from anabranch.workflows.temporal.outbox import Outbox, Ticket


def sent(outbox: Outbox, size: int = 0) -> Ticket:
    ticket = Ticket()
    outbox.send(ticket, size)
    return ticket


def test_what_was_sent_counts_until_something_later_is_answered() -> None:
    outbox = Outbox()
    first, second, third = sent(outbox, 10), sent(outbox, 20), sent(outbox, 40)
    assert outbox.inputs == 70
    outbox.answered(second)
    assert outbox.inputs == 40
    outbox.answered(first)
    assert outbox.inputs == 40
    outbox.answered(third)
    assert outbox.inputs == 0


def test_a_local_result_counts_until_what_was_sent_after_it_is_answered() -> None:
    outbox = Outbox()
    before = sent(outbox)
    outbox.note_result(100)
    after = sent(outbox)
    outbox.note_result(7)
    outbox.answered(before)
    assert outbox.results == 107
    outbox.answered(after)
    assert outbox.results == 7


def test_the_answer_to_what_was_never_sent_is_no_evidence() -> None:
    outbox = Outbox()
    sent(outbox, 10)
    outbox.answered(Ticket())
    assert outbox.inputs == 10


async def test_what_is_in_the_history_or_was_not_sent_needs_no_waiting() -> None:
    """Waiting would take a timer, which there is none of outside of a workflow."""
    outbox = Outbox()
    ticket = sent(outbox)
    outbox.answered(sent(outbox))
    await outbox.recorded(ticket)
    await outbox.recorded(Ticket())


def test_of_two_events_the_later_one_has_the_later_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, now = Clock(), 1_000.0
    monkeypatch.setattr(workflow, "time", lambda: now)
    assert [clock.tick() for _ in range(3)] == [1_000_000, 1_000_001, 1_000_002]
    assert clock.now == 1_000_002
    assert clock.ahead == pytest.approx(0.002)
    now = 1_000.5
    assert (clock.tick(), clock.ahead) == (1_000_500, 0)


def test_the_time_goes_on_where_the_workflow_run_before_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "time", lambda: 1.0)
    assert Clock(5_000).tick() == 5_001
