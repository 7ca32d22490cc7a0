"""How long a `wait` node waits, and the times that it refuses."""

from __future__ import annotations

import pytest

from anabranch.workflows.interpreter.commands import StartTimer
from tests.unit.machine_kit import Play, machine_of

NOW = 1_795_000_000_000
"""November 2026, in Unix milliseconds."""


def play(until: str) -> Play:
    started = Play(machine_of({"nodes": {"w": {"type": "wait", "until": until}}}, {"t": 1_795_000_060}), now=NOW)
    return started.start()


@pytest.mark.parametrize(
    ("until", "seconds"),
    [
        (f"{NOW + 60_000}", 60),
        ("t * 1000", 60),
        ("timestamp('2026-11-18T13:47:40Z')", 1_795_009_660 - NOW / 1000),
        ("'2026-11-18T14:47:40+01:00'", 1_795_009_660 - NOW / 1000),
        ("'1999-01-01T00:00:00Z'", 0),
        (f"{NOW - 1}", 0),
    ],
)
def test_a_wait_lasts_until_the_time_or_not_at_all_when_it_is_past(until: str, seconds: float) -> None:
    (command,) = play(until).pending.values()
    assert isinstance(command, StartTimer)
    assert command.seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("until", "message"),
    [
        ("t", "1795000060 is not a time in milliseconds since 1970: in seconds it needs `* 1000`"),
        ("-1", "-1 is not a time in milliseconds since 1970: in seconds it needs `* 1000`"),
        ("0.5", "0.5 is not a time in milliseconds since 1970: in seconds it needs `* 1000`"),
        ("'2126-11-18T13:47:40Z'", "'2126-11-18T13:47:40Z' is more than ten years away"),
        (f"{NOW} * 1000", f"{NOW * 1000} is more than ten years away"),
        ("'2027-01-01T00:00:00'", "'2027-01-01T00:00:00' has no time zone"),
        ("'soon'", "Invalid isoformat string: 'soon'"),
    ],
)
def test_a_time_that_cannot_be_meant_fails_the_node(until: str, message: str) -> None:
    failure = play(until).state.failure
    assert failure is not None
    assert (failure.code, failure.node) == ("EXPRESSION_FAILED", "w")
    assert message in failure.message
