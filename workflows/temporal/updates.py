"""What people and services may tell a run: settle a conflict, answer a task, write, operate on a paused node.

Each operation is checked before it is accepted (`check_…` in the update's validator: nothing enters the history) and
again when it is carried out, for the run may have gone on in between.
"""

from __future__ import annotations

from collections.abc import Iterable

from anabranch.context.changes import ChangeSet
from anabranch.context.merge.union import Conflict
from anabranch.context.values import MISSING, Json, Missing, Path, check_value, format_path, parse_path
from anabranch.context.wire import measure
from anabranch.errors import AlreadyAnswered, InputError
from anabranch.graph.model import ApprovalNode
from anabranch.transport.node_protocol import iso_time
from anabranch.workflows.interpreter.input import check_value_against
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.interpreter.node_run import Status
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.temporal.inbox import Inbox
from anabranch.workflows.temporal.requests import Request, changes_of, known_fields, sender, text_of

_ENDINGS = {
    Status.TIMED_OUT: "timed out",
    Status.PAUSED: "timed out, and waits for an operator,",
    Status.FAILED: "failed",
    Status.CANCELLED: "was cancelled",
    Status.SKIPPED: "was skipped",
}


def conflict_choice(machine: Machine, inbox: Inbox, request: Request) -> tuple[str, Path, Json | Missing]:
    """The join, the path and the value that a `resolve_conflict` names. Raises InputError."""
    known_fields(request, {"node", "path", "choose", "value", "remove", "by"})
    sender(request)
    node = text_of(request, "node")
    join = machine.state.open_joins.get(node)
    if join is None or not inbox.waits(node):
        raise InputError(f"no conflict waits at node {node!r}", suggestion=_waiting(machine.state.open_joins))
    path = parse_path(text_of(request, "path"))
    conflict = next((each for each in join.conflicts if each.path == path), None)
    if conflict is None:
        raise InputError(
            f"no conflict waits at path {format_path(path)!r} of node {node!r}",
            suggestion=_waiting(format_path(each.path) for each in join.conflicts),
        )
    return node, path, _chosen(conflict, request)


def task_answer(machine: Machine, inbox: Inbox, request: Request) -> tuple[str, Json]:
    """The node and the answer of a `complete_task`. Raises InputError, SchemaViolation."""
    known_fields(request, {"node", "answer", "by"})
    by = sender(request)
    node = text_of(request, "node")
    approval = inbox.approval(node)
    if approval is None:
        raise InputError(_why_not_awaited(machine.state, node), suggestion=_waiting(inbox.approvals))
    answer = request.get("answer")
    measure(answer)
    if approval.schema is not None:
        check_value_against(approval.schema, answer, what="the answer", by=node)
    if approval.answers > 1:
        _check_sender(machine.state, node, by)
    return node, answer


def _check_sender(state: RunState, node: str, by: str | None) -> None:
    """Raises InputError where nobody says who answers, AlreadyAnswered for who has answered before."""
    known = state.approvals.open.get(node)
    if by is None:
        advice = "say who answers: `by`"
        raise InputError("several people answer, and nobody is named", place=f"node {node!r}", suggestion=advice)
    if known is not None and known.has_answered(by):
        raise AlreadyAnswered(
            f"{by!r} has answered, and {known.ask.answers} people have to",
            place=f"node {node!r}",
            suggestion="let somebody else answer",
        )


def _why_not_awaited(state: RunState, address: str) -> str:
    """Why nobody may answer there."""
    run = state.node_at(address)
    if run is None:
        return f"no approval {address!r} is under way"
    if not isinstance(run.planned.node, ApprovalNode):
        return f"node {address!r} is not an approval"
    if run.status in (Status.PENDING, Status.READY, Status.CONFLICT):
        return f"the approval {address!r} has not asked yet: it is {run.status}"
    how = _ENDINGS.get(run.status, "was answered")
    when = "" if run.ended is None else f" at {iso_time(run.ended)}"
    return f"the approval {address!r} is over: it {how}{when}"


def outside_write(machine: Machine, request: Request) -> ChangeSet:
    """The change set of a `write_context`: `{changes: {path: value}, removed: [path], base_version, by}`.

    Raises InputError, VersionMismatch, ConflictError, SchemaViolation, SizeLimitExceeded.
    """
    known_fields(request, {"changes", "removed", "base_version", "by"})
    base = request.get("base_version")
    if not isinstance(base, int) or isinstance(base, bool):
        raise InputError(
            "base_version is missing", suggestion="give the `number` that the query `context` told with the data"
        )
    if machine.state.finished is not None or machine.state.ending is not None:
        raise InputError("the run is over", suggestion="start another run")
    changes = changes_of(request, "outside", base=base)
    machine.check_write(changes)
    return changes


def paused_node(machine: Machine, request: Request, *, edited: bool) -> tuple[str, ChangeSet | None]:
    """The paused node that an operator names, and the edits to its context where it may be `edited`.

    Raises InputError, SchemaViolation, SizeLimitExceeded.
    """
    known_fields(request, {"node", "by"} | ({"changes", "removed"} if edited else set()))
    node = text_of(request, "node")
    sender(request)
    waiting = machine.state.waiting_for_operator
    if node not in waiting:
        raise InputError(f"node {node!r} is not paused", suggestion=_waiting(waiting))
    edits = changes_of(request, "operator")
    if not edits:
        return node, None
    machine.check_edits(node, edits)
    return node, edits


def _chosen(conflict: Conflict, request: Request) -> Json | Missing:
    given = [field for field in ("choose", "value", "remove") if field in request]
    if len(given) > 1:
        raise InputError(f"`{given[0]}` and `{given[1]}` contradict each other", suggestion="give one of them")
    if "value" in request:
        check_value(request["value"], path=conflict.path)
        return request["value"]
    if "remove" in request:
        if request["remove"] is not True:
            raise InputError("`remove` can only be true", suggestion="leave it out to keep the key")
        return MISSING
    return _candidate(conflict, request.get("choose"))


def _candidate(conflict: Conflict, choice: Json) -> Json | Missing:
    writers = [each.by for each in conflict.candidates]
    if isinstance(choice, int) and not isinstance(choice, bool) and 0 <= choice < len(writers):
        return conflict.candidates[choice].value
    if isinstance(choice, str) and writers.count(choice) == 1:
        return conflict.candidates[writers.index(choice)].value
    many = isinstance(choice, str) and choice in writers
    raise InputError(
        f"{choice!r} is {'more than one' if many else 'none'} of the candidates",
        suggestion=f"choose one of {writers} or its index, or give a `value`",
    )


def _waiting(names: Iterable[str]) -> str:
    return f"waiting are: {', '.join(sorted(names)) or 'none'}"
