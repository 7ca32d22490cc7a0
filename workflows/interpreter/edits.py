"""Changes that come from outside of the graph: whether their paths fit each other and the data that they change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json, Missing, Path, format_path, value_at
from anabranch.errors import InputError
from anabranch.workflows.interpreter.input import check_names


def check_edits(changes: ChangeSet, data: Mapping[str, Json], roots: Iterable[str] = ()) -> None:
    """Refuse changes that would replace what they do not name, or of which one hides another.

    `roots` are the names reserved in expressions there, beside those reserved everywhere. Raises InputError naming the
    path, ReservedName.
    """
    paths = [*changes.set, *changes.removed]
    for path in paths:
        if "" in path:
            raise InputError(
                f"the path {format_path(path)!r} has an empty key",
                suggestion="keys are joined by one dot; a dot inside a key is written as `\\.`",
            )
    _check_overlaps(paths)
    for path in paths:
        _check_way(path, data)
    check_names(changes, roots)


def _check_overlaps(paths: list[Path]) -> None:
    seen: set[Path] = set()
    for path in sorted(paths, key=len):
        for length in range(1, len(path) + 1):
            if path[:length] in seen:
                above, below = format_path(path[:length]), format_path(path)
                how = "is given twice" if above == below else f"is inside {above!r}, which is given too"
                raise InputError(f"the path {below!r} {how}", suggestion="change each part of the context once")
        seen.add(path)


def _check_way(path: Path, data: Mapping[str, Json]) -> None:
    for length in range(1, len(path)):
        value = value_at(dict(data), path[:length])
        if not isinstance(value, dict | Missing):
            above, kind = format_path(path[:length]), "a list" if isinstance(value, list) else "a single value"
            raise InputError(
                f"the path {format_path(path)!r} leads through {above!r}, which holds {kind} and not an object",
                suggestion=f"give {above!r} as a whole",
            )
