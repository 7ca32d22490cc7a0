"""The `finally` of a run: nodes that run once the graph's own have ended, and are undone.

It is like a run of its own in the state of the first: nothing of what came before is under way any more.
"""

from __future__ import annotations

from typing import Any, Final

from anabranch.context.merge.lineage import Line
from anabranch.context.values import Json
from anabranch.graph.plan import Plan
from anabranch.workflows.interpreter.commands import DEADLINE, Failure, Finish, StartTimer
from anabranch.workflows.interpreter.saga import Saga
from anabranch.workflows.interpreter.scope import Scope, Started
from anabranch.workflows.interpreter.state import OutsideWrites, RunState, iso_time

_NAME: Final = "finally"
PREFIX: Final = f"{_NAME}/"
"""What the addresses of its nodes start with. No node of a graph that has a `finally` has that id."""
MOST_STEPS: Final = 200
"""How many steps `outcome` names, of those that were undone, and of those that were not."""


def begin(state: RunState, plan: Plan, ending: Finish) -> None:
    """Leave the graph's own nodes behind, and start those of its `finally`."""
    versions = _versions(state)
    _leave_behind(state)
    roots: dict[str, Json] = {"outcome": _outcome(ending)}
    line = Line.start(ending.line.data, ending.line.version)
    state.root = scope = Scope(plan, PREFIX, line, versions=versions, roots=roots)
    state.budget.spend_scope(len(scope.nodes))
    if (body := state.plan.graph.finally_) is not None and body.timeout is not None:
        timer = f"{DEADLINE}{_NAME} since {iso_time(state.at)}"
        state.deadlines[scope.address(scope.end)] = timer
        state.timers[timer] = Started(scope, scope.end, line, state.at)
        state.emit(StartTimer(timer, body.timeout.total_seconds()))
    state.enter(scope)


def timed_out(state: RunState) -> Failure:
    """Why a `finally` fails whose time is up."""
    limit = None if (body := state.plan.graph.finally_) is None else body.timeout
    within = "" if limit is None else f" of {limit.total_seconds():g} s"
    return Failure("timeout", "TIMEOUT", f"the `finally` did not end within its `timeout`{within}", _NAME)


def _leave_behind(state: RunState) -> None:
    """What still runs lost a race, and is being cancelled: how it ends concerns nobody. A pause held back the end."""
    state.failure, state.is_paused, state.is_draining = None, False, False
    state.saga, state.outside = Saga.of(None), OutsideWrites()
    under_way: tuple[dict[str, Any], ...] = (state.work, state.open_joins, state.questions, state.paused_nodes)
    under_way += (state.bodies, state.scopes, state.aborts, state.rollbacks, state.deadlines, state.timers)
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
