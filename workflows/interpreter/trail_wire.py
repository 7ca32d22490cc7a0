"""The audit trail of a run as plain JSON, for a run that continues as new."""

from __future__ import annotations

from typing import Any

from anabranch.context.changes import ChangeSet, Usage
from anabranch.context.merge.resolution import Candidate, parse_policy
from anabranch.context.merge.union import Conflict
from anabranch.context.values import MISSING, Json, Missing
from anabranch.context.wire import measure_plain
from anabranch.workflows.interpreter.trail import AuditTrail, Version

MAX_VERSIONS = 50
"""How many versions of the audit trail a snapshot holds; older ones stay in the history of earlier workflow runs."""
VERSION_BYTES = 4 * 1024 * 1024
"""How much they may have written, as MessagePack. The first one of a large run is its whole input, which the lines of
descent hold too."""


def dump_trail(trail: AuditTrail, written: int) -> dict[str, Any]:
    """The trail of a run that has written so many bytes at most: its newest versions, as many as fit."""
    newest = trail.versions[-MAX_VERSIONS:]
    spent = {"spent": [list(each) for each in trail.spent.values()]} if trail.spent else {}
    return {
        **spent,
        "count": trail.count,
        "versions": [_dump_version(version) for version in (newest if written <= VERSION_BYTES else _that_fit(newest))],
        "settled": [_dump_conflict(conflict) for conflict in trail.settled],
    }


def _that_fit(versions: list[Version]) -> list[Version]:
    """The newest of the versions, as many as fit."""
    left = VERSION_BYTES
    for kept, version in enumerate(reversed(versions)):
        left -= _written(version)
        if left < 0:
            return versions[len(versions) - kept :]
    return versions


def _written(version: Version) -> int:
    """Bytes of the values that a version holds, as MessagePack."""
    held = [*version.changes.set.values()]
    for conflict in version.conflicts:
        values = (conflict.base, conflict.value, *(each.value for each in conflict.candidates))
        held.extend(value for value in values if not isinstance(value, Missing))
    return sum(map(measure_plain, held))


def load_trail(trail: AuditTrail, dumped: dict[str, Any]) -> None:
    """Restore what `dump_trail` gave into an empty trail."""
    trail.count = dumped["count"]
    trail.versions = [_load_version(version) for version in dumped["versions"]]
    trail.settled = [_load_conflict(conflict) for conflict in dumped["settled"]]
    for version in trail.versions:
        trail.note_warnings(version)
    for each in dumped.get("spent", ()):
        trail.spend(Usage(*each))


def _dump_version(version: Version) -> list[Any]:
    head = [version.number, version.version, version.kind, version.by, version.at]
    conflicts = [_dump_conflict(conflict) for conflict in version.conflicts]
    answered = [] if version.answered_by is None else [version.answered_by]
    return [*head, list(version.parents), version.changes.to_wire(), conflicts, *answered]


def _load_version(dumped: list[Any]) -> Version:
    number, version, kind, by, at, parents, changes, conflicts, *answered = dumped
    settled = tuple(_load_conflict(each) for each in conflicts)
    return Version(number, version, kind, by, at, tuple(parents), ChangeSet.from_wire(changes), settled, *answered)


def _dump_conflict(conflict: Conflict) -> list[Any]:
    candidates = [[_optional(each.value), each.version, each.at, each.by] for each in conflict.candidates]
    base, value = _optional(conflict.base), _optional(conflict.value)
    by = [] if conflict.settled_by is None else [conflict.settled_by]
    return [list(conflict.path), base, candidates, str(conflict.policy), value, conflict.settled, *by]


def _load_conflict(dumped: list[Any]) -> Conflict:
    path, base, candidates, policy, value, settled, *by = dumped
    sides = tuple(Candidate(_present(each), version, at, by) for each, version, at, by in candidates)
    return Conflict(tuple(path), _present(base), sides, parse_policy(policy), _present(value), settled, *by)


def _optional(value: Json | Missing) -> list[Json]:
    return [] if isinstance(value, Missing) else [value]


def _present(dumped: list[Json]) -> Json | Missing:
    return dumped[0] if dumped else MISSING
