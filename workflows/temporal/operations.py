"""What the updates and signals do to a run, once they are accepted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from temporalio import workflow

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json, format_path
from anabranch.workflows.temporal import updates

if TYPE_CHECKING:
    from anabranch.workflows.interpreter.machine import Machine
    from anabranch.workflows.temporal.driver import GraphRun

Request = Mapping[str, Json]


async def resolve_conflict(run: GraphRun, request: Request) -> dict[str, Json]:
    """Settle one path; the join goes on when all of its paths are settled. Returns what is still open there."""
    machine = await _machine(run)
    node, path, value = updates.checked(lambda: updates.conflict_choice(run, machine, request))
    chosen = run.choices.setdefault(node, {})
    chosen[path] = value
    if "value" in request:
        machine.state.size.add(ChangeSet(0, {path: request["value"]}))
    conflicts = machine.state.open_joins[node].conflicts
    still_open: list[Json] = [format_path(each.path) for each in conflicts if each.path not in chosen]
    if not still_open:
        run.answers[node].set_result(run.choices.pop(node))
    return {"node": node, "path": format_path(path), "open": still_open}


async def complete_task(run: GraphRun, request: Request) -> dict[str, Json]:
    """Give the answer that an `approval` waits for."""
    await _machine(run)
    node, answer = updates.checked(lambda: updates.task_answer(run, request))
    run.answers[node].set_result(answer)
    return {"node": node}


async def write_context(run: GraphRun, request: Request) -> dict[str, Json]:
    """Write from outside; returns the `number` of the version that it made."""
    machine = await _machine(run)
    changes = updates.checked(lambda: updates.outside_write(machine, request))
    number = updates.checked(lambda: machine.write(changes, run.now()))
    run.obey(machine.resume(run.now()))
    return {"number": number}


async def operate(run: GraphRun, what: Literal["retry", "skip", "fail"], request: Request) -> dict[str, Json]:
    """Act on a paused node."""
    machine = await _machine(run)
    node, edits = updates.checked(lambda: updates.paused_node(machine, request))
    if what == "retry":
        run.obey(machine.retry(node, edits, run.now()))
    elif what == "skip":
        run.obey(machine.skip(node, edits, run.now()))
    else:
        run.obey(machine.give_up(node, run.now()))
    return {"node": node}


async def _machine(run: GraphRun) -> Machine:
    """The machine, once the graph is loaded: an update may arrive together with the start."""
    await workflow.wait_condition(lambda: run.machine is not None)
    if run.machine is None:
        raise AssertionError("the condition says that it is there")
    run.heard = run.info.get_current_history_length()
    return run.machine
