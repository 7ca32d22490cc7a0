"""Lines of descent: for each path the writes that no later write on the same line has superseded.

A `Line` is the head of one line. Lines share structure, so that a step costs what it changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from context.changes import ChangeSet, apply, refine
from context.values import MISSING, Json, Missing, Path


@dataclass(frozen=True, slots=True, eq=False)
class Write:
    """One surviving change: `writer` made `path` to be `value` (MISSING: removed it) in version `version`.

    `writer` is a number unique among the lines that may meet. `before` are the writes that its line knew where it
    overlaps: at the same path, above it or below it.
    """

    path: Path
    value: Json | Missing
    writer: int
    by: str
    version: int
    at: int
    before: tuple[Write, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """The head of one line of descent. Nothing in it is ever mutated.

    `root` is the data that all lines of the run started from. `seen` and `made` are bit sets of writers: those in this
    line's past, and those of them that made a version.
    """

    root: dict[str, Json]
    root_version: int
    data: dict[str, Json]
    seen: int = 0
    made: int = 0
    writes: Mapping[Path, tuple[Write, ...]] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """Changes along the line of descent, counted from the version of its root."""
        return self.root_version + self.made.bit_count()

    @classmethod
    def start(cls, data: dict[str, Json], version: int = 1) -> Self:
        """A line on which nothing has been written yet."""
        return cls(data, version, data)

    def advance(
        self, changes: ChangeSet, *, writer: int, by: str, at: int, version: int | None = None
    ) -> tuple[Line, ChangeSet]:
        """The line after a writer's changes, and the changes as the deep diff that they came down to.

        The writes carry `version` where the writer counted its versions itself.
        """
        refined = refine(self.data, changes)
        refined = ChangeSet(self.version, refined.set, refined.removed, by, at)
        bit = 1 << writer
        if not refined:
            return Line(self.root, self.root_version, self.data, self.seen | bit, self.made, self.writes), refined
        made = self.made if self.made & bit else self.made | bit
        writes = self._written(refined, writer, self.root_version + made.bit_count() if version is None else version)
        data = apply(self.data, refined)
        return Line(self.root, self.root_version, data, self.seen | bit, made, writes), refined

    def _written(self, changes: ChangeSet, writer: int, version: int) -> dict[Path, tuple[Write, ...]]:
        writes = dict(self.writes)
        index = Overlaps(self.writes)
        values: list[tuple[Path, Json | Missing]] = [(path, MISSING) for path in changes.removed]
        values.extend(changes.set.items())
        for path, value in values:
            above, here, below = index.around(path)
            for each in here + below:
                writes.pop(each.path, None)
            before = (*above, *here, *below)
            writes[path] = (Write(path, value, writer, changes.by, version, changes.at, before),)
        return writes


class Overlaps:
    """Finds the writes at, above and below a path."""

    def __init__(self, writes: Mapping[Path, tuple[Write, ...]]) -> None:
        self._writes = writes
        self._deep: dict[str, list[Path]] | None = None

    def around(self, path: Path) -> tuple[list[Write], list[Write], list[Write]]:
        """Writes above the path, at it, and below it."""
        above = [write for length in range(1, len(path)) for write in self._writes.get(path[:length], ())]
        here = list(self._writes.get(path, ()))
        below = [
            write
            for other in self._under(path[0])
            if len(other) > len(path) and other[: len(path)] == path
            for write in self._writes[other]
        ]
        return above, here, below

    def _under(self, key: str) -> list[Path]:
        if self._deep is None:
            self._deep = {}
            for path in self._writes:
                if len(path) > 1:
                    self._deep.setdefault(path[0], []).append(path)
        return self._deep.get(key, [])
