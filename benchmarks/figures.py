"""What a benchmark measured, as JSON: each figure with all its rounds."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

ROOT = Path(__file__).resolve().parents[1]
Better = Literal["lower", "higher"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity, a value for each round.

    `control` names the figure of the same record that was measured in the same rounds and that no change of this
    project moves. Over it, what disturbs a whole hour cancels out.
    """

    name: str
    unit: str
    better: Better
    rounds: tuple[float, ...]
    control: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """The figures of one benchmark at one commit. Records of one session were measured in the same rounds."""

    benchmark: str
    session: str
    commit: str
    machine: str
    figures: tuple[Figure, ...]

    def write(self, path: Path) -> None:
        """Write it as a file; its folder is made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that `write` wrote."""
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        figures = tuple(Figure(**{**each, "rounds": tuple(each["rounds"])}) for each in found.pop("figures"))
        return cls(**found, figures=figures)


def record(benchmark: str, figures: Sequence[Figure], *, tree: Path = ROOT, session: str | None = None) -> Record:
    """What was measured of a tree on this machine; without a session it is one of its own."""
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return Record(benchmark, session or uuid.uuid4().hex, _commit(tree), machine, tuple(figures))


def _commit(tree: Path) -> str:
    """The commit of a checkout, with a `+` where files differ from it."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "no commit"


def measured_on(kept: Record, busy: float) -> str:
    """Where and when, for a page. `busy` is the load average of the machine when it began."""
    return (
        f"Measured on {time.strftime('%Y-%m-%d')} at commit `{kept.commit}`, on {kept.machine}.\n"
        f"The load average of the machine was {busy:.1f} when it began."
    )


def add_option(parser: argparse.ArgumentParser) -> None:
    """The option that every benchmark has."""
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="where to keep every round, for benchmarks/compare.py"
    )


def keep(path: Path | None, benchmark: str, figures: Sequence[Figure]) -> None:
    """Write what was measured of this tree, where a file is asked for."""
    if path is not None:
        record(benchmark, figures).write(path)
