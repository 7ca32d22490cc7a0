"""`python -m tests.stops [COUNT [SEED]]`: workers that are asked to stop at random moments of their work."""

from __future__ import annotations

import asyncio
import random
import sys

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from tests import servers
from tests.stops.harness import SERVER, WITHIN, prove
from tests.stops.scenarios import stops


def main(count: int = 200, seed: int | None = None) -> int:
    """Exit status 0 if every worker was gone in time."""
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    bar = Progress(*Progress.get_default_columns(), MofNCompleteColumn())
    task = bar.add_task(f"stops, seed {seed}", total=count)
    with servers.temporal(dynamic_config=SERVER) as temporal, bar:
        report = asyncio.run(prove(temporal.address, stops(count, seed), lambda: bar.advance(task)))
    screen = Console()
    ends = ", ".join(f"{number} {how}" for how, number in report.ends.most_common())
    screen.print(
        f"{count} workers asked to stop, seed {seed}: {ends}; {len(report.wrong)} not gone within {WITHIN:g} s"
    )
    for finding in report.wrong:
        screen.print(finding, markup=False)
    return bool(report.wrong)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
