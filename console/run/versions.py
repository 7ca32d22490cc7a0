"""The versions of a run's context as its log shows them, each in a few lines."""

from __future__ import annotations

from typing import Any, Final

from anabranch.console.exact import line_of
from anabranch.context.merge.union import Conflict
from anabranch.context.values import Json, Missing, format_path
from anabranch.display import plain
from anabranch.workflows.interpreter.trail import Version

_MOST: Final = 12
"""Changes of one version that are shown."""


def entry(version: Version) -> dict[str, Any]:
    """A version, with the first of its changes."""
    changes = version.changes
    told: dict[str, Any] = {"number": version.number, "kind": version.kind, "by": version.by, "at": version.at}
    written = [[format_path(path), line_of(value)] for path, value in list(changes.set.items())[:_MOST]]
    removed = [format_path(path) for path in changes.removed[: _MOST - len(written)]]
    more = len(changes.set) + len(changes.removed) - len(written) - len(removed)
    conflicts = [settled(each) for each in version.conflicts[:_MOST]]
    optional = {"set": written, "removed": removed, "more": more, "conflicts": conflicts}
    if version.answered_by is not None:
        told["answered_by"] = plain(version.answered_by)
    warnings = list(map(plain, changes.warnings[:_MOST]))
    return told | {name: value for name, value in (optional | {"warnings": warnings}).items() if value}


def settled(conflict: Conflict) -> dict[str, Any]:
    """A conflict with its sides, and what was chosen if something was."""
    told: dict[str, Any] = {
        "path": format_path(conflict.path),
        "strategy": str(conflict.policy),
        "base": line_or_none(conflict.base),
        "candidates": [{"by": each.by, "value": line_or_none(each.value)} for each in conflict.candidates],
    }
    if conflict.settled:
        told["choice"] = line_or_none(conflict.value)
    return told if conflict.settled_by is None else told | {"settled_by": plain(conflict.settled_by)}


def line_or_none(value: Json | Missing) -> str | None:
    """A value in one line; None where there is none, since it was removed or never written."""
    return None if isinstance(value, Missing) else line_of(value)
