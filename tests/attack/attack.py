"""A class of attacks: how many there are, how they are tried, and what shows that its judge sees a hit."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """What became of the attacks of one chunk."""

    rng: random.Random
    tried: int = 0
    through: list[str] = field(default_factory=list)
    """What each attack that got through did, in a sentence."""
    refused: int = 0
    """Attacks that were answered with an error; the others were harmless values."""
    controls: dict[str, bool] = field(default_factory=dict)
    """Whether the judge saw the hit on each deliberately vulnerable stand-in."""

    def judge(self, attack: str, wrong: str | None, *, refused: bool = False) -> None:
        """Count an attack; `wrong` says what it did that it must not do."""
        self.tried += 1
        self.refused += refused
        if wrong is not None:
            self.through.append(f"{attack}: {wrong}"[:600])

    def control(self, name: str, *, seen: bool) -> None:
        """Note whether a hit that is really there was seen."""
        self.controls[name] = seen

    @property
    def blind(self) -> list[str]:
        """The controls whose hit was not seen: then the class proves nothing."""
        return [name for name, seen in self.controls.items() if not seen]


@dataclass(frozen=True, slots=True)
class Attack:
    """One class of attacks, which runs in chunks, each in a process of its own."""

    name: str
    run: Callable[[Tally, range], Awaitable[None]]
    """Tries the attacks with these numbers, and the controls. The same seed and numbers make the same attacks."""
    small: int
    """How many CI tries."""
    release: int
    """How many a release is tried with."""
    chunk: int
    """How many one process tries at most."""
    memory: int | None = None
    """Bytes of address space that a chunk's process may have."""

    def chunks(self, tier: str) -> list[range]:
        """The numbers of the attacks of each chunk."""
        count = self.small if tier == "small" else self.release
        return [range(first, min(first + self.chunk, count)) for first in range(0, count, self.chunk)]
