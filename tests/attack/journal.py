"""What the chunks of an attack found, kept in a file, so that a tier of hours goes on where it was stopped."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Found:
    """What one chunk found. `through` names also a process that died, and a judge that is blind."""

    name: str
    first: int
    tried: int
    refused: int = 0
    through: list[str] = field(default_factory=list)
    controls: int = 0


class Journal:
    """The chunks that are done, of one tier, seed and commit. Where something got through, a chunk is tried again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.found = [found for line in lines if not (found := Found(**json.loads(line))).through]

    def add(self, found: Found) -> None:
        """Keep what a chunk found."""
        self.found.append(found)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as lines:
            lines.write(json.dumps(asdict(found)) + "\n")

    def has(self, name: str, first: int) -> bool:
        """Whether a chunk is done."""
        return any((each.name, each.first) == (name, first) for each in self.found)
