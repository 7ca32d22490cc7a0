"""The capacity benchmark runs its graphs, and counts what Temporal Cloud would bill."""

from __future__ import annotations

from pathlib import Path

import pytest

from anabranch.inspection.billing import Size
from benchmarks.capacity import KINDS, Load, measure, report


@pytest.mark.slow
async def test_every_graph_runs_on_worker_processes_and_its_actions_are_counted(tmp_path: Path) -> None:
    loads, sizes = await measure(tmp_path, [1], runs=4, at_once=2)
    assert [(load.kind, load.workers, load.runs) for load in loads] == [(kind, 1, 4) for kind in KINDS]
    assert all(load.cpu["workers"] > 0 and load.cpu["server"] > 0 for load in loads)
    # A start and the loading of the graph; six activities, or none of their own.
    assert {kind: size.actions for kind, size in sizes.items()} == {"activities": 8, "local": 2, "database": 8}
    assert sizes["local"].events < sizes["activities"].events


def test_the_report_says_what_the_limit_was() -> None:
    cpu = {"workers": 8.0, "server": 8.0, "database": 1.0, "starter": 2.0}
    loads = [Load("local", 1, 1000, 10.0, cpu), Load("local", 1, 1000, 20.0, {**cpu, "workers": 19.0})]
    loads.append(Load("local", 4, 1000, 100.0, cpu))
    lines = report(loads, {"local": Size(2, 11, 6000)}, 2).splitlines()
    numbers, _, limit = lines[2].partition("  the ")
    assert numbers.split() == ["local", "1", "100.0", "8.0", "8.0", "1.0", "2.0"]
    assert limit == "machine's cores (95% busy), of which workers took most"
    assert lines[3].endswith("the workers: each has one core at most")
    assert lines[4].endswith("none of these: 10% of the cores were busy")
    assert lines[-1].split() == ["local", "53", "2", "11", "1000"]
