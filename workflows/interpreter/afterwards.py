"""The `finally` of a run: nodes that run once the graph's own have ended, and are undone.

It is like a run of its own in the state of the first: nothing of what came before is under way any more.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from anabranch.context.merge.lineage import Line
from anabranch.context.values import Json
from anabranch.errors import AnabranchError
from anabranch.graph.expressions.templates import compile_template
from anabranch.graph.model import Finally
from anabranch.graph.plan import Plan
from anabranch.transport.node_protocol import iso_time
from anabranch.workflows.interpreter.commands import DEADLINE, Failure, Finish, StartTimer
from anabranch.workflows.interpreter.routes import time_of
from anabranch.workflows.interpreter.saga import Saga
from anabranch.workflows.interpreter.scope import Scope, Started
from anabranch.workflows.interpreter.state import OutsideWrites, RunState

_NAME: Final = "finally"
PREFIX: Final = f"{_NAME}/"
"""What the addresses of its nodes start with. No node of a graph that has a `finally` has that id."""
MOST_STEPS: Final = 200
"""How many steps `outcome` names, of those that were undone, and of those that were not."""


def begin(state: RunState, plan: Plan, ending: Finish) -> Failure | None:
    """Leave the graph's own nodes behind, and start those of its `finally`. Returns why it fails before it begins."""
    versions = _versions(state)
    _leave_behind(state)
    roots: dict[str, Json] = {"outcome": _outcome(ending)}
    line = Line.start(ending.line.data, ending.line.version)
    state.root = scope = Scope(plan, PREFIX, line, versions=versions, roots=roots)
    state.budget.spend_scope(len(scope.nodes))
    state.enter(scope)
    return bound(state, scope, state.plan.graph.finally_)


def bound(state: RunState, scope: Scope, last: Finally | None) -> Failure | None:
    """Have a timer end a `finally` that begins, where it has a time-out. Returns why its template gives none."""
    if last is None or last.timeout is None:
        return None
    end = Started(scope, scope.end, scope.base, state.at)
    try:
        limit = _limit(state, end, last.timeout)
    except AnabranchError as error:
        return Failure("failure", error.code, str(error), scope.prefix[:-1])
    timer = f"{DEADLINE}{scope.prefix[:-1]} since {iso_time(state.at)}"
    state.deadlines[scope.address(scope.end)] = timer
    state.timers[timer] = end
    state.emit(StartTimer(timer, limit.total_seconds()))
    return None


def timed_out(state: RunState, end: Started, last: Finally | None) -> Failure:
    """Why a `finally` fails whose time is up."""
    limit = None if last is None or last.timeout is None else _limit(state, end, last.timeout)
    within = "" if limit is None else f" of {limit.total_seconds():g} s"
    address = end.scope.prefix[:-1]
    named = "the `finally`" if address == _NAME else repr(address)
    return Failure("timeout", "TIMEOUT", f"{named} did not end within its `timeout`{within}", address)


def _limit(state: RunState, end: Started, timeout: timedelta | str) -> timedelta:
    """How long it may take: what a template says is evaluated as it begins. Raises what that does."""
    if isinstance(timeout, timedelta):
        return timeout
    scope = end.scope
    template, roots = compile_template(timeout, scope.plan.roots), state.roots(scope, at=end.at)
    with state.budget.evaluating() as cost:
        return time_of(template, end.line.data, roots, cost, place=repr(scope.prefix[:-1]))


def _leave_behind(state: RunState) -> None:
    """What still runs lost a race, and is being cancelled: how it ends concerns nobody. A pause held back the end."""
    state.failure, state.is_paused, state.is_draining = None, False, False
    state.saga, state.outside = Saga.of(None), OutsideWrites()
    under_way: tuple[dict[str, Any], ...] = (state.work, state.open_joins, state.questions, state.paused_nodes)
    under_way += (state.bodies, state.scopes, state.aborts, state.lasts, state.due)
    under_way += (state.rollbacks, state.deadlines, state.timers)
    for each in under_way:
        each.clear()
    state.ready.clear()


def _versions(state: RunState) -> tuple[int, ...]:
    """The newest versions of the context with which it begins."""
    newest = state.trail.versions[-1:]
    if newest and newest[0].kind == "rollback":
        return (newest[0].number,)
    heads = dict.fromkeys(number for head in state.main.heads() for number in head.versions)
    return state.main.end.versions or tuple(heads) or state.main.versions


def _outcome(ending: Finish) -> dict[str, Json]:
    """The root `outcome`: how the run has ended."""
    return {
        "status": ending.status,
        "error": None if ending.failure is None else ending.failure.root(),
        "compensated": [*ending.compensated[:MOST_STEPS]],
        "not_compensated": [*ending.not_compensated[:MOST_STEPS]],
    }
