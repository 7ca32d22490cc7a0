"""Inspections as plain JSON for people and programs. Times are Unix milliseconds, as in the queries."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from anabranch.context.changes import ChangeSet
from anabranch.context.values import MISSING, Json, format_path
from anabranch.inspection.blame import Blamed
from anabranch.inspection.inspection import Inspection, status_of
from anabranch.inspection.lineage import Past
from anabranch.inspection.runs import Pending
from anabranch.inspection.undo_plan import UndoPlan
from anabranch.inspection.why import Cause, Condition, Seen, Slice
from anabranch.workflows.interpreter.excerpt import newest_versions
from anabranch.workflows.interpreter.size import ByteBudget
from anabranch.workflows.interpreter.trail import AuditTrail, Version


def run(inspection: Inspection, pending: Sequence[Pending] = ()) -> dict[str, Any]:
    """A run as its history shows it, at its last event."""
    graph, pinned, closing = inspection.graph, inspection.pinned, inspection.closing
    told: dict[str, Any] = {
        "workflow_id": inspection.workflow_id,
        "run_id": inspection.run_id,
        "workflow_type": inspection.workflow_type,
        "status": inspection.status,
        "started": inspection.started,
        "event": inspection.last_event,
        "at": inspection.last_event_at,
    }
    if pinned is not None and graph is not None:
        held = {"digest": pinned.digest, "revision": pinned.revision}
        told["graph"] = {"name": graph.name, "version": graph.version, **held}
    if inspection.frames:
        told |= _last(inspection)
    if pending:
        told["pending"] = [_without_nones(asdict(each)) for each in pending]
    if closing is not None:
        told["end"] = _without_nones(asdict(closing))
    links = {"previous_run_id": inspection.previous_run_id, "next_run_id": inspection.next_run_id}
    return told | _without_nones(links)


def _last(inspection: Inspection) -> dict[str, Any]:
    frame, status = inspection.last, status_of(inspection)
    told: dict[str, Any] = {
        "version": frame.versions,
        "context": dict(frame.context),
        "nodes": status["nodes"],
        "open_tasks": list(frame.open_tasks),
        "saga": [{"address": step.address, "state": str(step.state)} for step in frame.saga],
    }
    if frame.in_conflict:
        told["in_conflict"] = list(frame.in_conflict)
    told |= {key: value for key, value in status.items() if key not in {"graph", "status", "nodes"}}
    activities = inspection.activities.items()
    told["activities"] = {address: [_without_nones(asdict(each)) for each in found] for address, found in activities}
    told["children"] = {address: _without_nones(asdict(child)) for address, child in inspection.children.items()}
    told["events"] = {address: list(ids) for address, ids in inspection.event_ids.items()}
    return told


def versions(found: Iterable[Version]) -> list[Any]:
    """Versions as the query `history` answers them, whatever their size."""
    trail = AuditTrail()
    trail.versions = list(found)
    trail.count = len(trail.versions)
    return newest_versions(trail, ByteBudget(sys.maxsize))


def changes(changed: ChangeSet, before: Past) -> dict[str, Any]:
    """What differs between two versions, with the values of before."""
    return {
        "set": {format_path(path): value for path, value in changed.set.items()},
        "removed": [format_path(path) for path in changed.removed],
        "before": {
            format_path(path): value
            for path in (*changed.set, *changed.removed)
            if (value := before.value(path)) is not MISSING
        },
    }


def blamed(found: Iterable[Blamed]) -> list[dict[str, Any]]:
    """Who wrote each path last."""
    return [
        _without_nones(
            {
                "path": format_path(each.path),
                "by": each.by,
                "kind": each.kind,
                "version": each.version,
                "at": each.at,
            }
        )
        | ({} if each.value is MISSING else {"value": each.value})
        for each in found
    ]


def why(found: Slice) -> dict[str, Any]:
    """Why something is as it is."""
    told: dict[str, Any] = {"about": found.about}
    if found.value is not MISSING:
        told["value"] = found.value
    if found.status is not None:
        told["status"] = found.status
        told["conditions"] = [_condition(each) for each in found.conditions]
    told["versions"] = list(found.roots)
    told["causes"] = [_cause(each) for each in found.causes]
    return told


def _cause(cause: Cause) -> dict[str, Any]:
    told: dict[str, Any] = {"version": cause.version, "by": cause.by, "kind": cause.kind, "at": cause.at}
    if cause.type:
        told["type"] = cause.type
    told |= {"set": dict(cause.wrote), "removed": list(cause.removed), "did": list(cause.did)}
    told["conditions"] = [_condition(each) for each in cause.conditions]
    return told | {"reads": [_seen(each) for each in cause.reads]}


def _condition(each: Condition) -> dict[str, Any]:
    source = {} if each.source is None else {"from": each.source, "from_status": each.source_status}
    told = {**source, "condition": each.text, "held": each.held, "values": [_seen(value) for value in each.values]}
    return told | ({"because": [_condition(one) for one in each.because]} if each.because else {})


def _seen(each: Seen) -> dict[str, Any]:
    value = {} if each.value is MISSING else {"value": each.value}
    return {"path": each.path, **value, "versions": list(each.versions)}


def plan(undo: UndoPlan) -> dict[str, Any]:
    """What a cancel would undo."""
    steps: list[dict[str, Json]] = [
        {
            "node": step.address,
            "type": step.type,
            "wave": step.wave,
            "certain": step.is_certain,
            "under_way": step.is_under_way,
            "sees": dict(step.sees),
        }
        for step in undo.steps
    ]
    return {
        "undo": steps,
        "order": "parallel" if undo.is_parallel else "sequential",
        "undone": list(undo.done),
        "not_undone": list(undo.failed),
        "stays": list(undo.stays),
        "pivoted": undo.pivoted,
        "over": undo.is_over,
    }


def _without_nones(told: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in told.items() if value is not None}
