"""`make attack`: every class of attacks on the real code; prints what was tried and what got through."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.attack.attack import Attack
from tests.attack.journal import Found, Journal
from tests.attack.known import CLASSES
from tests.attack.processes import try_chunk

ROOT = Path(__file__).parents[2]
_DIRTY = "-dirty"


@dataclass(frozen=True, slots=True)
class Campaign:
    """Classes of attacks, tried with one seed."""

    attacks: Sequence[Attack]
    tier: str
    seed: str
    journal: Journal
    screen: Console

    async def run(self, jobs: int) -> None:
        """Try the chunks that are not in the journal, `jobs` at a time."""
        chunks = [(attack, numbers) for attack in self.attacks for numbers in attack.chunks(self.tier)]
        waiting = [chunk for chunk in chunks if not self.journal.has(chunk[0].name, chunk[1].start)][::-1]

        async def work() -> None:
            while waiting:
                attack, numbers = waiting.pop()
                found = await try_chunk(attack, self.seed, numbers)
                self.journal.add(found)
                told = f"{found.tried} tried, {len(found.through)} through"
                self.screen.print(f"{attack.name} {numbers.start}-{numbers.stop}: {told}")

        async with asyncio.TaskGroup() as group:
            for _ in range(jobs):
                group.create_task(work())

    def report(self) -> bool:
        """Print the table and what got through; whether anything did."""
        table = Table("class", "tried", "refused", "through", "controls seen")
        through: list[tuple[Found, str]] = []
        for attack in self.attacks:
            found = [each for each in self.journal.found if each.name == attack.name]
            through += [(each, sentence) for each in found for sentence in each.through]
            counts = [sum(each.tried for each in found), sum(each.refused for each in found)]
            counts += [sum(len(each.through) for each in found), sum(each.controls for each in found)]
            table.add_row(attack.name, *(f"{count:,}" for count in counts))
        self.screen.print(table)
        for each, sentence in through:
            self.screen.print(f"{each.name} {each.first}: {sentence}", markup=False)
        if through:
            again = " ".join(sorted({each.name for each, _ in through}))
            command = f'make attack TIER={self.tier} SEED={self.seed} CLASSES="{again}"'
            self.screen.print(f"{len(through)} through. To repeat: {command}")
        return bool(through)


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 if nothing was through."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("classes", nargs="*", metavar="class", help=f"all where none is named: {', '.join(CLASSES)}")
    parser.add_argument("--tier", choices=("small", "release"), default="small")
    parser.add_argument("--seed", default="", help="repeats the attacks of an earlier run, or goes on with it")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="chunks at a time")
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.classes) - set(CLASSES)):
        parser.error(f"there is no class {unknown[0]!r}: {', '.join(CLASSES)}")
    seed = given.seed or str(random.SystemRandom().randrange(10**6))
    commit = _commit()
    path = ROOT / ".attack" / f"{given.tier}-{seed}-{commit}.jsonl"
    if commit.endswith(_DIRTY):  # what was tried then may have been other code
        path.unlink(missing_ok=True)
    attacks = [CLASSES[name] for name in given.classes or CLASSES]
    campaign = Campaign(attacks, given.tier, seed, Journal(path), Console(soft_wrap=True))
    campaign.screen.print(f"tier {given.tier}, SEED={seed}")
    asyncio.run(campaign.run(given.jobs))
    return campaign.report()


def _commit() -> str:
    """The state of the code, so that what was tried on another one is not taken for this one's."""
    command = ["git", "describe", "--always", f"--dirty={_DIRTY}"]
    head = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    return head.stdout.strip() or f"unknown{_DIRTY}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
