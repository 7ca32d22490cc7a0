"""A twentieth of `make faults`: workers are really killed, and history and database are checked run by run."""

from __future__ import annotations

from pathlib import Path

import pytest

from anabranch.dev.devserver import DevServer
from tests.faults.harness import prove
from tests.faults.scenarios import FAULTS, KILLS, kills, sagas, spread

SHARE = 20


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_each_effect_is_made_once_and_undone_once_in_reverse_whatever_is_killed_lost_or_cancelled(
    dev_server: DevServer, postgres_url: str, tmp_path: Path
) -> None:
    scenarios = [*spread(sagas(), SHARE), *spread(kills(), SHARE)]
    report = await prove(dev_server.address, postgres_url, tmp_path, scenarios)
    assert report.wrong == []
    assert set(FAULTS) <= set(report.counts)
    assert report.killed >= KILLS // SHARE + 4
    assert sum(row["runs"] for row in report.counts.values()) >= len(scenarios)


def test_at_full_size_every_fault_strikes_every_step_of_both_graphs() -> None:
    struck = {
        (scenario.name, scenario.shape.definition["name"], step.removeprefix("undo "))
        for scenario in sagas()
        for step in scenario.orders
    }
    assert len(struck) == len(FAULTS) * 2 * 8
    assert len(kills()) == KILLS == 200
