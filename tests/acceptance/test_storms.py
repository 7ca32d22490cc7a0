"""A twentieth of the storms of `make faults`: one batch of each, with everything checked that is left of it."""

from __future__ import annotations

import pytest

from tests.storms.batch import Storm, play
from tests.storms.storms import BATCHES, STORMS


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("storm", STORMS, ids=lambda storm: storm.name)
async def test_nothing_is_lost_doubled_left_or_stuck_in_a_storm(storm: Storm) -> None:
    tally = await play(storm, 0, seed=1)
    assert tally.wrong == []
    assert (tally.runs, tally.struck, tally.stuck, tally.unreplayable) == (storm.runs, storm.strikes, 0, 0)
    assert tally.effects > tally.undone > 0


def test_at_full_size_the_storms_are_large() -> None:
    size = {storm.name: (storm.runs * BATCHES, storm.strikes * BATCHES) for storm in STORMS}
    assert size["workers"] == (1_000, 100)
    assert size["temporal"] == (500, 20)
    assert size["nats"] == (500, 100)
    assert {strikes for name, (_, strikes) in size.items() if "postgres" in name or "mariadb" in name} == {200}
