"""Where lines of descent meet: the writes that no line has superseded, and which lines hold them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from anabranch.context.merge.lineage import Line, Overlaps, Write, past, replay
from anabranch.context.merge.resolution import Candidate, ConflictResolution, Policy
from anabranch.context.values import Json, Missing, Path, value_at

Group = Mapping[Path, Sequence[Write]]
"""Writes whose paths overlap, by path."""


@dataclass(frozen=True, slots=True)
class Side:
    """A line that takes part where writes overlap, and which of those writes it holds."""

    line: Line
    writes: tuple[Write, ...]

    def candidate(self, top: Path, policy: Policy) -> Candidate:
        """The line's value at a path, dated by the newest of its writes: by version where versions decide."""
        if policy is ConflictResolution.HIGHER_VERSION_WINS:
            newest = max(reversed(self.writes), key=lambda write: write.version)
        else:
            newest = max(self.writes, key=lambda write: (write.at, write.version))
        return Candidate(value_at(self.line.data, top), newest.version, newest.at, newest.by)


class ConcurrentWrites:
    """The writes on lines, in declaration order, that none of the lines has superseded.

    A fact survives while every line that has seen it still holds it; a settled write, while one of its facts survives.
    """

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines
        # Bit sets of lines: of containers there would be one for each write, and each makes the collector slower.
        self._holders: dict[Write, int] = {}
        facts: dict[Write, int] = {}
        for index, line in enumerate(lines):
            for write in chain.from_iterable(line.writes.values()):
                self._holders[write] = self._holders.get(write, 0) | 1 << index
                for fact in write.facts:
                    facts[fact] = facts.get(fact, 0) | 1 << index
        self.facts = self._surviving(facts)
        self.writes: dict[Path, Sequence[Write]] = {}
        for index, line in enumerate(lines):
            for path, held in line.writes.items():
                self._add(path, held, index)

    def _add(self, path: Path, held: Sequence[Write], index: int) -> None:
        """Keep what a line holds at a path, but for what has been superseded, and what a line before it holds too."""
        if not all(map(self._survives, held)):
            held = tuple(filter(self._survives, held))
        if path not in self.writes:
            if held:
                self.writes[path] = held
            return
        new = [write for write in held if self._holders[write] & -self._holders[write] == 1 << index]
        if new:
            known = self.writes[path]
            both = known if isinstance(known, list) else list(known)
            both.extend(new)
            self.writes[path] = both

    def _survives(self, write: Write) -> bool:
        return write in self.facts or (write.settled and any(fact in self.facts for fact in write.before))

    def _surviving(self, facts: Mapping[Write, int]) -> frozenset[Write]:
        _, twice = _seen_bits(self._lines)
        seen_by: dict[int, int] = {}
        for fact in facts:
            if twice >> fact.writer & 1 and fact.writer not in seen_by:
                seen_by[fact.writer] = sum(line.seen >> fact.writer & 1 for line in self._lines)
        return frozenset(fact for fact, holders in facts.items() if holders.bit_count() == seen_by.get(fact.writer, 1))

    def facts_of(self, writes: Iterable[Write]) -> list[Write]:
        """The surviving facts that writes represent, each once."""
        return list(dict.fromkeys(fact for write in writes for fact in write.facts if fact in self.facts))

    def sides(self, group: Group) -> list[Side]:
        """The lines that hold writes of a group, in declaration order, except those that know less than another."""
        held: dict[int, list[Write]] = {}
        for write in (write for writes in group.values() for write in writes):
            holders = self._holders[write]
            while holders:
                held.setdefault((holders & -holders).bit_length() - 1, []).append(write)
                holders &= holders - 1
        sides: dict[frozenset[Write], Side] = {}
        for index in sorted(held):
            known = frozenset(self.facts_of(held[index]))
            sides.setdefault(known, Side(self._lines[index], tuple(held[index])))
        return [sides[known] for known in _maximal(sides)]


class Bases:
    """Values of common ancestors on one root."""

    def __init__(self, root: dict[str, Json]) -> None:
        self._root = root
        self._overlaps: dict[Line, Overlaps] = {}

    def base(self, path: Path, lines: Sequence[Line]) -> Json | Missing:
        """The value in the lines' common ancestor: the root with the newest writes that every line has seen."""
        common = -1
        for line in lines:
            common &= line.seen
        known = as_known([write for line in lines for write in self._around(path, line)], common)
        root = {key: value for key, value in self._root.items() if key == path[0]}
        return value_at(replay(root, known), path)

    def _around(self, path: Path, line: Line) -> list[Write]:
        if line not in self._overlaps:
            self._overlaps[line] = Overlaps(line.writes)
        index = self._overlaps[line]
        return [*index.above(path), *index.at_and_below(path)]


def as_known(writes: Iterable[Write], known: int) -> list[Write]:
    """The newest writes in the past of these, by writers in the bit set `known`, the oldest version first."""
    found: dict[Write, None] = {}
    queue = list(dict.fromkeys(writes))
    seen = set(queue)
    for write in queue:  # grows while it is walked
        if all(known >> fact.writer & 1 for fact in write.facts):
            found[write] = None
        else:
            queue.extend(each for each in dict.fromkeys(write.before) if each not in seen)
            seen.update(write.before)
    if len(found) > 1:
        for write in list(found):
            for each in past(write):
                if each in found and each.path[: len(write.path)] == write.path:
                    del found[each]
    return sorted(found, key=lambda write: write.version)


def drop_ancestors(lines: Sequence[Line]) -> list[Line]:
    """The lines that are not ancestors of another line; of lines that have seen the same, the first one."""
    _, twice = _seen_bits(lines)
    heads: dict[int, Line] = {}
    # An ancestor has seen less: with the longest first, each line is compared only with possible descendants.
    for line in sorted(lines, key=lambda line: -line.seen.bit_count()):
        if line.seen & ~twice or not any(line.seen | other == other for other in heads):
            heads[line.seen] = line
    return [line for line in lines if heads.get(line.seen) is line]


def groups(writes: Group) -> Iterator[tuple[Path, Group]]:
    """Writes whose paths overlap, grouped under the shortest path; groups are in the order of the writes there."""
    below: dict[Path, list[Path]] = {}
    for path in sorted((path for path in writes if len(path) > 1), key=len):
        above = (path[:length] for length in range(1, len(path)))
        top = next((each for each in above if each in writes), None)
        if top is not None:
            below.setdefault(top, []).append(path)
    deep = set(chain.from_iterable(below.values()))
    for top, found in writes.items():
        if top not in deep:
            yield top, {top: found, **{path: writes[path] for path in below.get(top, ())}}


def has_seen(write: Write, shallow: Write) -> bool:
    """Whether all facts of a shallow write are in the past of a deeper one."""
    if shallow in write.before:
        return True
    missing = set(shallow.facts)
    for each in past(write):
        missing.discard(each)
        if not missing:
            return True
    return False


def _seen_bits(lines: Sequence[Line]) -> tuple[int, int]:
    """Writers that any line has seen, and those that more than one line has seen."""
    once = twice = 0
    for line in lines:
        twice |= once & line.seen
        once |= line.seen
    return once, twice


def _maximal(known: Mapping[frozenset[Write], object]) -> list[frozenset[Write]]:
    """The sets that are not proper subsets of another one."""
    sharing: dict[Write, list[frozenset[Write]]] = {}
    for facts in known:
        for fact in facts:
            sharing.setdefault(fact, []).append(facts)
    fewest = (min((sharing[fact] for fact in facts), key=len) for facts in known)
    return [facts for facts, others in zip(known, fewest, strict=True) if not any(facts < other for other in others)]
