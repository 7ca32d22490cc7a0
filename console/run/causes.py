"""Why something is as it is, and who wrote what, as the page shows it: values are JSON text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from anabranch.console.exact import line_of
from anabranch.console.run.versions import line_or_none
from anabranch.context.values import format_path
from anabranch.display import plain
from anabranch.inspection.blame import Blamed
from anabranch.inspection.undo_plan import PlannedUndo, UndoPlan
from anabranch.inspection.why import Cause, Condition, Seen, Slice

_MOST: Final = 200
_LINE: Final = 300


def why(found: Slice) -> dict[str, Any]:
    """The causes of a value, or of what became of a node."""
    return {
        "about": found.about,
        "value": line_or_none(found.value),
        "status": found.status,
        "conditions": [_condition(each) for each in found.conditions],
        "versions": list(found.roots),
        "causes": [_cause(each) for each in found.causes],
    }


def _cause(cause: Cause) -> dict[str, Any]:
    return {
        "version": cause.version,
        "by": cause.by,
        "kind": cause.kind,
        "type": cause.type,
        "at": cause.at,
        "set": _lines(cause.wrote),
        "removed": list(cause.removed[:_MOST]),
        "did": list(map(plain, cause.did)),
        "conditions": [_condition(each) for each in cause.conditions],
        "reads": [_seen(each) for each in cause.reads[:_MOST]],
    }


def _condition(each: Condition) -> dict[str, Any]:
    return {
        "source": each.source,
        "source_status": each.source_status,
        "text": each.text,
        "held": each.held,
        "values": [_seen(value) for value in each.values],
        "because": [_condition(one) for one in each.because],
    }


def _seen(each: Seen) -> dict[str, Any]:
    return {"path": each.path, "value": line_or_none(each.value), "versions": list(each.versions)}


def _lines(values: Mapping[str, Any]) -> list[list[str]]:
    return [[path, line_of(value)] for path, value in list(values.items())[:_MOST]]


def blamed(found: Iterable[Blamed]) -> list[dict[str, Any]]:
    """Who wrote each path last."""
    return [
        {
            "path": format_path(each.path),
            "value": line_or_none(each.value),
            "by": each.by,
            "kind": each.kind,
            "version": each.version,
            "at": each.at,
        }
        for each in found
    ]


def plan(undo: UndoPlan) -> dict[str, Any]:
    """What a cancel would undo."""
    return {
        "steps": [_step(each) for each in undo.steps],
        "is_parallel": undo.is_parallel,
        "done": list(undo.done),
        "failed": list(undo.failed),
        "stays": list(undo.stays),
        "pivoted": undo.pivoted,
        "is_over": undo.is_over,
    }


def _step(step: PlannedUndo) -> dict[str, Any]:
    return {
        "address": step.address,
        "type": step.type,
        "wave": step.wave,
        "is_certain": step.is_certain,
        "is_under_way": step.is_under_way,
        "sees": [[key, line_of(value, _LINE)] for key, value in list(step.sees.items())[:_MOST]],
    }
