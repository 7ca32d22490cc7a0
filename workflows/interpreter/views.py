"""What people see of a run: its status, context, history and drawing. Plain JSON; nothing here changes the run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from anabranch.context.merge.union import Conflict
from anabranch.context.values import Json, Missing, format_path
from anabranch.graph.drawing.mermaid import mermaid
from anabranch.workflows.interpreter.commands import Finish
from anabranch.workflows.interpreter.excerpt import conflicts_that_fit, data_that_fits, newest_versions
from anabranch.workflows.interpreter.saga import StepState
from anabranch.workflows.interpreter.scope import NodeRun, Scope, Status
from anabranch.workflows.interpreter.size import ByteBudget, newest_beside
from anabranch.workflows.interpreter.trail import describe_conflict

if TYPE_CHECKING:
    from anabranch.workflows.interpreter.machine import Machine

_SHOWN = 40
"""Nodes that the Web UI's current details list, those that changed last; the rest is counted."""
_SHOWN_CONFLICTS = 10
_SHOWN_TEXT = 60


def result(machine: Machine, finish: Finish, session_id: str) -> dict[str, Json]:
    """What a completed run returns."""
    told: dict[str, Json] = {
        "session_id": session_id,
        "status": "completed",
        "version": finish.line.version,
        "data": finish.line.data,
    }
    if conflicts := [describe_conflict(conflict) for conflict in machine.trail.conflicts()]:
        kept = newest_beside(finish.line.data, conflicts)
        told["conflicts"] = kept
        if len(kept) < len(conflicts):  # the server would refuse the whole result for ever
            told["conflicts_left_out"] = len(conflicts) - len(kept)
    return told


def context(machine: Machine, session_id: str) -> dict[str, Json]:
    """The data now. `number` is what `write_context` takes as `base_version`.

    Branches that are too large together show without their largest keys, whose bytes are told under `left_out`.
    """
    line = machine.finished.line if machine.finished else machine.branches.now()
    data, left_out = data_that_fits(line.data)
    told: dict[str, Json] = {
        "session_id": session_id,
        "version": line.version,
        "number": machine.trail.count,
        "data": data,
    }
    return {**told, "left_out": left_out} if left_out else told


def status(machine: Machine) -> dict[str, Json]:
    """The state of the run and of every node, bodies under way included, by address. What does not fit is counted."""
    budget, left_out = ByteBudget(), dict[str, Json]()
    told: dict[str, Json] = {"graph": machine.plan.graph.name, "status": run_status(machine)}

    def tell(name: str, each: Iterable[tuple[str, Json]]) -> dict[str, Json]:
        entries = list(each)
        kept = {key: value for key, value in entries if budget.try_take([key, value])}
        if len(kept) < len(entries):
            left_out[name] = len(entries) - len(kept)
        return kept

    told["nodes"] = tell("nodes", ((scope.address(run), _node(run)) for scope, run in _runs(machine)))
    if machine.failure is not None:
        told["failure"] = machine.failure.root()
        compensated = machine.undo.saga.in_state(StepState.COMPENSATED)
        told["compensated"] = list(tell("compensated", ((step, None) for step in compensated)))
    if machine.undo.failures:
        reasons = ((step, reason.root()) for step, reason in machine.undo.failures.items())
        told["not_compensated"] = tell("not_compensated", reasons)
    if open_ones := machine.branches.open:
        asked = {address: conflicts_that_fit(conflicts, budget) for address, conflicts in open_ones.items()}
        told["conflicts"] = {**asked}
        if missing := sum(map(len, open_ones.values())) - sum(map(len, asked.values())):
            left_out["conflicts"] = missing
    return {**told, "left_out": left_out} if left_out else told


def run_status(machine: Machine) -> str:
    """One word for the run."""
    if (finish := machine.finished) is not None:
        if finish.failure is None:
            return "completed"
        return "cancelled" if finish.cancelled and not finish.not_compensated else "failed"
    if machine.failure is not None:
        return "compensating"
    return "paused" if machine.is_paused or machine.paused else "running"


def history(machine: Machine) -> list[Json]:
    """The audit trail, oldest first; of a long one the newest versions."""
    return newest_versions(machine.trail, ByteBudget())


def diagram(machine: Machine) -> str:
    """The graph with the states of its nodes, as Mermaid."""
    return mermaid(machine.plan.graph, {name: str(run.status) for name, run in machine.root.nodes.items()})


def details(machine: Machine) -> str:
    """Markdown for the Web UI's current details."""
    root = machine.root
    told = ", ".join(f"{root.tally[status]} {status}" for status in reversed(Status) if root.tally[status])
    lines = [f"**{machine.plan.graph.name}** {run_status(machine)}: {told}", "", "| node | state |", "| --- | --- |"]
    shown = sorted(islice(reversed(root.changed.values()), _SHOWN), key=lambda run: run.planned.index)
    lines.extend(f"| {run.planned.id} | {run.status.value} |" for run in shown)
    for address, conflicts in machine.branches.open.items():
        lines.append(f"\nNode `{address}` waits for the update `resolve_conflict`:\n")
        lines.extend(f"- {_conflict(conflict)}" for conflict in conflicts[:_SHOWN_CONFLICTS])
    if settled := machine.trail.settled[-_SHOWN_CONFLICTS:]:
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


def _runs(machine: Machine) -> Iterator[tuple[Scope, NodeRun]]:
    for run in machine.root.nodes.values():
        yield machine.root, run
    for scope, run in (*machine.work.values(), *machine.paused.values()):
        if scope.prefix:
            yield scope, run


def _node(run: NodeRun) -> dict[str, Json]:
    told: dict[str, Json] = {"type": run.planned.node.type, "status": run.status.value}
    if run.started is not None:
        told["started"] = run.started
    if run.ended is not None:
        told["ended"] = run.ended
    if run.failure is not None:
        told["error"] = run.failure.root()
    return told
