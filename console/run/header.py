"""What stands above the drawing of a run: which run it is, how it is, how it ended, and what belongs to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

from anabranch.console.exact import text_of
from anabranch.console.run.todo import awaited, todo
from anabranch.context.values import Json
from anabranch.display import plain
from anabranch.inspection.closing import Closing
from anabranch.inspection.events import Child, Told
from anabranch.inspection.inspection import Inspection
from anabranch.inspection.runs import Pending
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.decisions import Decision

_MOST: Final = 100
"""Children, activities under way, and nodes that wait for an event, that are named."""


def header(inspection: Inspection, pending: Iterable[Pending] = ()) -> dict[str, Any]:
    """A run at its newest event."""
    last = inspection.frames[-1] if inspection.frames else None
    return {
        "workflow_id": inspection.workflow_id,
        "run_id": inspection.run_id,
        "previous_run_id": inspection.previous_run_id,
        "next_run_id": inspection.next_run_id,
        "type": inspection.workflow_type,
        "status": inspection.status,
        "is_paused": last is not None and last.is_paused,
        "started": inspection.started,
        "event": inspection.last_event,
        "at": inspection.last_event_at,
        "graph": _graph(inspection),
        "failure": None if last is None or last.failure is None else told_of(last.failure),
        "limited": {} if last is None else {address: plain(text) for address, text in last.limited.items()},
        "lacking": {} if last is None else {address: plain(text) for address, text in last.lacking.items()},
        "decisions": {} if last is None else {name: _decision(each) for name, each in last.decisions.items()},
        "end": None if inspection.closing is None else _end(inspection.closing),
        "children": [child_of(each) for each in islice(inspection.children.values(), _MOST)],
        "all_children": len(inspection.children),
        "pending": [pending_of(each) for each in islice(pending, _MOST)],
        "todo": [*todo(inspection), *islice(awaited(inspection), _MOST)],
    }


def _graph(inspection: Inspection) -> dict[str, Any] | None:
    graph, pinned = inspection.graph, inspection.pinned
    if graph is None or pinned is None:
        return None
    return {
        "name": graph.name,
        "version": graph.version,
        "description": graph.description,
        "digest": pinned.digest,
        "revision": pinned.revision,
    }


def _end(closing: Closing) -> dict[str, Any]:
    return {
        "kind": closing.kind,
        "event": closing.event_id,
        "at": closing.at,
        "result": text_of(closing.result) if closing.kind == "completed" else None,
        "error": None if closing.error is None else _error(closing.error),
    }


def _error(error: Mapping[str, Json]) -> dict[str, Any]:
    """What people read of an error; the rest, as far as there is any, as JSON text."""
    told: dict[str, Any] = {name: plain(error[name]) for name in ("code", "message", "node") if name in error}
    if isinstance(steps := error.get("compensated"), list):
        told["compensated"] = list(map(plain, steps))
    rest = {name: value for name, value in error.items() if name not in told}
    return told | ({"more": text_of(rest)} if rest else {})


def _decision(decision: Decision) -> dict[str, str]:
    return {"did": decision.did, "by": plain(decision.by)}


def told_of(failure: Failure | Told) -> dict[str, str]:
    """Why something failed, as text in which everything is seen."""
    return {"code": plain(failure.code), "message": plain(failure.message)}


def child_of(child: Child) -> dict[str, Any]:
    """A child workflow, for a link to its page."""
    return {
        "address": child.address,
        "workflow_id": child.workflow_id,
        "run_id": child.run_id,
        "outcome": child.outcome,
    }


def pending_of(each: Pending) -> dict[str, Any]:
    """An activity under way."""
    return {
        "address": each.address,
        "is_running": each.is_running,
        "attempt": each.attempt,
        "max_attempts": each.max_attempts,
        "queue": each.queue,
        "scheduled": each.scheduled,
        "started": each.started,
        "worker": each.worker,
        "failure": None if each.failure is None else told_of(each.failure),
    }
