"""The merge of lines of descent: causality decides, not the clock.

Only writes that no line has superseded can conflict. `unite` is an n-way three-way merge: it looks at all lines at
once, in declaration order, and its result does not depend on which of them was finished first. (The idea is that of
version vectors: Parker et al., *Detection of Mutual Inconsistency in Distributed Systems*, 1983. The base of a
conflict is the lines' common ancestor, as in a version control system.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from context.changes import overlay
from context.lineage import Line, Overlaps, Write
from context.resolution import Candidate, Policies, Policy, Unsettled, reduces, settle
from context.values import MISSING, Json, Missing, Path, same, value_at


@dataclass(frozen=True, slots=True)
class Conflict:
    """A path that lines changed differently since their common ancestor, whose value there was `base`.

    `value` is what was chosen; while `settled` is False somebody still has to choose.
    """

    path: Path
    base: Json | Missing
    candidates: tuple[Candidate, ...]
    policy: Policy
    value: Json | Missing
    settled: bool


@dataclass(frozen=True, slots=True)
class Union:
    """What lines come to together. `line` is None while a conflict is not settled; `conflicts` holds all of them."""

    line: Line | None
    conflicts: tuple[Conflict, ...] = ()


def unite(
    lines: Sequence[Line],
    policies: Policies,
    *,
    writer: int,
    by: str,
    at: int,
    choices: Mapping[Path, Json | Missing] | None = None,
) -> Union:
    """Merge lines that stand in declaration order; `writer` writes what the policies (or `choices`) settle.

    Linear in the writes that survive on the lines, not in the data.
    """
    heads = _undominated(lines)
    if len(heads) == 1:
        return Union(heads[0])
    return _Merge(heads, policies, choices or {}).union(writer=writer, by=by, at=at)


class _Merge:
    def __init__(self, lines: Sequence[Line], policies: Policies, choices: Mapping[Path, Json | Missing]) -> None:
        self.lines = lines
        self.policies = policies
        self.choices = choices
        self.surviving = _surviving(lines)

    def union(self, *, writer: int, by: str, at: int) -> Union:
        adopted: dict[Path, tuple[Write, ...]] = {}
        conflicts: list[Conflict] = []
        behind: dict[Path, tuple[Write, ...]] = {}
        queue = _groups(self.surviving)
        for top, group in queue:  # grows while it is walked: a group may fall apart below its top
            if not self._disputed(top, group):
                adopted[top] = tuple(group.pop(top)[:1])
                queue.extend(_groups(group))
            else:
                conflicts.append(self._conflict(top, group))
                behind[top] = tuple(write for writes in group.values() for write in writes)
        if not all(conflict.settled for conflict in conflicts):
            return Union(None, tuple(conflicts))
        for conflict in conflicts:
            # What a policy chose is as new as its newest candidate, whenever the lines happened to meet.
            newest = at if conflict.path in self.choices else max(each.at for each in conflict.candidates)
            version, before = self._version(writer), behind[conflict.path]
            adopted[conflict.path] = (Write(conflict.path, conflict.value, writer, by, version, newest, before),)
        return Union(self._line(adopted, 1 << writer if conflicts else 0), tuple(conflicts))

    def _version(self, writer: int) -> int:
        made = 1 << writer
        for line in self.lines:
            made |= line.made
        return self.lines[0].root_version + made.bit_count()

    def _line(self, writes: dict[Path, tuple[Write, ...]], merge: int) -> Line:
        first, seen, made = self.lines[0], merge, merge
        for line in self.lines:
            seen, made = seen | line.seen, made | line.made
        return Line(first.root, first.root_version, _replay(first, writes), seen, made, writes)

    def _conflict(self, top: Path, group: Mapping[Path, Sequence[Write]]) -> Conflict:
        policy = self.policies.at(top)
        sides = self._sides(group)
        base = self._base(top, [line for line, _ in sides])
        candidates = tuple(_candidate(line, own, top) for line, own in sides)
        if top in self.choices:
            return Conflict(top, base, candidates, policy, self.choices[top], settled=True)
        value = settle(base, candidates, policy)
        if isinstance(value, Unsettled):
            return Conflict(top, base, candidates, policy, MISSING, settled=False)
        return Conflict(top, base, candidates, policy, value, settled=True)

    def _disputed(self, top: Path, group: Mapping[Path, Sequence[Write]]) -> bool:
        """Whether the writes at `top` disagree, or what stands below was not written on top of them."""
        writes = group[top]
        if len(writes) > 1:
            if reduces(self.policies.at(top)):
                return True
            if not all(same(write.value, writes[0].value) for write in writes[1:]):
                return True
        below = [write for path, found in group.items() if path != top for write in found]
        return not all(_fits_under(write, shallow) for shallow in writes for write in below)

    def _sides(self, group: Mapping[Path, Sequence[Write]]) -> list[tuple[Line, list[Write]]]:
        """The lines that take part in a dispute, each with its own writes; lines that say the same count once."""
        sides: dict[frozenset[int], tuple[Line, list[Write]]] = {}
        disputed = {id(write) for writes in group.values() for write in writes}
        for line in self.lines:
            own = [write for path in group for write in line.writes.get(path, ()) if id(write) in disputed]
            if own:
                sides.setdefault(frozenset(map(id, own)), (line, own))
        holders: dict[int, list[frozenset[int]]] = {}
        for key in sides:
            for each in key:
                holders.setdefault(each, []).append(key)
        return [side for key, side in sides.items() if not any(key < other for other in holders[next(iter(key))])]

    def _base(self, top: Path, sides: Sequence[Line]) -> Json | Missing:
        """The value at `top` in the common ancestor: the newest writes that every side has seen, on top of the root."""
        common = -1
        for line in sides:
            common &= line.seen
        there = [write for line in sides for writes in Overlaps(line.writes).around(top) for write in writes]
        return value_at(_overlay(self.lines[0].root, _as_known(there, common)), top)


def line_as_known(line: Line, known: int) -> Line:
    """The line as it stood when only the writers in the bit set `known` had written."""
    newest = _as_known([write for writes in line.writes.values() for write in writes], known)
    by_path = {write.path: (write,) for write in newest}
    data = _overlay(line.root, newest)
    return Line(line.root, line.root_version, data, line.seen & known, line.made & known, by_path)


def _as_known(writes: Sequence[Write], known: int) -> list[Write]:
    """The newest writes by writers in `known` that lead to these, shallow ones first."""
    found: dict[int, Write] = {}
    queue, visited = list(writes), set(map(id, writes))
    for write in queue:  # grows while it is walked
        if known >> write.writer & 1:
            found[id(write)] = write
            continue
        queue.extend(each for each in write.before if id(each) not in visited)
        visited.update(map(id, write.before))
    superseded = {id(each) for write in found.values() for each in _past(write) if _covers(write, each)}
    newest = [write for key, write in found.items() if key not in superseded]
    return sorted(newest, key=lambda write: (len(write.path), write.version))


def _undominated(lines: Sequence[Line]) -> list[Line]:
    """The lines that are not part of another one's past, each once."""
    _, twice = _seen_bits(lines)
    heads: list[Line] = []
    for index, line in enumerate(lines):
        if line.seen & ~twice or not _covered(line, index, lines):
            heads.append(line)
    return heads


