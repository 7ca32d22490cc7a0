"""What of a run fits into the answer of a query: the newest versions, the conflicts, the data; the rest is counted.

The server takes no larger answer than a payload, and a question about a run must not fail because there is much of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from anabranch.context.merge.union import Conflict
from anabranch.context.values import Json, format_path
from anabranch.workflows.interpreter.size import MAX_BYTES, ByteBudget, json_size
from anabranch.workflows.interpreter.trail import AuditTrail, Version, describe_conflict

_FRAME: dict[str, Json] = {
    "set": {},
    "removed": [],
    "conflicts": [],
    "left_out": {"versions": 10**9, "set": 10**6, "removed": 10**6, "conflicts": 10**6},
}
"""What stands round a version's changes, at its longest."""


def newest_versions(trail: AuditTrail, budget: ByteBudget) -> list[Json]:
    """The newest versions that fit, oldest first.

    What does not fit is counted under `left_out`: of a version its `set`, `removed` and `conflicts`; in the first entry
    the `versions` before it, those that have left the workflow's memory among them.
    """
    told: list[dict[str, Json]] = []
    for version in reversed(trail.versions):
        if not budget.try_take({**version.head(), **_FRAME}):
            break
        told.append(_excerpt(version, budget))
    if told and (before := trail.count - len(told)):
        cut = told[-1].get("left_out")
        told[-1]["left_out"] = {"versions": before, **(cut if isinstance(cut, dict) else {})}
    return list(reversed(told))


def conflicts_that_fit(conflicts: Iterable[Conflict], budget: ByteBudget) -> list[Json]:
    """Each conflict as long as there is budget; where its values do not fit, without them."""
    described = ((describe_conflict(each), describe_conflict(each, values=False)) for each in conflicts)
    fitting = (next((form for form in forms if budget.try_take(form)), None) for forms in described)
    return [form for form in fitting if form is not None]


def data_that_fits(data: Mapping[str, Json], limit: int = MAX_BYTES) -> tuple[dict[str, Json], dict[str, Json]]:
    """The data without as many of its largest keys as are too much, and the bytes of those."""
    left_out: dict[str, Json] = {}
    excess = json_size(dict(data)) - limit
    if excess <= 0:
        return dict(data), left_out
    sizes = {key: json_size(value) for key, value in data.items()}
    for key in sorted(sizes, key=lambda key: -sizes[key]):
        if excess <= 0:
            break
        left_out[key] = sizes[key]
        excess -= sizes[key]
    return {key: value for key, value in data.items() if key not in left_out}, left_out


def _excerpt(version: Version, budget: ByteBudget) -> dict[str, Json]:
    changes = version.changes
    written = {
        text: value
        for text, value in ((format_path(path), value) for path, value in changes.set.items())
        if budget.try_take([text, value])
    }
    removed: list[Json] = [text for text in map(format_path, changes.removed) if budget.try_take([text])]
    conflicts = conflicts_that_fit(version.conflicts, budget)
    told = {**version.head(), "set": written, "removed": removed}
    if version.conflicts:
        told["conflicts"] = conflicts
    missing = {
        "set": len(changes.set) - len(written),
        "removed": len(changes.removed) - len(removed),
        "conflicts": len(version.conflicts) - len(conflicts),
    }
    if any(missing.values()):
        told["left_out"] = {name: count for name, count in missing.items() if count}
    return told
