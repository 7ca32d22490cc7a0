"""A minute of `make steady`: every run is counted, and ends as it must. What leaks shows in half an hour only."""

from __future__ import annotations

import pytest

from tests.steady.kinds import KINDS
from tests.steady.play import SAMPLES, play
from tests.steady.report import report

RATE = 2.0


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_each_run_of_a_steady_load_is_counted_and_ends_as_it_must() -> None:
    played = await play(1.0, RATE, seed=1)
    found = report(played)
    assert [run.wrong for run in played.runs if run.wrong] == []
    assert (found.started, len(found.minutes), played.exit_code) == (60 * RATE, SAMPLES, 0)
    assert found.kinds.keys() == {kind.name for kind in KINDS}
    assert sum(minute.completed + minute.failed for minute in found.minutes) == found.started
    assert sum(minute.failed for minute in found.minutes) == found.kinds["order undone"]
    last = played.samples[-1]
    assert min(last.runs, last.rss, last.uss, last.descriptors, last.threads, last.children) > 0
    assert last.uss < last.rss
