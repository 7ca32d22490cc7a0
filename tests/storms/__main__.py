"""`python -m tests.storms [NAME …]`: the storms at full size, for hours; `--resume` goes on after the last batch.

A batch is named by storm, number and seed, and can be played alone: `--seed 7 --batch 3 workers`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.storms.batch import Storm, Tally, play
from tests.storms.storms import BATCHES, STORMS

COLUMNS = ("runs", "struck", "effects", "undone", "stuck", "unreplayable")


def main() -> int:
    """Exit status 0 if nothing was wrong."""
    options = _options()
    screen = Console()
    state: Path = options.state
    if not options.resume:
        state.unlink(missing_ok=True)
    known = dict(_known(state, options.seed))
    for storm, number in _batches(options):
        if (storm.name, number) in known:
            continue
        tally = asyncio.run(play(storm, number, options.seed))
        known[storm.name, number] = tally
        with state.open("a") as file:
            file.write(json.dumps({"storm": storm.name, "batch": number, "seed": options.seed, **asdict(tally)}) + "\n")
        screen.print(f"{storm.name} {number}: {tally.runs} runs, {tally.struck} strikes, {len(tally.wrong)} findings")
    return show(known, screen)


def show(known: dict[tuple[str, int], Tally], screen: Console) -> int:
    """Print a row for each storm, and what was wrong in sentences; returns 1 if anything was."""
    table = Table("storm", "what is struck", "batches", *COLUMNS, "wrong")
    wrong: list[str] = []
    for storm in STORMS:
        tallies = [tally for (name, _), tally in known.items() if name == storm.name]
        total = Tally()
        for tally in tallies:
            total += tally
        counts = [str(getattr(total, name)) for name in COLUMNS]
        table.add_row(storm.name, storm.what, str(len(tallies)), *counts, str(len(total.wrong)))
        wrong += total.wrong
    screen.print(table)
    for finding in wrong:
        screen.print(finding, markup=False)
    return int(bool(wrong))


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("names", nargs="*", metavar="NAME", help=", ".join(storm.name for storm in STORMS))
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--batches", type=int, default=BATCHES, help="of each storm")
    options.add_argument("--batch", type=int, help="this one alone")
    options.add_argument("--resume", action="store_true", help="leave out the batches that the state file holds")
    options.add_argument("--state", type=Path, default=Path(".storms.jsonl"), help="what each batch came to")
    return options.parse_args()


def _batches(options: argparse.Namespace) -> Iterator[tuple[Storm, int]]:
    """Round by round, so that each storm has had its share whenever it is interrupted."""
    for number in range(options.batches) if options.batch is None else (options.batch,):
        for storm in STORMS:
            if not options.names or storm.name in options.names:
                yield storm, number


def _known(state: Path, seed: int) -> Iterator[tuple[tuple[str, int], Tally]]:
    if not state.exists():
        return
    for line in state.read_text().splitlines():
        entry = json.loads(line)
        if entry.pop("seed") == seed:
            yield (entry.pop("storm"), entry.pop("batch")), Tally(**entry)


if __name__ == "__main__":
    sys.exit(main())
