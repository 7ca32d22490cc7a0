"""The versions of a context with all that led to each: its data, and which version wrote each path of it last.

A version's changes say what differs from the data of its line before. So the data of a version is what all versions
that it descends from changed, the oldest first; what concurrent branches disagreed on, a merge among them settles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from anabranch.context.changes import ChangeSet, apply, diff
from anabranch.context.values import MISSING, Json, Missing, Path, value_at
from anabranch.errors import InputError
from anabranch.workflows.interpreter.trail import Version


@dataclass(frozen=True, slots=True)
class Past:
    """The context as a version, or several that met, left it."""

    data: Mapping[str, Json]
    writers: Mapping[Path, int]
    """The number of the version that last set or removed each path."""
    missing: frozenset[int] = frozenset()
    """Versions that it descends from and that the history does not hold: an earlier run of the chain does."""

    def value(self, path: Path) -> Json | Missing:
        """The value at a path, or MISSING."""
        return value_at(dict(self.data), path)

    def writers_of(self, path: Path) -> dict[Path, int]:
        """The versions that made what is at a path: of the whole value, else of its parts, or of what it is in."""
        inside = {each: number for each, number in self.writers.items() if each[: len(path)] == path}
        for length in range(len(path) - 1, 0, -1):
            if (number := self.writers.get(path[:length])) is not None:
                return {path[:length]: number, **inside} if path not in inside else inside
        return inside


class Lineage:
    """The versions of a run, by number."""

    def __init__(self, versions: Iterable[Version]) -> None:
        self._by_number = {version.number: version for version in versions}
        self._pasts: dict[tuple[int, ...], Past] = {}

    def __iter__(self) -> Iterator[Version]:
        return iter(self._by_number.values())

    def __len__(self) -> int:
        return len(self._by_number)

    @property
    def first(self) -> int:
        """The number of the oldest version here; 1 where there is none yet."""
        return min(self._by_number, default=1)

    def __getitem__(self, number: int) -> Version:
        """The version with a number. Raises InputError."""
        if (found := self._by_number.get(number)) is None:
            raise InputError(f"there is no version {number}{self._range()}")
        return found

    def after(self, number: int) -> Past:
        """The context as a version left it. Raises InputError."""
        return self.of((self[number].number,))

    def before(self, number: int) -> Past:
        """The context that the writer of a version saw. Raises InputError."""
        return self.of(self[number].parents)

    def of(self, numbers: Sequence[int]) -> Past:
        """The context where lines with these newest versions meet."""
        key = tuple(sorted(set(numbers)))
        if (known := self._pasts.get(key)) is None:
            self._pasts[key] = known = self._fold(key)
        return known

    def _fold(self, heads: Sequence[int]) -> Past:
        found, missing = self._ancestry(heads)
        data, writers = dict[str, Json](), _Writers()
        for number in sorted(found):
            changes = self._by_number[number].changes
            data = apply(data, changes)
            writers.note(changes, number)
        return Past(data, writers.by_path, frozenset(missing))

    def _ancestry(self, heads: Sequence[int]) -> tuple[set[int], set[int]]:
        """These versions and all that they descend from, and those of them that are not here."""
        found, missing, queue = set[int](), set[int](), list(heads)
        for number in queue:  # grows while it is walked
            if number in found:
                continue
            if (version := self._by_number.get(number)) is None:
                missing.add(number)
                continue
            found.add(number)
            queue.extend(version.parents)
        return found, missing

    def _range(self) -> str:
        if not self._by_number:
            return ": the context has none yet"
        return f": the history holds {self.first} to {max(self._by_number)}"

    def by(self, address: str) -> list[Version]:
        """The versions that a node wrote, the oldest first."""
        return [version for version in self if version.by == address]

    def about(self, path: Path) -> list[Version]:
        """The versions that changed something at, above or below a path, the oldest first."""
        return [version for version in self if any(overlap(path, each) for each in changed(version))]

    @classmethod
    def joined(cls, *parts: Self) -> Self:
        """The versions of several workflow runs of one chain."""
        return cls(sorted((each for part in parts for each in part), key=lambda version: version.number))


class _Writers:
    """Who wrote each path last, while versions are gone through."""

    def __init__(self) -> None:
        self.by_path: dict[Path, int] = {}
        self._below: dict[Path, set[Path]] = {}

    def note(self, changes: ChangeSet, number: int) -> None:
        for path in (*changes.removed, *changes.set):
            for below in self._below.pop(path, ()):
                self.by_path.pop(below, None)
            self.by_path[path] = number
            for length in range(1, len(path)):
                self._below.setdefault(path[:length], set()).add(path)


def changed(version: Version) -> tuple[Path, ...]:
    """The paths that a version set or removed."""
    return (*version.changes.set, *version.changes.removed)


def overlap(one: Path, other: Path) -> bool:
    """Whether one path leads to the other, or they are the same."""
    short = min(len(one), len(other))
    return one[:short] == other[:short]


def changes_between(before: Past, after: Past) -> ChangeSet:
    """What differs between two versions, leaf by leaf."""
    return diff(before.data, after.data)


def leaves(value: Json | Missing, path: Path = ()) -> Iterator[Path]:
    """The paths of the values that are no objects, or empty ones."""
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from leaves(each, (*path, key))
    elif value is not MISSING:
        yield path
