"""What follows from how a node ended: its changes become a version, its edges are taken or dead, or its scope fails."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json, check_value
from anabranch.errors import AnabranchError
from anabranch.graph.expressions.expressions import evaluate_condition
from anabranch.graph.model import WaitNode
from anabranch.graph.plan import PlanEdge
from anabranch.workflows.interpreter.commands import CancelWork, Failure
from anabranch.workflows.interpreter.input import check_schema
from anabranch.workflows.interpreter.scope import CLOSED, NodeRun, Scope, Status, inside
from anabranch.workflows.interpreter.work import mapped_output

if TYPE_CHECKING:
    from anabranch.workflows.interpreter.machine import Machine

_NOTHING = ChangeSet(base_version=0, set={})


class Outcomes:
    """The outcomes of the nodes of one run."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def complete(self, scope: Scope, run: NodeRun, changes: ChangeSet) -> None:
        """The node succeeded with these changes."""
        machine, address, before = self._machine, scope.address(run), run.line or scope.base
        line, refined = before.advance(changes, writer=scope.writer(run), by=address, at=machine.at)
        machine.undo.step_succeeded(address, run.planned, line)
        if refined:
            check_schema(scope.plan, line.data, address)
            machine.size.add(refined)
            machine.size.check(line.data, address)
            record, parents = machine.trail.record, run.versions
            number = record("node", line, refined, by=address, at=machine.at, parents=parents, conflicts=run.conflicts)
            run.versions = (number,)
            machine.branches.note(scope, scope.writer(run), number)
        run.line, run.ended = line, machine.at
        routes = self._routes(scope, run, "success")
        scope.close(run, Status.SUCCEEDED)
        machine.settle(scope, routes)

    def fail(self, scope: Scope, run: NodeRun, failure: Failure) -> None:
        """The node failed for good: take its failure edges, or do what its `on_failure` says."""
        machine, address = self._machine, scope.address(run)
        run.failure = failure = failure if failure.node else replace(failure, node=address)
        before = run.line or machine.branches.by_last_write(scope, run)
        # What stands behind it, on a failure edge, stands on it: it may have happened.
        line, _ = before.advance(_NOTHING, writer=scope.writer(run), by=address, at=machine.at)
        run.line, run.ended = line, machine.at
        machine.composites.close(address)
        machine.undo.step_failed(address, run.planned, failure, run.line)
        if run.planned.node.on_failure == "pause" and not machine.aborts.is_aborting(address):
            scope.mark(run, Status.PAUSED)
            machine.paused[address] = (scope, run)
        else:
            self.close_failed(scope, run)

    def close_failed(self, scope: Scope, run: NodeRun) -> None:
        """Close a failed node: along its failure edges, past it (`on_failure: continue`), or with its scope."""
        machine, failure = self._machine, run.failure
        assert failure is not None  # noqa: S101 - set where it failed
        scope.close(run, CLOSED[failure.outcome])
        if machine.aborts.is_aborting(scope.address(run)):
            return
        if run is scope.end:
            machine.aborts.scope(scope, failure)
            return
        try:
            routes = self._routes(scope, run, failure.outcome)
            handled = any(taken for _, taken in routes)
            if not handled and run.planned.node.on_failure == "continue":
                routes, handled = self._routes(scope, run, "success"), True
        except AnabranchError as error:  # it may be what failed in the first place
            told = failure.message if str(error) == failure.message else f"{failure.message}; then: {error}"
            machine.aborts.scope(scope, replace(failure, message=told))
            return
        if handled:
            machine.settle(scope, routes)
        else:
            machine.aborts.scope(scope, failure)

    def answered(self, scope: Scope, run: NodeRun, result: ChangeSet | Json) -> None:
        """What ran is done: a node's change set, a person's answer, a child's data."""
        machine, line = self._machine, run.line or scope.base
        machine.undo.step_succeeded(scope.address(run), run.planned, line)  # whatever its result is, it has happened
        if isinstance(run.planned.node, WaitNode):
            result = _NOTHING
        elif not isinstance(result, ChangeSet):
            check_value(result)
            result = mapped_output(run.planned, result, line, machine.roots(scope, run))
        self.complete(scope, run, result)

    def _routes(self, scope: Scope, run: NodeRun, outcome: str) -> list[tuple[PlanEdge, bool]]:
        """The node's edges, each taken or dead. Raises EvaluationError, naming the edge."""
        assert run.line is not None  # noqa: S101 - the node ran
        roots = self._machine.roots(scope, run)
        roots["error"] = run.failure.root() if run.failure else roots.get("error")
        routes: list[tuple[PlanEdge, bool]] = []
        for edge in run.planned.outgoing:
            taken = edge.edge.outcome in {outcome, "always"}
            if taken and edge.condition is not None:
                taken = evaluate_condition(edge.condition, run.line.data, roots)
            routes.append((edge, taken))
        return routes


class Aborts:
    """The aborts under way in one run, by the address of the composite node (`""`: the run itself)."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._open: dict[str, tuple[Scope, NodeRun, Failure]] = {}

    def is_aborting(self, address: str) -> bool:
        """Whether what stands at an address is being aborted."""
        return any(inside(address, prefix) for prefix in self._open)

    def scope(self, scope: Scope, failure: Failure) -> None:
        """A node failed and nothing handles it: its scope fails, and with it the composite node around."""
        if scope.prefix == "":
            self.begin("", scope, scope.end, failure)
        else:
            owner = self._machine.composites.owners[scope.prefix]
            progress = self._machine.composites.under_way[owner]
            self.begin(owner, progress.scope, progress.run, failure)

    def begin(self, prefix: str, scope: Scope, run: NodeRun, failure: Failure) -> None:
        """Start nothing more inside, and cancel what runs there. `run` is the node that fails in the end."""
        machine = self._machine
        if prefix == "":
            machine.failure = failure
            machine.root.give_up()
        self._open = {each: abort for each, abort in self._open.items() if not inside(each, prefix)}
        self._open[prefix] = (scope, run, failure)
        machine.paused = {each: found for each, found in machine.paused.items() if not inside(each, prefix)}
        for address in [each for each in machine.work if inside(each, prefix)]:
            machine.emit(CancelWork(address))

    def end_one(self) -> bool:
        """End an abort inside which everything has come to rest, if there is one."""
        for prefix, (scope, run, failure) in self._open.items():
            if any(inside(address, prefix) for address in self._machine.work):
                continue
            del self._open[prefix]
            if prefix == "":
                self._machine.composites.cancel()
                self._machine.undo.proceed()
            else:
                self._forget_ready(prefix)
                self._machine.outcomes.fail(scope, run, failure)
            return True
        return False

    def _forget_ready(self, prefix: str) -> None:
        """What was held back inside, while the run was paused or drained, never starts."""
        machine = self._machine
        kept = [(scope, run) for scope, run in machine.ready if not inside(scope.address(run), prefix)]
        machine.ready = deque(kept)
