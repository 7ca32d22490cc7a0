"""The `finally` of a `block`: nodes that run once the block has ended, however it did, and before anything follows.

It is shielded: of what is cancelled around the block it is spared, and what is cancelled waits for it.
"""

from __future__ import annotations

from dataclasses import replace

from anabranch.context.changes import ChangeSet, diff
from anabranch.context.merge.lineage import Line
from anabranch.context.values import Json
from anabranch.errors import AnabranchError
from anabranch.graph.model import BlockNode, Finally
from anabranch.workflows.interpreter.address import inside
from anabranch.workflows.interpreter.afterwards import MOST_STEPS, bound
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.failing import Abort
from anabranch.workflows.interpreter.input import check_schema
from anabranch.workflows.interpreter.merging import Merging
from anabranch.workflows.interpreter.node_run import NodeRun
from anabranch.workflows.interpreter.saga import StepState
from anabranch.workflows.interpreter.scope import BlockEnd, BodyRun, Scope, Started
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.turn_context import names_around

NAME = "finally"
"""What the addresses of its nodes have behind that of the block. No node of such a block has that id."""


def last_of(run: NodeRun) -> Finally | None:
    """The `finally` of a node, if it has one."""
    return run.planned.node.finally_ if isinstance(run.planned.node, BlockNode) else None


def begin(state: RunState, node: Started, end: BlockEnd) -> None:
    """A block has ended, for good: start its `finally`."""
    scope, run = node.scope, node.run
    address = scope.address(run)
    state.close_body(address)
    body = BodyRun(node, end.line, end=end)
    prefix = f"{address}/{NAME}/"
    roots = {**names_around(state, body), "outcome": _outcome(state, address, end.failure)}
    line = Line.start(end.line.data, end.line.version)
    turn = Scope(scope.plan.last(run.planned.id), prefix, line, body=body, versions=run.versions, roots=roots)
    state.bodies[address] = body
    state.lasts[prefix[:-1]] = body
    state.enter_turn(body, turn)
    if (failure := bound(state, turn, last_of(run))) is not None:
        state.aborts[prefix[:-1]] = Abort(node, failure, turn)


def leave(state: RunState, body: BodyRun) -> None:
    """The `finally` of a block is over: the block ends as it had."""
    address = body.address
    prefix = f"{address}/{NAME}"
    for scope in body.turns.values():
        state.stop_deadline(scope.address(scope.end))
    state.close_body(address)
    del state.lasts[prefix]
    state.aborts.pop(address, None)  # the block was given up meanwhile: all in it has ended now


def with_written(end: BlockEnd, written: Line | None, failure: Failure | None) -> ChangeSet:
    """What a block that succeeded leaves: its own changes, and those of its `finally`, of whose failure they warn."""
    changes = end.changes or ChangeSet(base_version=0, set={})
    if written is not None and diff(end.line.data, written.data):
        changes = replace(diff(end.before.data, written.data), warnings=changes.warnings)
    return replace(changes, warnings=(*changes.warnings, *_warning(failure)))


def refusal(state: RunState, body: BodyRun, written: Line) -> Failure | None:
    """Why the context does not take what a `finally` wrote: its nodes saw that, and no more than that, fit."""
    address = f"{body.address}/{NAME}"
    try:
        check_schema(body.node.scope.plan, written.data, address)
        state.size.check(written.data, address)
    except AnabranchError as error:
        return Failure("failure", error.code, str(error), address)
    return None


def line_behind(
    state: RunState, merging: Merging, body: BodyRun, written: Line | None, failure: Failure | None
) -> Line:
    """The context behind a block that failed: as compensations left it, with what its `finally` wrote: a version.

    That outlives what is undone around the block, as what compensations wrote does.
    """
    scope, run, line = body.node.scope, body.node.run, body.line
    changes = ChangeSet(base_version=0, set={}) if written is None else diff(line.data, written.data)
    changes = replace(changes, warnings=_warning(failure))
    if not (changes or changes.warnings):
        return line
    by, writer = f"{body.address}/{NAME}", merging.edit_writer(scope, run, line)
    line, refined = line.advance(changes, writer=writer, by=by, at=state.at)
    if refined:
        state.saga.written.append((by, refined))
    if not scope.has_lost(run):
        state.size.add(refined)
        number = state.trail.record("node", line, refined, by=by, at=state.at, parents=run.versions)
        run.versions = (number,)
        merging.note_version(scope, writer, number)
    return line


def to_begin(state: RunState, prefix: str, owner: str | None) -> list[Started]:
    """The blocks inside what was cancelled whose `finally` comes first: the innermost ones.

    `owner` is the node that is to fail when all in it has ended: its own `finally` comes later.
    """
    found = {
        address: body.node
        for address, body in state.bodies.items()
        if body.end is None and last_of(body.node.run) is not None
    }
    found |= state.due
    due = {each: node for each, node in found.items() if each != owner and state.cancels(prefix, each)}
    if owner is not None:
        state.due.pop(owner, None)
    inner = [each for each in due if not any(each != other and inside(other, each) for other in due)]
    for each in inner:
        state.due.pop(each, None)
    return [due[each] for each in inner]


def begin_cancelled(state: RunState, node: Started) -> None:
    """What is around a block was cancelled, and all in it has ended: start its `finally`."""
    address = node.scope.address(node.run)
    failure = Failure("cancelled", "CANCELLED", f"node {address!r} was cancelled", address)
    node.run.failure = failure
    begin(state, node, BlockEnd(node.line, node.line, failure))


def _warning(failure: Failure | None) -> tuple[str, ...]:
    return () if failure is None else (f"finally_failed at {failure.node!r}: {failure.code}: {failure.message}",)


def _outcome(state: RunState, address: str, failure: Failure | None) -> dict[str, Json]:
    """The root `outcome`: how the block has ended, with all of its attempts."""
    saga = state.saga
    undone: list[Json] = [each for each in saga.undone if inside(each, address)]
    status = "completed" if failure is None else "cancelled" if failure.outcome == "cancelled" else "failed"
    failed = saga.in_state(StepState.FAILED) if failure is not None else ()
    left: list[Json] = [each for each in failed if inside(each, address)]
    return {
        "status": status,
        "error": None if failure is None else failure.root(),
        "compensated": undone[:MOST_STEPS],
        "not_compensated": left[:MOST_STEPS],
    }
