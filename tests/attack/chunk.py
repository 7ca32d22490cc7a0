"""One chunk of a class of attacks in this process; its tally is the last line of standard output."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys

from tests.attack.attack import Attack, Tally
from tests.attack.known import CLASSES

MARK = "tally: "


def main(name: str, seed: str, first: str, stop: str) -> None:
    attack = CLASSES[name]
    tally = asyncio.run(tally_of(attack, seed, range(int(first), int(stop))))
    fields = {
        "tried": tally.tried,
        "refused": tally.refused,
        "through": tally.through,
        "controls": tally.controls,
    }
    print(MARK + json.dumps(fields), flush=True)


async def tally_of(attack: Attack, seed: str, numbers: range) -> Tally:
    """Try the attacks with these numbers."""
    if attack.memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (attack.memory, attack.memory))
    tally = Tally(random.Random(f"{seed}/{attack.name}/{numbers.start}"))
    await attack.run(tally, numbers)
    return tally


if __name__ == "__main__":
    main(*sys.argv[1:])
