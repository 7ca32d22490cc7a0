"""The merge of lines of descent: causality decides, not the clock.

Only writes that no line has superseded can conflict. `merge_heads` is a three-way merge of any number of lines: it
looks at all of them at once, in declaration order. Its result does not depend on which of them was reported first, and
only under `last_write_wins` on when they wrote. (The idea is that of version vectors: Parker et al., *Detection of
Mutual Inconsistency in Distributed Systems*, 1983. The base of a conflict is the lines' common ancestor, as in a
version control system.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

from anabranch.context.merge.lineage import Line, Write, replay
from anabranch.context.merge.reduction import accumulated, adds_up, reduce
from anabranch.context.merge.resolution import (
    UNSETTLED,
    Candidate,
    ConflictResolution,
    Policies,
    Policy,
    Reducer,
    Unsettled,
    merge_all,
    winner,
)
from anabranch.context.merge.survival import (
    Bases,
    ConcurrentWrites,
    Group,
    Side,
    as_known,
    drop_ancestors,
    groups,
    has_seen,
)
from anabranch.context.values import MISSING, Json, Missing, Path, same, value_at


@dataclass(frozen=True, slots=True)
class Conflict:
    """A path that lines changed differently since their common ancestor, where its value was `base`.

    `value` is the chosen value; while `settled` is False, a person still has to choose.
    """

    path: Path
    base: Json | Missing
    candidates: tuple[Candidate, ...]
    policy: Policy
    value: Json | Missing
    settled: bool
    settled_by: str | None = None
    """The name of who chose, where somebody did and gave one."""


@dataclass(frozen=True, slots=True)
class MergeResult:
    """The merged line, None while a conflict is not settled, and all conflicts."""

    line: Line | None
    conflicts: tuple[Conflict, ...] = ()


def merge_heads(
    lines: Sequence[Line],
    policies: Policies,
    *,
    writer: int,
    by: str,
    at: int,
    choices: Mapping[Path, Json | Missing] | None = None,
) -> MergeResult:
    """Merge lines given in declaration order; `writer` is the author of what the policies (or `choices`) settle.

    Takes time linear in the surviving writes, not in the data. What a policy settles is dated by the newest write
    involved, so that it does not matter where or when the lines were joined before; a choice is dated `at`.
    """
    heads = drop_ancestors(lines)
    if len(heads) == 1:
        return MergeResult(heads[0])
    return _Merge(heads, policies, choices or {}, Write((), MISSING, writer, by, 0, at)).result()


def line_as_known(line: Line, known: int) -> Line:
    """The line as it was when only the writers in the bit set `known` had written."""
    writes: dict[Path, tuple[Write, ...]] = {}
    for write in as_known((write for found in line.writes.values() for write in found), known):
        agreeing = [each for each in writes.get(write.path, ()) if same(each.value, write.value)]
        writes[write.path] = (*agreeing, write)
    data = replay(line.root, (found[-1] for found in writes.values()))
    return Line(line.root, line.root_version, data, line.seen & known, line.made & known, writes)


class _Merge:
    """One merge; `stamp` holds the writer and the time."""

    def __init__(
        self, lines: Sequence[Line], policies: Policies, choices: Mapping[Path, Json | Missing], stamp: Write
    ) -> None:
        self.lines = lines
        self.root = lines[0].root
        self.policies = policies
        self.choices = choices
        self.stamp = stamp
        self.concurrent = ConcurrentWrites(lines)
        self.bases = Bases(self.root)
        self.adopted: dict[Path, tuple[Write, ...]] = {}
        self.conflicts: list[Conflict] = []

    def result(self) -> MergeResult:
        apart: list[Group] = [self.concurrent.writes]
        for top, found in chain.from_iterable(map(groups, apart)):  # grows: a group may fall apart below its top
            sides = self.concurrent.sides(found) if len(found) > 1 or len(found[top]) > 1 else []
            group = _held(sides) if sides else {top: tuple(found[top])}
            if len(sides) <= 1:
                self.adopted.update(group)
            elif self._undisputed(top, group, sides):
                self.adopted[top] = group.pop(top)
                apart.append(group)
            elif self._agreed(top, sides):
                self.adopted.update(group)
            else:
                self._settle(top, group, sides)
        settled = all(conflict.settled for conflict in self.conflicts)
        return MergeResult(self._line() if settled else None, tuple(self.conflicts))

    def _undisputed(self, top: Path, group: Group, sides: Sequence[Side]) -> bool:
        """Whether the writes at `top` agree, and every write below has them in its past."""
        writes = group[top]
        if not self._same(top, [write.value for write in writes]):
            return False
        below = [write for path, found in group.items() if path != top for write in found]
        loose = [shallow for shallow in writes if not all(has_seen(write, shallow) for write in below)]
        if not loose:
            return True
        # Creating an empty object where there was none is compatible with anything that others put into it.
        return all(write.value == {} for write in loose) and not isinstance(self._base(top, sides), dict)

    def _agreed(self, top: Path, sides: Sequence[Side]) -> bool:
        return self._same(top, [value_at(side.line.data, top) for side in sides])

    def _same(self, path: Path, values: Sequence[Json | Missing]) -> bool:
        if len(values) > 1 and adds_up(self.policies.at(path), values[0]):
            return False
        return all(same(value, values[0]) for value in values[1:])

    def _settle(self, top: Path, group: Group, sides: Sequence[Side]) -> None:
        policy = self.policies.at(top)
        candidates = tuple(side.candidate(top, policy) for side in sides)
        heads = tuple(write for writes in group.values() for write in writes)
        write = self._chosen(top, heads) if top in self.choices else self._decided(top, candidates, heads)
        value = write.value if write else MISSING
        base = self._base(top, sides)
        self.conflicts.append(Conflict(top, base, candidates, policy, value, settled=write is not None))
        if write:
            self.adopted[top] = (write,)

    def _chosen(self, top: Path, heads: tuple[Write, ...]) -> Write:
        added_up = accumulated(self.policies.at(top), top, self.root, heads)
        if not isinstance(added_up, Missing):  # later sums must count the choice relative to the combined value
            facts = tuple(self.concurrent.facts_of(heads))
            heads = (replace(self.stamp, path=top, value=added_up, before=facts, settled=True),)
        return replace(self.stamp, path=top, value=self.choices[top], version=self._version, before=heads)

    def _decided(self, top: Path, candidates: Sequence[Candidate], heads: Sequence[Write]) -> Write | None:
        """What the policy derives from the heads; None if it leaves the choice to a person."""
        policy, facts = self.policies.at(top), self.concurrent.facts_of(heads)
        chosen = winner(candidates, policy)
        if chosen is not None:
            value: Json | Missing | Unsettled = chosen.value
        elif all(fact.path == top for fact in facts):
            value = self._combined(top, policy, [fact.value for fact in facts], heads)
        else:
            value = self._combined(top, policy, [candidate.value for candidate in candidates], heads)
        if isinstance(value, Unsettled):
            return None
        by = chosen.by if chosen else self.stamp.by
        version = chosen.version if chosen else max(candidate.version for candidate in candidates)
        at = chosen.at if chosen else max(candidate.at for candidate in candidates)
        return Write(top, value, self.stamp.writer, by, version, at, before=tuple(facts), settled=True)

    def _combined(
        self, top: Path, policy: Policy, values: Sequence[Json | Missing], heads: Sequence[Write]
    ) -> Json | Missing | Unsettled:
        if isinstance(policy, Reducer):
            return reduce(policy, top, self.root, values, heads)
        return merge_all(values) if policy is ConflictResolution.MERGE_ALL else UNSETTLED

    def _base(self, top: Path, sides: Sequence[Side]) -> Json | Missing:
        return self.bases.base(top, [side.line for side in sides])

    @cached_property
    def _version(self) -> int:
        made = 1 << self.stamp.writer
        for line in self.lines:
            made |= line.made
        return self.lines[0].root_version + made.bit_count()

    def _line(self) -> Line:
        merge = 1 << self.stamp.writer if self.conflicts else 0
        seen, made = merge, merge
        for line in self.lines:
            seen, made = seen | line.seen, made | line.made
        data = replay(self.root, (writes[0] for writes in self.adopted.values()))
        return Line(self.root, self.lines[0].root_version, data, seen, made, self.adopted)


def _held(sides: Sequence[Side]) -> dict[Path, tuple[Write, ...]]:
    """The writes that the sides hold, each once; settled writes with the same facts count as one."""
    group: dict[Path, dict[frozenset[Write], Write]] = {}
    for write in (write for side in sides for write in side.writes):
        group.setdefault(write.path, {}).setdefault(frozenset(write.facts), write)
    return {path: tuple(writes.values()) for path, writes in group.items()}
