"""How cost grows with size: `python -m benchmarks.scale`.

- nodes, local nodes: graphs of 20, 200 and 2,000 nodes (a head, nine nodes side by side, the next head);
- side by side: 5, 50 and 500 activities between a head and a join;
- changes of a large context: 10, 100 and 1,000 local nodes, each of which writes a key into a context of 1 MB;
- items, items in batches: a `foreach` over up to 10,000 items, and over 100,000 in batches of 100, of which 3 % fail;
- events to runs: up to 1,000 events of NATS, each of which starts a run whose result is published;
- merge: up to 100 branches of 1,000 keys, in this process.

The cost of a unit is CPU time, of the worker and of the server together. Sizes take turns; loading a graph is left out,
since a worker keeps it. Absolute figures vary from hour to hour; read the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks import figures, page
from benchmarks.scale.cases import BATCHES, LOOP, Sizes, cases, write_graphs
from benchmarks.scale.events import feed
from benchmarks.scale.growth import AIM, Growth, measure, met, report, table, verdicts
from benchmarks.scale.site import Site, site

BATCHED_AIM: Final = 1 / 8
"""The time of an item in a batch over that of a single one."""
MOST_EVENTS: Final = 4_096 * 1.2
"""The server suggests to continue as new at 4,096 events; what runs then is finished first."""


async def measured(sizes: Sizes, rounds: int, only: Sequence[str]) -> tuple[list[Growth], list[str]]:
    """Every case, or those whose name has one of the words in it; and what else is to be met."""
    found: list[Growth] = []
    with tempfile.TemporaryDirectory() as graphs, tempfile.TemporaryDirectory() as streams:
        write_graphs(Path(graphs), sizes)
        async with site(Path(graphs)) as here, feed(here, Path(streams)) as events:
            for case in cases(here, events, sizes):
                if not only or any(word in case.name for word in only):
                    found.append(await measure(case, rounds))
                    print("\n".join(report(found[-1])), flush=True)
        return found, _long_loops(here, sizes)


def _long_loops(here: Site, sizes: Sizes) -> list[str]:
    """Whether the longest loops have bounded histories and bounded memory, and batches are worth it."""
    lines = []
    single, batched = here.last.get((LOOP, max(sizes.single))), here.last.get((BATCHES, max(sizes.batched)))
    for name, ran in (("items", single), ("items in batches", batched)):
        if ran is not None:
            lines.append(met(f"{name}: most events of {len(ran.events)} workflow runs", max(ran.events), MOST_EVENTS))
            lines.append(met(f"{name}: memory in all over that in the first half", ran.swelling, AIM))
    if single is not None and batched is not None:
        ratio = batched.cost.per(max(sizes.batched)).seconds / single.cost.per(max(sizes.single)).seconds
        lines.append(met("an item: time in a batch over that of a single one", ratio, BATCHED_AIM))
    return lines


async def main() -> None:
    """Measure and report."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3, help="at most; what takes long has fewer")
    options.add_argument("--only", nargs="+", default=[], metavar="WORD", help="cases with one of these in their names")
    options.add_argument("--page", type=Path, help="where to put the table, between the marks")
    figures.add_option(options)
    chosen = options.parse_args()
    busy = os.getloadavg()[0]
    found, others = await measured(Sizes(), chosen.rounds, chosen.only)
    print("\naims")
    print("\n".join([*(line for growth in found for line in verdicts(growth)), *others]))
    kept = figures.record("scale", [figure for growth in found for figure in growth.figures()])
    if chosen.page is not None:
        page.write(chosen.page, "scale", f"{figures.measured_on(kept, busy)}\n\n{table(found)}")
    if chosen.json is not None:
        kept.write(chosen.json)


if __name__ == "__main__":
    asyncio.run(main())
    sys.stdout.flush()
    os._exit(0)  # Python can crash at exit after Temporal client use (temporalio/sdk-python issue 300)
