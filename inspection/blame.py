"""Who wrote each path of a context last, when and in which version."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from anabranch.context.merge.lineage import Line, Write
from anabranch.context.values import Json, Missing, Path, value_at
from anabranch.inspection.lineage import Lineage, changed, overlap
from anabranch.workflows.interpreter.trail import Version

INPUT = "input"


@dataclass(frozen=True, slots=True)
class Blamed:
    """A path, its value, and the last write there; parts of it that were written later have entries of their own."""

    path: Path
    value: Json | Missing
    by: str
    """The address of the node, or the name of who wrote from outside, or `input`."""
    at: int | None
    """Unix milliseconds; None for the input of a run whose first versions are in an earlier history."""
    version: int | None
    """The number of the version; None where an earlier history has it."""
    kind: str


def blame(line: Line, lineage: Lineage, inside: Path = ()) -> list[Blamed]:
    """The writes at, above and below a path, in the order of the paths; of the whole context by default."""
    found = [*_inputs(line, lineage), *_writes(line, lineage)]
    about = [each for each in found if overlap(each.path, inside)]
    return sorted(about, key=lambda each: each.path)


def version_of(write: Write, lineage: Lineage) -> Version | None:
    """The version that a write is in, as far as the history holds it."""
    same = [version for version in lineage.by(write.by) if write.path in changed(version)]
    exact = [version for version in same if version.at == write.at]
    found = exact or same
    return found[-1] if found else None


def _inputs(line: Line, lineage: Lineage) -> Iterator[Blamed]:
    """What the run was given, where nobody has written over it."""
    first = next((version for version in lineage if version.kind == "input"), None)
    at, number = (None, None) if first is None else (first.at, first.number)
    for key, value in line.root.items():
        if (key,) not in line.writes and key in line.data:
            yield Blamed((key,), line.data.get(key, value), INPUT, at, number, INPUT)


def _writes(line: Line, lineage: Lineage) -> Iterator[Blamed]:
    for path, writes in line.writes.items():
        for write in _originals(writes[-1]):
            version = version_of(write, lineage)
            number, kind = (None, "node") if version is None else (version.number, version.kind)
            yield Blamed(path, value_at(line.data, path), write.by, write.at, number, kind)


def _originals(write: Write) -> tuple[Write, ...]:
    """The write, or the last of those that it was settled from, where no version of the run says so."""
    if write.settled and write.by == "now" and write.before:
        return (max(write.before, key=lambda each: each.at),)
    return (write,)
