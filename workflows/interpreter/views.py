"""What people see of a run: its status, context, history and drawing. Plain JSON; nothing here changes the run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice

from anabranch.context.merge.lineage import Line
from anabranch.context.merge.union import Conflict
from anabranch.context.values import Json, Missing, format_path
from anabranch.graph.drawing.mermaid import mermaid
from anabranch.workflows.interpreter.commands import Finish
from anabranch.workflows.interpreter.excerpt import conflicts_that_fit, data_that_fits, newest_versions
from anabranch.workflows.interpreter.saga import StepState
from anabranch.workflows.interpreter.scope import NodeRun, Scope, Status
from anabranch.workflows.interpreter.size import ByteBudget, newest_beside
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.trail import describe_conflict

_SHOWN = 40
"""Nodes that the Web UI's current details list, those that changed last. The others are only counted."""
_SHOWN_CONFLICTS = 10
_SHOWN_TEXT = 60


def result(state: RunState, finish: Finish, session_id: str) -> dict[str, Json]:
    """The result of a completed run."""
    answer: dict[str, Json] = {
        "session_id": session_id,
        "status": "completed",
        "version": finish.line.version,
        "data": finish.line.data,
    }
    if conflicts := [describe_conflict(conflict) for conflict in state.trail.settled]:
        kept = newest_beside(finish.line.data, conflicts)
        answer["conflicts"] = kept
        if len(kept) < len(conflicts):  # the server would reject a larger result again and again
            answer["conflicts_left_out"] = len(conflicts) - len(kept)
    return answer


def context(state: RunState, line: Line, session_id: str) -> dict[str, Json]:
    """The current context, `line`. `number` is what `write_context` takes as `base_version`.

    If the data is too large for an answer, its largest keys are left out; `left_out` gives their sizes in bytes.
    """
    data, left_out = data_that_fits(line.data)
    answer: dict[str, Json] = {
        "session_id": session_id,
        "version": line.version,
        "number": state.trail.count,
        "data": data,
    }
    return {**answer, "left_out": left_out} if left_out else answer


def status(state: RunState) -> dict[str, Json]:
    """The state of the run and of every node by address, including bodies under way. What does not fit is counted."""
    budget, left_out = ByteBudget(), dict[str, Json]()
    answer: dict[str, Json] = {"graph": state.plan.graph.name, "status": run_status(state)}

    def fitting(name: str, each: Iterable[tuple[str, Json]]) -> dict[str, Json]:
        entries = list(each)
        kept = {key: value for key, value in entries if budget.try_take([key, value])}
        if len(kept) < len(entries):
            left_out[name] = len(entries) - len(kept)
        return kept

    answer["nodes"] = fitting("nodes", ((scope.address(run), _node(run)) for scope, run in _runs(state)))
    if state.failure is not None:
        answer["failure"] = state.failure.root()
        compensated = state.saga.in_state(StepState.COMPENSATED)
        answer["compensated"] = list(fitting("compensated", ((step, None) for step in compensated)))
    if state.compensation_failures:
        reasons = ((step, reason.root()) for step, reason in state.compensation_failures.items())
        answer["not_compensated"] = fitting("not_compensated", reasons)
    if state.open_joins:
        conflicts = {address: join.conflicts for address, join in state.open_joins.items()}
        kept = {address: conflicts_that_fit(each, budget) for address, each in conflicts.items()}
        answer["conflicts"] = {**kept}
        if missing := sum(map(len, conflicts.values())) - sum(map(len, kept.values())):
            left_out["conflicts"] = missing
    return {**answer, "left_out": left_out} if left_out else answer


def run_status(state: RunState) -> str:
    """The state of the run in one word."""
    if (finish := state.finished) is not None:
        if finish.failure is None:
            return "completed"
        return "cancelled" if finish.cancelled and not finish.not_compensated else "failed"
    if state.failure is not None:
        return "compensating"
    return "paused" if state.is_paused or state.paused_nodes else "running"


def history(state: RunState) -> list[Json]:
    """The audit trail, oldest first; only the newest versions of a long one."""
    return newest_versions(state.trail, ByteBudget())


def diagram(state: RunState) -> str:
    """The graph with the states of its nodes, as Mermaid."""
    return mermaid(state.plan.graph, {name: str(run.status) for name, run in state.root.nodes.items()})


def details(state: RunState) -> str:
    """Markdown for the Web UI's current details."""
    root = state.root
    counts = ", ".join(f"{root.tally[status]} {status}" for status in reversed(Status) if root.tally[status])
    lines = [f"**{state.plan.graph.name}** {run_status(state)}: {counts}", "", "| node | state |", "| --- | --- |"]
    shown = sorted(islice(reversed(root.changed.values()), _SHOWN), key=lambda run: run.planned.index)
    lines.extend(f"| {run.planned.id} | {run.status.value} |" for run in shown)
    for address, join in state.open_joins.items():
        lines.append(f"\nNode `{address}` waits for the update `resolve_conflict`:\n")
        lines.extend(f"- {_conflict(conflict)}" for conflict in join.conflicts[:_SHOWN_CONFLICTS])
    if settled := state.trail.settled[-_SHOWN_CONFLICTS:]:
        lines.append("\nConflicts that were settled:\n")
        lines.extend(f"- {_conflict(conflict)}" for conflict in settled)
    return "\n".join(lines)


def _conflict(conflict: Conflict) -> str:
    sides = ", ".join(f"{_short(each.value)} by `{each.by}`" for each in conflict.candidates)
    choice = f" → {_short(conflict.value)} ({conflict.policy})" if conflict.settled else ""
    return f"`{format_path(conflict.path)}`: {sides}{choice}"


def _short(value: Json | Missing) -> str:
    if isinstance(value, Missing):
        return "removed"
    if isinstance(value, list | dict):
        return f"{'list' if isinstance(value, list) else 'object'} of {len(value)}"
    text = json.dumps(value if not isinstance(value, str) else value[:_SHOWN_TEXT], ensure_ascii=False)
    return "`" + text.replace("`", "'") + "`"


def _runs(state: RunState) -> Iterator[tuple[Scope, NodeRun]]:
    for run in state.root.nodes.values():
        yield state.root, run
    for node in (*state.work.values(), *state.paused_nodes.values()):
        if node.scope.prefix:
            yield node.scope, node.run


def _node(run: NodeRun) -> dict[str, Json]:
    described: dict[str, Json] = {"type": run.planned.node.type, "status": run.status.value}
    if run.started is not None:
        described["started"] = run.started
    if run.ended is not None:
        described["ended"] = run.ended
    if run.failure is not None:
        described["error"] = run.failure.root()
    return described
