"""The cache benchmark measures what it says: every way to read gives the same contexts."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.cache import MANY, Rate, measure_reads, measure_strategies, readers, report_reads
from benchmarks.serialization import order


async def test_every_reader_reads_the_same_contexts(valkey_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        found = await readers(valkey_url, tmp_path, stack, 2)
        for reader in found:
            many = await reader.many()
            assert isinstance(many, list)
            assert [context.session_id for context in many] == [f"order-{index}" for index in range(MANY)]
            assert await reader.one() == many[0]
            assert many[0].data == order(2).data
        rates = await measure_reads(found, rounds=1, calls=5)
    assert [rate.name for rate in rates] == [reader.name for reader in found]
    assert all(rate.single > 0 and rate.many > 0 for rate in rates)


def test_rates_are_told_beside_the_raw_client_s() -> None:
    report = report_reads([Rate("raw", (900, 1000), (20_000, 100)), Rate("ours", (700, 650), (16_000, 1))])
    assert report.splitlines()[-1].split() == ["ours", "700", "0.70", "16,000", "0.80", "22.9"]


async def test_all_four_strategies_are_measured(valkey_url: str, tmp_path: Path) -> None:
    report = await measure_strategies(valkey_url, tmp_path, calls=10, items=2)
    assert [line.split()[0] for line in report.splitlines()[1:]] == [
        "write_through",
        "write_behind",
        "read_through",
        "cache_aside",
    ]
