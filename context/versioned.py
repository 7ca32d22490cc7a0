"""The `VersionedContext`: the versions of one session, who wrote each path, and merges with other copies."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from anabranch.context.changes import ChangeSet, diff
from anabranch.context.distributed import ContextMetadata, ContextSnapshot, DistributedContext
from anabranch.context.merge.resolution import ConflictResolution
from anabranch.context.merge.three_way import ThreeWayMerge, same_snapshot
from anabranch.context.merge.union import Conflict
from anabranch.context.values import Path, parse_path, same
from anabranch.errors import InputError


class Blame(NamedTuple):
    """The last write of a path: its writer (`by`, None if unknown), its version and its time (Unix milliseconds)."""

    version: int
    by: str | None
    at: int


@dataclass(frozen=True, slots=True)
class _Entry:
    """A version, its metadata, what it changed, and for a merge the version of the other copy."""

    snapshot: ContextSnapshot
    metadata: ContextMetadata
    changes: ChangeSet
    merged: ContextSnapshot | None = None


class VersionedContext:
    """A context that remembers its newest `max_history` versions, the current one among them.

    It starts empty, at version 1. Version numbers only grow, and may leave gaps: a context that was `set` twice since
    the current version is two versions further. `at` is in Unix milliseconds; by default the wall clock.
    """

    def __init__(
        self,
        session_id: str,
        max_history: int = 10,
        resolution: ConflictResolution | str = ConflictResolution.LAST_WRITE_WINS,
        *,
        at: int | None = None,
    ) -> None:
        if max_history < 1:
            raise InputError(f"max_history is {max_history}", suggestion="keep at least 1 version")
        self.session_id = session_id
        self.resolution = ConflictResolution.parse(resolution)
        self._max_history = max_history
        first = DistributedContext(session_id, at=at)
        self._entries: deque[_Entry] = deque([_Entry(first.snapshot(), first.metadata, ChangeSet(0, {}))])
        self._blame: dict[Path, Blame] = {}

    @property
    def current(self) -> DistributedContext:
        """A copy of the newest version. Change it and pass it to `update`."""
        entry = self._entries[-1]
        return DistributedContext(self.session_id, dict(entry.snapshot.data), entry.metadata).copy()

    @property
    def history(self) -> tuple[ContextSnapshot, ...]:
        """The versions that are kept, oldest first; the last one is the current version."""
        return tuple(entry.snapshot for entry in self._entries)

    def update(self, context: DistributedContext) -> int:
        """Make the context the newest version; returns its number, which is the context's own if that is newer.

        Nothing happens if the context is already the current version. To add a change that is based on an older
        version, use `merge_with_resolution`. Raises InputError for another session's context.
        """
        self._check_session(context.session_id)
        newest = self._entries[-1]
        if context.metadata == newest.metadata and same(context.data, dict(newest.snapshot.data)):
            return newest.snapshot.version
        version = max(context.metadata.version, newest.snapshot.version + 1)
        return self._record(context, context.metadata._replace(version=version))

    def get_version(self, version: int) -> ContextSnapshot:
        """The version with this number. Raises InputError if it never existed or is no longer kept."""
        for snapshot in self.history:
            if snapshot.version == version:
                return snapshot
        kept = ", ".join(str(snapshot.version) for snapshot in self.history)
        raise InputError(f"the context {self.session_id!r} has no version {version}", suggestion=f"it keeps {kept}")

    def rollback_to(self, version: int, *, by: str | None = None, at: int | None = None) -> int:
        """Make a new version with the data of an old one; returns its number. Raises InputError as `get_version`."""
        old = self.get_version(version)
        context = self.current
        metadata = context.metadata._replace(
            updated_at=time.time_ns() // 1_000_000 if at is None else at,
            version=context.metadata.version + 1,
            modified_by=by,
        )
        return self._record(DistributedContext(self.session_id, dict(old.data)), metadata)

    def diff(self, old: int, new: int) -> ChangeSet:
        """The changes that lead from one version to another. Raises InputError as `get_version`."""
        before, after = self.get_version(old), self.get_version(new)
        writer = next(entry.metadata.modified_by for entry in self._entries if entry.snapshot is after)
        return diff(before.data, after.data, base_version=old, by=writer or "", at=after.timestamp)

    def blame(self, path: str | Path) -> Blame | None:
        """The last write at, above or below a path; None if nothing was written there.

        A removal is known as long as its version is kept.
        """
        keys = parse_path(path) if isinstance(path, str) else path
        overlapping = [blame for other, blame in self._blame.items() if other[: len(keys)] == keys[: len(other)]]
        return max(overlapping, key=lambda blame: blame.version, default=None)

    def merge_with_resolution(self, other: DistributedContext | VersionedContext) -> tuple[Conflict, ...]:
        """Merge another copy of this session; returns the conflicts, each as it was settled.

        The base is the newest version that both share; a bare context can share only its own version. Without one the
        base is empty: what only one side has is kept, what one side removed comes back. The new version's number and
        time are those of `ThreeWayMerge.merge`; its writer is the other side's. Raises ConflictError, without
        any change, and InputError for another session's context.
        """
        self._check_session(other.session_id)
        remote, theirs = _known(other)
        local = self._entries[-1].snapshot
        shared = [each for each in _versions(self._entries) if any(same_snapshot(each, version) for version in theirs)]
        base = max(shared, key=lambda each: (each.version, each.timestamp), default=_nothing(self.session_id))
        merger = ThreeWayMerge(base, local, remote.snapshot, self.resolution)
        merged = merger.merge()
        if merged.metadata.version > local.version:
            self._record(merged, self._merged_metadata(merged.metadata, remote), merged=remote.snapshot)
        return merger.conflicts

    def _merged_metadata(self, merged: ContextMetadata, remote: _Entry) -> ContextMetadata:
        if merged.version == remote.snapshot.version:
            return remote.metadata
        ours, theirs = self._entries[-1].metadata, remote.metadata
        tags = tuple(dict.fromkeys(ours.tags + theirs.tags))
        return ContextMetadata(ours.created_at, merged.updated_at, merged.version, theirs.modified_by, tags)

    def _record(
        self, context: DistributedContext, metadata: ContextMetadata, *, merged: ContextSnapshot | None = None
    ) -> int:
        old = self._entries[-1].snapshot
        new = DistributedContext(self.session_id, context.data, metadata).snapshot()
        changes = diff(old.data, new.data, base_version=old.version)
        self._entries.append(_Entry(new, metadata, changes, merged))
        self._attribute(changes, Blame(new.version, metadata.modified_by, new.timestamp))
        while len(self._entries) > self._max_history:
            self._forget(self._entries.popleft())
        return new.version

    def _attribute(self, changes: ChangeSet, blame: Blame) -> None:
        changed = {*changes.set, *changes.removed}
        kept = {
            path: known
            for path, known in self._blame.items()
            if not any(path[:length] in changed for length in range(1, len(path) + 1))
        }
        self._blame = kept | dict.fromkeys([*changes.removed, *changes.set], blame)

    def _forget(self, entry: _Entry) -> None:
        for path in entry.changes.removed:
            if path in self._blame and self._blame[path].version == entry.snapshot.version:
                del self._blame[path]

    def _check_session(self, session_id: str) -> None:
        if session_id != self.session_id:
            raise InputError(f"the context is of the session {session_id!r}, not of {self.session_id!r}")


def _known(other: DistributedContext | VersionedContext) -> tuple[_Entry, list[ContextSnapshot]]:
    """The newest version of another copy, and all versions that it knows."""
    if isinstance(other, VersionedContext):
        return other._entries[-1], _versions(other._entries)  # noqa: SLF001 - of this class
    entry = _Entry(other.snapshot(), other.metadata, ChangeSet(0, {}))
    return entry, [entry.snapshot]


def _versions(entries: Iterable[_Entry]) -> list[ContextSnapshot]:
    return [each for entry in entries for each in (entry.snapshot, entry.merged) if each is not None]


def _nothing(session_id: str) -> ContextSnapshot:
    return ContextSnapshot(session_id, {}, 0, 0)