def _covered(line: Line, index: int, lines: Sequence[Line]) -> bool:
    """Whether another line has seen all that this one has; of lines that have seen the same, the first one stays."""
    for place, other in enumerate(lines):
        if place != index and line.seen | other.seen == other.seen and (line.seen != other.seen or place < index):
            return True
    return False


def _seen_bits(lines: Sequence[Line]) -> tuple[int, int]:
    """Writers that a line has seen, and those that more than one has."""
    once = twice = 0
    for line in lines:
        twice |= once & line.seen
        once |= line.seen
    return once, twice


def _surviving(lines: Sequence[Line]) -> dict[Path, list[Write]]:
    """For each path the distinct writes that no other line has seen and superseded, in declaration order."""
    _, twice = _seen_bits(lines)
    surviving: dict[Path, list[Write]] = {}
    judged: set[int] = set()
    for line in lines:
        for path, writes in line.writes.items():
            for write in writes:
                if twice >> write.writer & 1:
                    if id(write) in judged:
                        continue
                    judged.add(id(write))
                    if any(_superseded(write, other) for other in lines):
                        continue
                surviving.setdefault(path, []).append(write)
    return surviving


def _superseded(write: Write, line: Line) -> bool:
    return bool(line.seen >> write.writer & 1) and write not in line.writes.get(write.path, ())


def _candidate(line: Line, own: Sequence[Write], top: Path) -> Candidate:
    last = max(own, key=lambda write: (write.at, write.version))
    return Candidate(value_at(line.data, top), last.version, last.at, last.by)


def _fits_under(write: Write, shallow: Write) -> bool:
    """Whether a deeper write was made on top of a shallow one, or goes into the empty object that it made."""
    if shallow.value == {} and write.value is not MISSING:
        return True
    return any(each is shallow for each in _past(write))


def _groups(writes: Mapping[Path, list[Write]]) -> list[tuple[Path, dict[Path, list[Write]]]]:
    """Writes whose paths overlap, together under their shortest path; in the order of the first write of each."""
    tops: dict[Path, dict[Path, list[Write]]] = {}
    for path in sorted(writes, key=len):
        top = next((path[:length] for length in range(1, len(path)) if path[:length] in tops), path)
        tops.setdefault(top, {})[path] = writes[path]
    order = {path: index for index, path in enumerate(writes)}
    return sorted(tops.items(), key=lambda item: order[item[0]])


def _past(write: Write) -> Iterable[Write]:
    queue = list(write.before)
    seen: set[int] = set()
    for each in queue:
        if id(each) not in seen:
            seen.add(id(each))
            queue.extend(each.before)
            yield each


def _covers(write: Write, other: Write) -> bool:
    return other.path[: len(write.path)] == write.path


def _replay(first: Line, writes: Mapping[Path, tuple[Write, ...]]) -> dict[str, Json]:
    """The data of the surviving writes: the first line's, corrected where it differs."""
    changed = [
        write for path, found in writes.items() for write in found[:1] if first.writes.get(path, ())[:1] != (write,)
    ]
    gone = [path for path in first.writes if path not in writes]
    if gone:
        return _overlay(first.root, sorted((found[0] for found in writes.values()), key=_depth))
    return _overlay(first.data, sorted(changed, key=_depth))


def _depth(write: Write) -> int:
    return len(write.path)


def _overlay(data: dict[str, Json], writes: Sequence[Write]) -> dict[str, Json]:
    """The data with writes applied, shallow ones first. An empty object never hides what stands below it."""
    values = [(write.path, write.value) for write in writes]
    hiding = {path for path, value in values if value == {} and isinstance(value_at(data, path), dict)}
    return overlay(data, [(path, value) for path, value in values if path not in hiding]) if values else data
