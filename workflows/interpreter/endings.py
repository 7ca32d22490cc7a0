"""What follows from how a node ended: its changes become a version, its edges are taken or dead, or its scope fails.

A scope that fails is aborted: what runs inside is cancelled and awaited; then the failure goes to the node around it,
whose failure edges may still handle it. The abort of the run itself leads to compensation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from anabranch.context.changes import ChangeSet
from anabranch.context.merge.lineage import Line
from anabranch.context.nested import check_ways
from anabranch.context.values import Json
from anabranch.context.wire import measure
from anabranch.errors import AnabranchError
from anabranch.graph.fields import JsonObject
from anabranch.graph.kinds.kinds import fallback_of
from anabranch.graph.model import WaitNode
from anabranch.graph.plan_node import PlanEdge
from anabranch.workflows.interpreter.attempts import Attempts
from anabranch.workflows.interpreter.batches import items_of
from anabranch.workflows.interpreter.commands import NOT_STARTED, CancelWork, Failure
from anabranch.workflows.interpreter.input import check_names, check_schema
from anabranch.workflows.interpreter.last import begin as begin_last
from anabranch.workflows.interpreter.last import last_of, line_behind, refusal, with_written
from anabranch.workflows.interpreter.last import leave as leave_last
from anabranch.workflows.interpreter.merging import Merging
from anabranch.workflows.interpreter.node_run import CLOSED, NodeRun, Status
from anabranch.workflows.interpreter.scope import BlockEnd, BodyRun, FailedNode, Scope, Started
from anabranch.workflows.interpreter.settling import abort, routes_behind, settle
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.tolerance import (
    failure_with,
    note_failed,
    note_passed_over,
    one_too_many,
    warnings_of,
)
from anabranch.workflows.interpreter.trail import Kind
from anabranch.workflows.interpreter.undo import Undo
from anabranch.workflows.interpreter.work import fallback_changes, mapped_output

_NOTHING = ChangeSet(base_version=0, set={})


class Endings:
    """How the nodes and the scopes of one run end."""

    def __init__(self, state: RunState, merging: Merging, undo: Undo) -> None:
        self._state = state
        self._merging = merging
        self._undo = undo
        self.attempts = Attempts(state, merging, undo)

    def guarded(self, scope: Scope, run: NodeRun, act: Callable[[], None]) -> None:
        """Act on a node. An error of its expressions or its data is the node's failure, not the interpreter's."""
        try:
            act()
        except AnabranchError as error:
            address = scope.address(run)
            failure = Failure("failure", error.code, str(error), address)
            if (body := self._state.bodies.get(address)) is not None:
                self._abort(address, body.node, failure)
            else:
                self.fail(scope, run, failure)

    def succeed(self, node: Started, result: ChangeSet | Json) -> None:
        """The node's work is done, with a change set, a person's answer or a child's data."""
        self.guarded(node.scope, node.run, partial(self._succeed, node, result))

    def _succeed(self, node: Started, result: ChangeSet | Json) -> None:
        run = node.run
        # Whatever is wrong with its result, it has had its effect.
        self._undo.step_succeeded(node.scope.attempt_address(run), run.planned, node.line)
        if isinstance(run.planned.node, WaitNode):
            result = _NOTHING
        elif not isinstance(result, ChangeSet):
            measure(result)
            with self._state.budget.evaluating() as cost:
                roots, begun = (self._state.roots(node.scope, run, at=at) for at in (None, node.at))
                result = mapped_output(run.planned, result, node.line, roots, cost, begun=begun)
        if len(max(result.set, key=len, default=())) > 1:
            check_ways(node.line.data, result.set)
        self.complete(node, result)

    def complete(self, node: Started, changes: ChangeSet, *, operator: str | None = None) -> None:
        """The node succeeded with these changes, or an operator skipped it and gave them."""
        state, scope, run = self._state, node.scope, node.run
        address, writer = scope.address(run), scope.writer(run)
        is_said = scope.body is not None and scope.body.talk is not None
        if scope.body is not None and scope.body.talk is not None:
            scope.body.results[scope.turn] = changes = scope.body.talk.hear(changes)
        check_names(changes, scope.roots)
        line, refined = node.line.advance(changes, writer=writer, by=operator or address, at=state.at)
        if is_said:  # whether it differs from the context or not: the model hears all of it
            refined = replace(refined, set=changes.set)
        self._undo.step_succeeded(scope.attempt_address(run), run.planned, line)
        is_given_up = run.status.final  # when another branch had won: only what it did counts
        if refined and not is_given_up:  # refused while an attempt that fails for it can still be undone
            check_schema(scope.plan, line.data, address)
            state.size.add(refined)
            state.size.check(line.data, address)
        self.attempts.end(scope, run)
        if is_given_up:
            return
        state.stop_deadline(address)
        if (refined or refined.warnings or refined.usage or is_said) and not scope.has_lost(run):
            self._record(scope, run, line, refined, "external" if operator else "node")
        run.line, run.ended = line, state.at
        routes = routes_behind(state, scope, run, line, "success")
        scope.close(run, Status.SUCCEEDED)
        state.watcher.node_ended(scope, run, None)
        settle(state, scope, routes)

    def complete_body(self, body: BodyRun, changes: ChangeSet) -> None:
        """All turns of a body are over, and its node succeeded with these changes."""
        self._state.close_body(body.address)
        if body.failures or body.passed_over:
            changes = replace(changes, warnings=(*changes.warnings, *warnings_of(body)))
        self.complete(body.node, changes)

    def _record(self, scope: Scope, run: NodeRun, line: Line, changes: ChangeSet, kind: Kind) -> None:
        """The changes are a version of the context."""
        state, before = self._state, run.versions
        conflicts = () if kind == "fallback" else run.conflicts
        by = state.decisions.answered_by(changes.by) if state.decisions.newest else None
        number = state.trail.record(
            kind, line, changes, by=changes.by, at=state.at, parents=before, conflicts=conflicts, answered_by=by
        )
        run.versions = (number,)
        self._merging.note_version(scope, scope.writer(run), number)

    def fail(self, scope: Scope, run: NodeRun, failure: Failure) -> None:
        """The node failed: it is undone, or it is paused, or closed along its failure edges."""
        state, address = self._state, scope.address(run)
        failure = failure if failure.node else replace(failure, node=address)
        before = self._merging.by_last_write(scope, run) if run.line is None else run.line
        self._undo.step_failed(scope.attempt_address(run), run.planned, failure, self._after(scope, run, before))
        state.watcher.node_ended(scope, run, failure)
        if run.status.final:  # given up when another branch had won: only what it did counts
            return
        run.failure = failure
        state.close_body(address)
        if self.attempts.is_undone_now(scope, run, failure):
            self.attempts.undo(Started(scope, run, before, state.at), failure)
        else:
            self.fail_for_good(scope, run, before, failure)

    def _after(self, scope: Scope, run: NodeRun, before: Line) -> Line:
        """The context as a failed node left it. Nodes behind a failure edge depend on it: it may have had an effect."""
        line, _ = before.advance(_NOTHING, writer=scope.writer(run), by=scope.address(run), at=self._state.at)
        return line

    def fail_for_good(self, scope: Scope, run: NodeRun, before: Line, failure: Failure) -> None:
        """The node failed, and no other attempt of it follows."""
        state, address, line = self._state, scope.address(run), self._after(scope, run, before)
        self.attempts.end(scope, run)
        run.line, run.ended = line, state.at
        node = FailedNode(scope, run, line, failure)
        is_waited_for = not state.is_aborting(address) and not scope.has_lost(run)
        if run.planned.node.on_failure == "pause" and is_waited_for:
            scope.mark(run, Status.PAUSED)
            state.paused_nodes[address] = node
        else:
            self.close_failed(node)

    def close_failed(self, node: FailedNode) -> None:
        """Close a failed node: along its failure edges, past it (`on_failure`), or with its scope.

        The `finally` of a block comes first.
        """
        if last_of(node.run) is None:
            self._close_failed(node)
            return
        node.run.failure = node.failure
        node.scope.mark(node.run, Status.RUNNING)
        before = Started(node.scope, node.run, node.line, self._state.at)
        begin_last(self._state, before, BlockEnd(node.line, node.line, node.failure))

    def go_on_with_last(self, node: Started, changes: ChangeSet) -> None:
        """A block succeeded with these changes, or an operator skipped it: its `finally` begins.

        Raises AnabranchError for changes that the context does not take.
        """
        state, scope, run = self._state, node.scope, node.run
        check_names(changes, scope.roots)
        line, refined = node.line.advance(changes, writer=scope.writer(run), by=scope.address(run), at=state.at)
        check_schema(scope.plan, line.data, scope.address(run))
        state.size.check(line.data, scope.address(run), refined)
        scope.mark(run, Status.RUNNING)
        begin_last(state, node, BlockEnd(node.line, line, None, changes))

    def end_last(self, body: BodyRun, written: Line | None, failure: Failure | None) -> None:
        """The `finally` of a block has ended with a context, or failed: the block ends as it had."""
        node, end, state = body.node, body.end, self._state
        leave_last(state, body)
        if end is None:
            raise AssertionError(f"{body.address!r} has no `finally` under way")
        if written is not None and (refused := refusal(state, body, written)) is not None:
            written, failure = None, refused
        if failure is not None:
            state.watcher.finally_failed(body.address, failure)
        if end.failure is None:
            try:
                self.complete(node, with_written(end, written, failure))
            except AnabranchError as error:
                failed = Failure("failure", error.code, str(error), body.address)
                node.run.failure = failed
                state.watcher.node_ended(node.scope, node.run, failed)
                state.watcher.finally_ended(node.scope, node.run, failed)
                self._close_failed(
                    FailedNode(node.scope, node.run, self._after(node.scope, node.run, end.before), failed)
                )
            return
        line = line_behind(state, self._merging, body, written, failure)
        state.watcher.finally_ended(node.scope, node.run, end.failure)
        if node.run.status.final:  # given up while it was undone
            settle(state, state.root, ())
            return
        node.run.line, node.run.ended = line, state.at
        self._close_failed(FailedNode(node.scope, node.run, line, end.failure))

    def _close_failed(self, node: FailedNode) -> None:
        scope, run, failure = node.scope, node.run, node.failure
        scope.close(run, CLOSED[failure.outcome])
        if self._state.is_aborting(scope.address(run)):
            return
        if run is scope.end:
            self.abort_scope(scope, failure)
            return
        try:
            routes, handled = self._ways_on(node)
        except AnabranchError as error:  # it may be the very error that the node failed with
            same = str(error) == failure.message
            message = failure.message if same else f"{failure.message}; then: {error}"
            failure = replace(failure, message=message)
            routes, handled = [(edge, False) for edge in run.planned.outgoing], False
        if handled or scope.has_lost(run):
            settle(self._state, scope, routes)
        else:
            self.abort_scope(scope, failure)

    def _ways_on(self, node: FailedNode) -> tuple[list[tuple[PlanEdge, bool]], bool]:
        """The outgoing edges of a failed node, each taken or dead, and whether the run goes on there."""
        scope, run, instead = node.scope, node.run, fallback_of(node.run.planned.node)
        if instead is None:
            routes = routes_behind(self._state, scope, run, node.line, node.failure.outcome)
            if any(taken for _, taken in routes) or run.planned.node.on_failure != "continue":
                return routes, any(taken for _, taken in routes)
        line = node.line if instead is None else self._fall_back(node, instead)
        note_passed_over(scope, scope.address(run), node.failure, fell_back=instead is not None)
        return routes_behind(self._state, scope, run, line, "success"), True

    def _fall_back(self, node: FailedNode, values: JsonObject) -> Line:
        """Write the values that the graph gives for a failed node. Raises AnabranchError."""
        state, scope, run = self._state, node.scope, node.run
        address, writer = scope.address(run), scope.writer(run)
        roots = {**state.roots(scope, run), "error": node.failure.root()}
        with state.budget.evaluating() as cost:
            changes = fallback_changes(run.planned, values, node.line, roots, cost)
        check_names(changes, scope.roots)
        said = replace(changes, warnings=(f"failed ({node.failure.code}), and the run went on with its `on_failure`",))
        line, refined = node.line.advance(said, writer=writer, by=address, at=state.at)
        if refined:
            check_schema(scope.plan, line.data, address)
            state.size.add(refined)
            state.size.check(line.data, address)
        if not scope.has_lost(run):
            self._record(scope, run, line, refined, "fallback")
        run.line = line
        return line

    def abort_run(self, failure: Failure) -> None:
        """The run fails: start nothing more, cancel what runs, then compensate."""
        state = self._state
        state.failure = failure
        state.root.cancel_pending()
        for node in state.paused_nodes.values():
            if node.scope is state.root:
                node.scope.close(node.run, CLOSED[node.failure.outcome])
        self._abort("", None, failure)

    def time_out(self, node: Started) -> None:
        """The time of a node with a body, or of a child workflow, is up: cancel what runs in it, then it fails."""
        address = node.scope.address(node.run)
        if not (node.run.status.final or self._state.is_aborting(address)):
            self._abort(address, node, self.attempts.timed_out(node))

    def told(self, address: str, failure: Failure) -> None:
        """What a node whose time is up was waiting for itself, a child workflow or a choice, was cancelled."""
        abort = self._state.aborts[address]
        happened = False if failure.code == NOT_STARTED else failure.happened
        told = replace(abort.failure, details=failure.details, happened=happened)
        self._state.aborts[address] = replace(abort, failure=told)

    def cancel_work(self, *, is_end: bool = False) -> None:
        """Cancel what runs in scopes that are being aborted, or lost a race; at the end of the run, all of it."""
        state = self._state
        while state.cancelling and (is_end or state.budget.allows()):
            state.budget.spend()
            if (address := state.cancelling.popleft()) in state.work:
                state.emit(CancelWork(address))

    def abort_scope(self, scope: Scope, failure: Failure) -> None:
        """A node failed and nothing handles it: its scope fails, and with it the node around, or one item of it."""
        if (body := scope.body) is None:
            self.abort_run(failure)
            return
        is_told = body.talk is not None and body.talk.goes_on(body.node.run.planned.node, scope.turn, failure)
        if (
            is_told
            or body.end is not None
            or self.go_on_without(body, dict.fromkeys(items_of(body, scope.turn), failure))
        ):  # its `finally` failed, which changes nothing of how the block ended
            self._abort(scope.prefix[:-1], body.node, failure, scope)

    def go_on_without(self, body: BodyRun, failures: Mapping[int, Failure]) -> bool:
        """Turns or items have failed: whether the node goes on without them. Else it is aborted."""
        too_many = one_too_many(body, failures)
        note_failed(body, failures)
        if too_many is None:
            return True
        self._abort(body.address, body.node, failure_with(body, too_many))
        return False

    def _abort(self, prefix: str, node: Started | None, failure: Failure, item: Scope | None = None) -> None:
        abort(self._state, prefix, node, failure, item)
        self.cancel_work()
