"""The scale benchmark runs each case at each size, and says by how much a unit's cost grows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anabranch.graph.source.yaml_source import MAX_BYTES
from benchmarks.scale.__main__ import measured
from benchmarks.scale.cases import Sizes, write_graphs
from benchmarks.scale.growth import Case, Cost, Growth, measure, report, table, verdicts
from benchmarks.scale.merging import lines_of, merge

SMALL = Sizes(
    nodes=(2, 12),
    wide=(1, 3),
    single=(1, 4),
    batched=(40, 150),
    changes=(1, 3),
    context=1_000,
    events=(1, 3),
    branches=(2, 3),
    keys=(1, 2),
)
CASES = {
    "merge, own keys": (2, 3),
    "merge, own keys, wider": (1, 2),
    "merge, the same keys": (2, 3),
    "nodes": (2, 12),
    "local nodes": (2, 12),
    "side by side": (1, 3),
    "changes of a large context": (1, 3),
    "events to runs": (1, 3),
    "items in batches": (40, 150),
    "items": (1, 4),
}


async def test_each_case_is_measured_at_each_size() -> None:
    found, others = await measured(SMALL, 1, [])
    assert {growth.case.name: tuple(growth.costs) for growth in found} == CASES
    assert all(
        cost.cpu > 0 and cost.seconds > 0 for growth in found for costs in growth.costs.values() for cost in costs
    )
    assert [line.partition(":")[0].split(maxsplit=1)[1] for line in others] == [
        "items", "items", "items in batches", "items in batches", "an item",
    ]  # fmt: skip


def test_the_largest_graphs_are_files_that_a_worker_reads(tmp_path: Path) -> None:
    write_graphs(tmp_path, Sizes())
    assert [path.name for path in tmp_path.iterdir() if path.stat().st_size > MAX_BYTES] == []
    assert len(json.loads((tmp_path / "local_2000.yaml").read_text())["nodes"]) == 2_000


async def nothing(_: int) -> Cost:
    return Cost(1, 1)


def growth_of(small: float, middle: float, large: float) -> Growth:
    """CPU milliseconds of a node at 10, 100 and 1,000 of them; the second round takes twice as long."""
    costs = {10: small, 100: middle, 1_000: large}
    return Growth(
        Case("nodes", "node", "nodes", (10, 100, 1_000), nothing),
        {size: [Cost(2 * cpu, cpu), Cost(4 * cpu, 2 * cpu)] for size, cpu in costs.items()},
    )


def test_a_unit_that_costs_the_same_at_each_size_meets_the_aim() -> None:
    growth = growth_of(4, 4, 4)
    assert growth.ratio == 1
    assert growth.further() == pytest.approx([6, 6])
    assert verdicts(growth) == [
        "  met    nodes: CPU of one node at 1,000 over 10: 1.00 (aim <= 1.50), 2 rounds, 1.00 to 1.00",
        "  met    nodes: CPU of each further node: 1.00 (aim <= 1.50)",
    ]


def test_what_a_run_costs_anyway_does_not_hide_that_further_units_become_dearer() -> None:
    growth = growth_of(20, 4, 8)
    assert growth.ratio < 1
    first, second = growth.further()
    assert second > 3 * first
    assert "each further one" in report(growth)[-1]
    assert [line.split()[0] for line in verdicts(growth)] == ["met", "MISSED"]


def test_a_unit_that_becomes_dearer_misses_the_aim() -> None:
    assert verdicts(growth_of(4, 8, 40))[0].startswith("  MISSED nodes: CPU of one node")
    names = [figure.name for figure in growth_of(4, 8, 40).figures()]
    assert names[:2] == ["nodes/10/CPU", "nodes/10/time"]
    assert names[-1] == "nodes/growth"


def test_the_table_has_each_size_the_growth_and_what_further_units_cost() -> None:
    assert table([growth_of(4, 4, 8)]).splitlines()[-1] == (
        "| nodes | 10, 100, 1,000 nodes | 6.00, 6.00, 12.00 ms | 2.00 | 6.00, 12.67 ms |"
    )


async def test_a_round_does_small_sizes_more_often_and_what_is_warm_first() -> None:
    done: list[int] = []

    async def run(size: int) -> Cost:
        done.append(size)
        return Cost(size, size)

    growth = await measure(Case("c", "u", "us", (1, 10, 1_000), run, rounds=1, warm=(1,)), rounds=5)
    assert done == [1, 1_000, *[10] * 10, *[1] * 10]
    assert {size: [cost.cpu for cost in costs] for size, costs in growth.costs.items()} == {
        size: [pytest.approx(1000)] for size in (1, 10, 1_000)
    }


@pytest.mark.parametrize("shared", [False, True])
def test_the_merge_is_one_of_branches_that_wrote_all_keys(shared: bool) -> None:
    lines = lines_of(3, 2, shared=shared)
    assert [len(line.data) for line in lines] == [3, 3, 3]
    expected = (
        {"count": 1, "0": 2, "1": 2} if shared else {"count": 1, **{f"b{b}-{k}": b for b in range(3) for k in range(2)}}
    )
    assert merge(lines).data == expected
