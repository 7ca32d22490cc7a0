"""Lines of descent: for each path, the writes that no later write on the same line has superseded.

A `Line` is the head of one line. Lines share structure, so that advancing a line costs what was changed, not the size
of the context.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from anabranch.context.changes import ChangeSet, apply, overlay, refine
from anabranch.context.values import MISSING, Json, Missing, Path, value_at


@dataclass(frozen=True, slots=True, eq=False)
class Write:
    """One change: `writer` set `path` to `value` (MISSING: removed it) in version `version`.

    `writer` is a number that is unique among the lines that may meet; a writer writes once. `before` holds the
    overlapping writes that its line knew: at the same path, above it or below it.

    A `settled` write is what a policy derived from the writes in `before`. It adds no information: those writes are its
    facts. Any other write is a fact itself.
    """

    path: Path
    value: Json | Missing
    writer: int
    by: str
    version: int
    at: int
    before: tuple[Write, ...] = field(default=(), repr=False)
    settled: bool = False

    @property
    def facts(self) -> tuple[Write, ...]:
        """The original writes that this one represents."""
        return self.before if self.settled else (self,)


Writes = Mapping[Path, tuple[Write, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """The head of one line of descent. It is never mutated.

    `root` is the data that all lines of the run started from, and `data` is `root` with `writes` applied. `seen` and
    `made` are bit sets of writers: those in this line's past, and those of them that made a version. Writes at the same
    path agree.
    """

    root: dict[str, Json]
    root_version: int
    data: dict[str, Json]
    seen: int = 0
    made: int = 0
    writes: Writes = field(default_factory=dict)

    @property
    def version(self) -> int:
        """Changes along the line of descent, counted from the version of its root."""
        return self.root_version + self.made.bit_count()

    @classmethod
    def start(cls, data: dict[str, Json], version: int = 1) -> Self:
        """A line without writes."""
        return cls(data, version, data)

    def advance(
        self, changes: ChangeSet, *, writer: int, by: str, at: int, version: int | None = None
    ) -> tuple[Line, ChangeSet]:
        """The line after a writer's changes, and those changes reduced to what differs from the line's data.

        Pass `version` where the writer counts its own versions.
        """
        refined = refine(self.data, changes)
        refined = ChangeSet(self.version, refined.set, refined.removed, by, at, refined.warnings, usage=refined.usage)
        seen = self.seen | 1 << writer
        if not refined:
            return Line(self.root, self.root_version, self.data, seen, self.made, self.writes), refined
        made = self.made | 1 << writer
        version = self.root_version + made.bit_count() if version is None else version
        data = apply(self.data, refined)
        return Line(self.root, self.root_version, data, seen, made, self._written(refined, writer, version)), refined

    def _written(self, changes: ChangeSet, writer: int, version: int) -> Writes:
        writes = dict(self.writes)
        index = Overlaps(self.writes)
        values: list[tuple[Path, Json | Missing]] = [(path, MISSING) for path in changes.removed]
        values.extend(changes.set.items())
        for path, value in values:
            # Only an object can have writes below it; looking for them needs an index of all paths.
            is_object = isinstance(value_at(self.data, path), dict)
            hidden = index.at_and_below(path) if is_object else self.writes.get(path, ())
            for each in hidden:
                writes.pop(each.path, None)
            before = (*index.above(path), *hidden)
            writes[path] = (Write(path, value, writer, changes.by, version, changes.at, before),)
        return writes


class Overlaps:
    """Finds the writes at, above and below a path."""

    def __init__(self, writes: Writes) -> None:
        self._writes = writes
        self._below: dict[Path, list[Path]] | None = None

    def above(self, path: Path) -> list[Write]:
        """Writes above the path, the shortest path first."""
        return [write for length in range(1, len(path)) for write in self._writes.get(path[:length], ())]

    def at_and_below(self, path: Path) -> list[Write]:
        """Writes at the path, then those below it."""
        if self._below is None:
            self._below = {}
            for deep in self._writes:
                for length in range(1, len(deep)):
                    self._below.setdefault(deep[:length], []).append(deep)
        return [write for each in (path, *self._below.get(path, ())) for write in self._writes.get(each, ())]


def past(write: Write) -> Iterator[Write]:
    """Every write in a write's past, each once, the nearest first."""
    queue = list(write.before)
    seen: set[Write] = set()
    for each in queue:  # grows while it is walked
        if each not in seen:
            seen.add(each)
            queue.extend(each.before)
            yield each


def oldest_first(heads: Sequence[Write]) -> list[Write]:
    """The heads and their past, each write once, every write after those in its own past."""
    done: dict[Write, None] = {}
    stack = list(reversed(heads))
    while stack:
        missing = [each for each in reversed(stack[-1].before) if each not in done]
        if missing:
            stack.extend(missing)
        else:
            done[stack.pop()] = None
    return list(done)


def replay(root: dict[str, Json], writes: Iterable[Write]) -> dict[str, Json]:
    """The data with writes applied, the shortest paths first.

    Removing a key leaves the object that held it, even if no other write created that object.
    """
    values: list[tuple[Path, Json | Missing]] = []
    for write in sorted(writes, key=lambda write: len(write.path)):
        if write.value is MISSING and len(write.path) > 1:
            # Setting the key first creates the objects that lead to it.
            values.append((write.path, None))
        values.append((write.path, write.value))
    return overlay(root, values)
