"""Tells noise from change between two records of a benchmark: `python -m benchmarks.compare OLD.json NEW.json`.

Records of one session, as `benchmarks/trees.py` writes them, are compared round by round. Those of two sessions are
compared by the figure over its control, which was measured in the same rounds; this sees less, and a figure without a
control holds what changed on the machine too. A figure has changed if the interval of its ratio leaves out 1 and the
ratio is off by more than `--least`. It never fails: the exit status is 0 whatever was found.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.figures import Figure, Record
from benchmarks.ratios import Interval, paired, unpaired

Verdict = Literal["better", "worse", "noise", "cannot tell"]
CONFIDENCE = 0.99
"""One figure in a hundred that did not change is told to have."""
LEAST = 0.02


@dataclass(frozen=True, slots=True)
class Change:
    """A figure's new value over its old one. `how` says which rounds were compared."""

    figure: Figure
    ratio: Interval
    verdict: Verdict
    how: str


def compare(old: Record, new: Record, *, confidence: float = CONFIDENCE, least: float = LEAST) -> list[Change]:
    """The figures that both have, in the new one's order."""
    before, after = _by_name(old), _by_name(new)
    together = old.session == new.session
    changes = []
    for name in after:
        if name in before:
            ratio, how = _ratio(before, after, name, confidence, together=together)
            changes.append(Change(after[name], ratio, _verdict(ratio, after[name], least), how))
    return changes


def _by_name(record: Record) -> dict[str, Figure]:
    return {figure.name: figure for figure in record.figures}


def _ratio(
    before: Mapping[str, Figure], after: Mapping[str, Figure], name: str, confidence: float, *, together: bool
) -> tuple[Interval, str]:
    old, new = before[name], after[name]
    if together:
        return paired(new.rounds, old.rounds, confidence=confidence), "round by round"
    if new.control is None or new.control not in before or old.control != new.control:
        return unpaired(new.rounds, old.rounds, confidence=confidence), "as measured"
    over = unpaired(
        _over(new.rounds, after[new.control].rounds),
        _over(old.rounds, before[new.control].rounds),
        confidence=confidence,
    )
    return over, f"over {new.control}"


def _over(rounds: Sequence[float], control: Sequence[float]) -> list[float]:
    return [each / other for each, other in zip(rounds, control, strict=True)]


def _verdict(ratio: Interval, figure: Figure, least: float) -> Verdict:
    if not math.isfinite(ratio.high):
        return "cannot tell"
    if 1 in ratio or abs(ratio.middle - 1) <= least:
        return "noise"
    return "better" if (ratio.middle < 1) == (figure.better == "lower") else "worse"


def report(changes: Sequence[Change], confidence: float = CONFIDENCE) -> str:
    """A table, and how many of so many figures are told by chance to have changed."""
    width = max((len(change.figure.name) for change in changes), default=0)
    lines = [f"{'new over old':{width}}  ratio ({confidence:.0%} interval)"]
    lines += [f"{each.figure.name:{width}}  {each.ratio!s:<22}{each.verdict:<12}{each.how}" for each in changes]
    changed = sum(change.verdict in {"better", "worse"} for change in changes)
    chance = len(changes) * (1 - confidence)
    lines.append(f"{changed} of {len(changes)} figures changed; {chance:.1f} would by chance")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of two files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, metavar="OLD.json")
    parser.add_argument("new", type=Path, metavar="NEW.json")
    parser.add_argument("--confidence", type=float, default=CONFIDENCE, help="of each interval (%(default)s)")
    parser.add_argument("--least", type=float, default=LEAST, help="a smaller change is noise (%(default)s)")
    chosen = parser.parse_args(arguments)
    old, new = Record.read(chosen.old), Record.read(chosen.new)
    print(f"{new.benchmark}: {old.commit} ({old.machine}) → {new.commit} ({new.machine})")
    print(report(compare(old, new, confidence=chosen.confidence, least=chosen.least), chosen.confidence))


if __name__ == "__main__":
    main()
