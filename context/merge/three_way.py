"""The three-way merge of two snapshots that have a common base.

It merges two lines of descent, as a join of a run does, so both follow the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping

from anabranch.context.changes import diff
from anabranch.context.distributed import ContextMetadata, ContextSnapshot, DistributedContext, copied
from anabranch.context.merge.lineage import Line
from anabranch.context.merge.resolution import Candidate, ConflictResolution, Policies
from anabranch.context.merge.union import Conflict, merge_heads
from anabranch.context.values import Json, Missing, Path, format_path, same
from anabranch.errors import ConflictError, InputError

_LOCAL, _REMOTE, _MERGE = range(3)
_LONGEST = 100
"""Characters of a value in an error."""


class ThreeWayMerge:
    """Merges what `local` and `remote` changed since `base`. Reads no clock and changes no snapshot.

    `policies` settles single paths: `{"stock": "sum", ("order", "status"): "fail_on_conflict"}`; a policy for `order`
    covers `order.status`. Equal snapshots are the same version, not two writers that agree. Raises InputError for
    snapshots of different sessions and for an unknown policy.
    """

    def __init__(
        self,
        base: ContextSnapshot,
        local: ContextSnapshot,
        remote: ContextSnapshot,
        resolution: ConflictResolution | str = ConflictResolution.LAST_WRITE_WINS,
        policies: Mapping[str | Path, str] | None = None,
    ) -> None:
        if not base.session_id == local.session_id == remote.session_id:
            sessions = ", ".join(map(repr, dict.fromkeys(each.session_id for each in (base, local, remote))))
            raise InputError(f"the snapshots are of different sessions: {sessions}")
        self._base = base
        self._local = local
        self._remote = remote
        start = Line.start(dict(base.data), base.version)
        writer = _LOCAL if same_snapshot(local, remote) else _REMOTE
        self._result = merge_heads(
            [_advance(start, local, _LOCAL, "local"), _advance(start, remote, writer, "remote")],
            Policies.of(resolution, policies),
            writer=_MERGE,
            by="merge",
            at=max(local.timestamp, remote.timestamp),
        )

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """Every path that both sides changed to different values, and how it was settled."""
        return self._result.conflicts

    def merge(self) -> DistributedContext:
        """The merged context. Raises ConflictError naming every path that no policy settles.

        Its version is that of the newer side, plus one if that side does not already hold this data. Its time of
        update is that of the later side.
        """
        line = self._result.line
        if line is None:
            raise _refused(self.conflicts)
        data = {key: copied(value, 1) for key, value in line.data.items()}
        sides = (self._local, self._remote)
        newest = max(side.version for side in sides)
        known = all(same(data, dict(side.data)) for side in sides if side.version == newest)
        updated_at = max(side.timestamp for side in sides)
        metadata = ContextMetadata(self._base.timestamp, updated_at, newest if known else newest + 1)
        return DistributedContext(self._base.session_id, data, metadata)


def same_snapshot(left: ContextSnapshot, right: ContextSnapshot) -> bool:
    """Whether two snapshots are the same version: same number, time and data."""
    at_once = (left.version, left.timestamp) == (right.version, right.timestamp)
    return at_once and same(dict(left.data), dict(right.data))


def _advance(start: Line, side: ContextSnapshot, writer: int, by: str) -> Line:
    changes = diff(start.data, side.data)
    line, _ = start.advance(changes, writer=writer, by=by, at=side.timestamp, version=side.version)
    return line


def _refused(conflicts: tuple[Conflict, ...]) -> ConflictError:
    open_ones = [conflict for conflict in conflicts if not conflict.settled]
    described = "; ".join(
        f"{format_path(each.path)!r} was {_text(each.base)}, {' and '.join(map(_describe, each.candidates))}"
        for each in open_ones
    )
    return ConflictError(
        f"{len(open_ones)} unsettled conflict{'s' if len(open_ones) > 1 else ''}: {described}",
        place=format_path(open_ones[0].path),
        suggestion="name a policy for each path, or change one side",
    )


def _describe(candidate: Candidate) -> str:
    return f"{candidate.by} (version {candidate.version}) set it to {_text(candidate.value)}"


def _text(value: Json | Missing) -> str:
    text = "absent" if isinstance(value, Missing) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
