"""What people and services may tell a run: settle a conflict, answer a task, write, operate on a paused node.

Each operation is checked before it is accepted (`check_…` in the update's validator: nothing enters the history) and
again when it is carried out, for the run may have gone on in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from temporalio.exceptions import ApplicationError

from anabranch.context.changes import ChangeSet
from anabranch.context.merge.union import Conflict
from anabranch.context.values import MISSING, Json, Missing, Path, check_value, format_path, parse_path
from anabranch.errors import AnabranchError, InputError
from anabranch.workflows.interpreter.input import check_value_against
from anabranch.workflows.interpreter.machine import Machine
from anabranch.workflows.temporal.inbox import Inbox

Request = Mapping[str, Json]
T = TypeVar("T")


def checked(act: Callable[[], T]) -> T:
    """Act; what our errors refuse becomes the answer to the update."""
    try:
        return act()
    except AnabranchError as error:
        raise ApplicationError(str(error), type=error.code, non_retryable=True) from None


def conflict_choice(machine: Machine, inbox: Inbox, request: Request) -> tuple[str, Path, Json | Missing]:
    """The join, the path and the value that a `resolve_conflict` names. Raises InputError."""
    _known_fields(request, {"node", "path", "choose", "value", "remove"})
    node = _text(request, "node")
    join = machine.state.open_joins.get(node)
    if join is None or not inbox.waits(node):
        raise InputError(f"no conflict waits at node {node!r}", suggestion=_waiting(machine.state.open_joins))
    path = parse_path(_text(request, "path"))
    conflict = next((each for each in join.conflicts if each.path == path), None)
    if conflict is None:
        raise InputError(
            f"no conflict waits at path {format_path(path)!r} of node {node!r}",
            suggestion=_waiting(format_path(each.path) for each in join.conflicts),
        )
    return node, path, _chosen(conflict, request)


def task_answer(inbox: Inbox, request: Request) -> tuple[str, Json]:
    """The node and the answer of a `complete_task`. Raises InputError, SchemaViolation."""
    _known_fields(request, {"node", "answer"})
    node = _text(request, "node")
    approval = inbox.approval(node)
    if approval is None:
        raise InputError(f"node {node!r} waits for no answer", suggestion=_waiting(inbox.approvals))
    answer = request.get("answer")
    check_value(answer)
    if approval.schema is not None:
        check_value_against(approval.schema, answer, what="the answer", by=node)
    return node, answer


def outside_write(machine: Machine, request: Request) -> ChangeSet:
    """The change set of a `write_context`: `{changes: {path: value}, removed: [path], base_version, by}`.

    Raises InputError, VersionMismatch, ConflictError, SchemaViolation, SizeLimitExceeded.
    """
    _known_fields(request, {"changes", "removed", "base_version", "by"})
    base = request.get("base_version")
    if not isinstance(base, int) or isinstance(base, bool):
        raise InputError(
            "base_version is missing", suggestion="give the `number` that the query `context` told with the data"
        )
    if machine.state.finished is not None:
        raise InputError("the run is over", suggestion="start another run")
    changes = _changes(request, base)
    machine.check_write(changes)
    return changes


def paused_node(machine: Machine, request: Request) -> tuple[str, ChangeSet | None]:
    """The paused node that an operator names, and the edits to its context. Raises InputError."""
    _known_fields(request, {"node", "changes", "removed", "by"})
    node = _text(request, "node")
    waiting = machine.state.waiting_for_operator
    if node not in waiting:
        raise InputError(f"node {node!r} is not paused", suggestion=_waiting(waiting))
    edits = _changes(request, 0)
    return node, edits or None


def _changes(request: Request, base: int) -> ChangeSet:
    given, removed = request.get("changes", {}), request.get("removed", [])
    paths = [path for path in removed if isinstance(path, str)] if isinstance(removed, list) else []
    if not isinstance(given, dict) or paths != removed:
        raise InputError("`changes` is an object of paths and values, `removed` a list of paths")
    check_value(given)
    by = request.get("by", "outside")
    if not isinstance(by, str) or not by:
        raise InputError("`by` is the name of who writes", suggestion="give it as text, or leave it out")
    values = {parse_path(path): value for path, value in given.items()}
    return ChangeSet(base, values, tuple(parse_path(path) for path in paths), by)


def _chosen(conflict: Conflict, request: Request) -> Json | Missing:
    if "value" in request:
        check_value(request["value"], path=conflict.path)
        return request["value"]
    if request.get("remove") is True:
        return MISSING
    choice = request.get("choose")
    for index, candidate in enumerate(conflict.candidates):
        if choice == candidate.by or (choice == index and not isinstance(choice, bool)):
            return candidate.value
    raise InputError(
        f"{choice!r} is none of the candidates",
        suggestion=f"choose one of {[each.by for each in conflict.candidates]} or its index, or give a `value`",
    )


def _text(request: Request, field: str) -> str:
    value = request.get(field)
    if not isinstance(value, str) or not value:
        raise InputError(f"`{field}` is missing", suggestion=f"give {field} as text")
    return value


def _known_fields(request: object, fields: set[str]) -> None:
    if not isinstance(request, Mapping):
        raise InputError("the update takes one JSON object")
    if unknown := sorted(set(request) - fields):
        raise InputError(f"unknown field {unknown[0]!r}", suggestion=f"the fields are {', '.join(sorted(fields))}")


def _waiting(names: Iterable[str]) -> str:
    return f"waiting are: {', '.join(sorted(names)) or 'none'}"
