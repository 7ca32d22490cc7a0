"""The audit trail of a run: one `Version` for each change of the context, with its parents and conflicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from anabranch.context.changes import ChangeSet, Usage
from anabranch.context.merge.lineage import Line
from anabranch.context.merge.union import Conflict
from anabranch.context.values import Json, Missing, Path, format_path

Kind = Literal["input", "node", "fallback", "merge", "external", "compensation", "rollback"]
MAX_ENTRIES = 1000
"""Older entries are dropped from memory. The workflow's history still holds them."""
MAX_CONFLICTS = 200
"""How many settled conflicts the result reports, the newest ones."""
MAX_WARNINGS = 10
"""How many warnings the Web UI's details and `status` show, the newest ones. The versions hold theirs."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the context. `number` counts the versions of the run, `version` those on its line of descent."""

    number: int
    version: int
    kind: Kind
    by: str
    at: int
    parents: tuple[int, ...]
    changes: ChangeSet
    conflicts: tuple[Conflict, ...] = ()
    answered_by: str | None = None
    """The name of who gave the answer that an `approval` wrote."""

    def head(self) -> dict[str, Json]:
        """The version as JSON for people, without its changes. Times are Unix milliseconds."""
        told: dict[str, Json] = {
            "number": self.number,
            "version": self.version,
            "kind": self.kind,
            "by": self.by,
            "at": self.at,
            "parents": list(self.parents),
        }
        return told if self.answered_by is None else {**told, "answered_by": self.answered_by}


def describe_conflict(conflict: Conflict, *, values: bool = True) -> dict[str, Json]:
    """A conflict as JSON for people: path, value before, who wrote what, and how it was settled."""
    candidates: list[Json] = [
        {"by": each.by, "version": each.version, "at": each.at, **(_value("value", each.value) if values else {})}
        for each in conflict.candidates
    ]
    described: dict[str, Json] = {
        "path": format_path(conflict.path),
        "strategy": str(conflict.policy),
        "candidates": candidates,
        "settled": conflict.settled,
    }
    if conflict.settled_by is not None:
        described["settled_by"] = conflict.settled_by
    if not values:
        return {**described, "values_left_out": True}
    described |= _value("base", conflict.base)
    if conflict.settled:
        described |= _value("choice", conflict.value)
    return described


class AuditTrail:
    """The newest `MAX_ENTRIES` versions, in the order in which they were recorded."""

    def __init__(self, recorded: Callable[[Version], None] | None = None) -> None:
        self._recorded = recorded
        self.versions: list[Version] = []
        self.count = 0
        self.settled: list[Conflict] = []
        """The newest `MAX_CONFLICTS` conflicts that merges settled."""
        self.warnings: list[tuple[str, str]] = []
        """The newest `MAX_WARNINGS` warnings, each with the address of the node that gave it."""
        self.spent: dict[str, Usage] = {}
        """What the run has spent at language models, by their names."""

    def tell(self, recorded: Callable[[Version], None]) -> None:
        """From now on another one hears of new versions."""
        self._recorded = recorded

    def record(
        self,
        kind: Kind,
        line: Line,
        changes: ChangeSet,
        *,
        by: str,
        at: int,
        parents: Iterable[int],
        conflicts: tuple[Conflict, ...] = (),
        answered_by: str | None = None,
    ) -> int:
        """Append a version; returns its number, counted from 1."""
        self.count += 1
        entry = Version(self.count, line.version, kind, by, at, tuple(parents), changes, conflicts, answered_by)
        self.versions.append(entry)
        if len(self.versions) > MAX_ENTRIES:
            del self.versions[0]
        self.settled = [*self.settled, *conflicts][-MAX_CONFLICTS:] if conflicts else self.settled
        self.note_warnings(entry)
        for usage in changes.usage:
            self.spend(usage)
        if self._recorded is not None:
            self._recorded(entry)
        return self.count

    def spend(self, usage: Usage) -> None:
        """Add to what has been spent."""
        before = self.spent.get(usage.model)
        self.spent[usage.model] = usage if before is None else before.plus(usage)

    def warn(self, by: str, text: str) -> None:
        """Keep at hand what somebody other than the writer of a version warns of."""
        self.warnings = [*self.warnings, (by, text)][-MAX_WARNINGS:]

    def note_warnings(self, entry: Version) -> None:
        """Keep what a version's writer warns of at hand. Of fallbacks inside of a body the node around it tells."""
        if entry.changes.warnings and not (entry.kind == "fallback" and "/" in entry.by):
            said = [(entry.by, text) for text in entry.changes.warnings]
            self.warnings = [*self.warnings, *said][-MAX_WARNINGS:]


def merge_changes(conflicts: Iterable[Conflict], *, base_version: int, by: str, at: int) -> ChangeSet:
    """The choices of a merge as a change set."""
    chosen: dict[Path, Json] = {}
    removed: list[Path] = []
    for conflict in conflicts:
        value = conflict.value
        if isinstance(value, Missing):
            removed.append(conflict.path)
        else:
            chosen[conflict.path] = value
    return ChangeSet(base_version=base_version, set=chosen, removed=tuple(removed), by=by, at=at)


def _value(name: str, value: Json | Missing) -> dict[str, Json]:
    return {} if isinstance(value, Missing) else {name: value}
