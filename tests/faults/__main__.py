"""`make faults`: every fault at every step, two hundred kills, at full size; prints what was proven."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table

from tests import servers
from tests.faults.harness import Report, prove
from tests.faults.scenarios import FAULTS, kills, sagas


def main() -> int:
    """Exit status 0 if nothing was wrong."""
    scenarios = [*sagas(), *kills()]
    started = time.monotonic()
    bar = Progress(*Progress.get_default_columns(), MofNCompleteColumn())
    task = bar.add_task("runs with faults", total=len(scenarios))
    with servers.temporal() as temporal, servers.postgres() as url, tempfile.TemporaryDirectory() as folder, bar:
        report = asyncio.run(prove(temporal.address, url, Path(folder), scenarios, lambda: bar.advance(task)))
    show(report, time.monotonic() - started)
    return bool(report.wrong)


def show(report: Report, seconds: float) -> None:
    """Print the report as a table, and what was wrong in sentences."""
    table = Table("fault", "runs", "effects", "undone", "wrong")
    for name, row in report.counts.items():
        table.add_row(FAULTS.get(name, name), *(str(count) for count in row.values()))
    screen = Console()
    screen.print(table)
    runs = sum(row["runs"] for row in report.counts.values())
    screen.print(f"{runs} runs, {report.killed} workers killed, {len(report.wrong)} findings, {seconds:.0f} s")
    for finding in report.wrong:
        screen.print(finding, markup=False)


if __name__ == "__main__":
    sys.exit(main())
