"""The `timeout` of a run as a whole: a timer beside everything else, which the next workflow run has the rest of.

When its time is up the run fails as it does when it is cancelled: what runs is cancelled, and what is done is undone.
Undoing and `finally` have limits of their own.
"""

from __future__ import annotations

from typing import Final

from anabranch.graph.expressions.templates import compile_template
from anabranch.transport.node_protocol import iso_time
from anabranch.workflows.interpreter.commands import DEADLINE, Failure, StartTimer
from anabranch.workflows.interpreter.routes import time_of
from anabranch.workflows.interpreter.scope import Started
from anabranch.workflows.interpreter.state import RunState

TIMED_OUT: Final = "TIMED_OUT"
"""The code of a run whose time is up."""


def bound_run(state: RunState) -> None:
    """A run begins: have a timer end it, where it has a time-out. Raises EvaluationError, OptionInvalid."""
    limit = state.plan.graph.timeout
    if isinstance(limit, str):
        template, roots = compile_template(limit), state.roots(state.root)
        with state.budget.evaluating() as cost:
            limit = time_of(template, state.root.base.data, roots, cost, place="the graph")
    if limit is not None:
        state.until = state.at + round(limit.total_seconds() * 1000)
        _start_timer(state, state.until)


def bound_rest(state: RunState) -> None:
    """A run goes on after it has continued as new: it has what is left of its time."""
    if state.until is not None:
        _start_timer(state, state.until)


def is_of_run(state: RunState, node: Started) -> bool:
    """Whether the time that is up is that of the run as a whole."""
    return node.scope is state.main


def timed_out(state: RunState) -> Failure:
    """Why a run fails whose time is up."""
    limit = state.plan.graph.timeout
    within = "" if limit is None or isinstance(limit, str) else f" of {limit.total_seconds():g} s"
    return Failure("timeout", TIMED_OUT, f"the run did not end within its `timeout`{within}")


def _start_timer(state: RunState, until: int) -> None:
    timer = f"{DEADLINE}the run since {iso_time(state.at)}"
    state.deadlines[state.root.address(state.root.end)] = timer
    state.timers[timer] = Started(state.root, state.root.end, state.root.base, state.at)
    state.emit(StartTimer(timer, max(0.0, (until - state.at) / 1000)))
