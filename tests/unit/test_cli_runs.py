"""The list of runs: how long each took, in as few words as fit."""

from __future__ import annotations

import pytest

from anabranch.cli.runs import _took
from anabranch.inspection.listing import Listed

BEGAN = 1_700_000_000_000


@pytest.mark.parametrize(
    ("milliseconds", "told"),
    [
        (0, "0.0 s"),
        (412, "0.4 s"),
        (59_999, "59.9 s"),
        (60_000, "0:01:00"),
        (3_599_999, "0:59:59"),
        (90_061_000, "25:01:01"),
        (-5, "0.0 s"),  # clocks of servers differ
    ],
)
def test_less_than_a_minute_is_told_to_a_tenth_of_a_second(milliseconds: int, told: str) -> None:
    assert _took(Listed("run", "1", "g", "completed", (), BEGAN, BEGAN + milliseconds)) == told
