"""How nodes start: their lines meet at the join, their condition is evaluated, and their command is emitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import cast

from anabranch.context.merge.lineage import Line
from anabranch.context.values import Json, Missing, Path
from anabranch.graph.expressions.expressions import evaluate_condition
from anabranch.graph.kinds.kinds import has_body
from anabranch.graph.model import ApprovalNode, GraphNode, ReceiveNode
from anabranch.workflows.interpreter.approvals import Approvals
from anabranch.workflows.interpreter.bodies import Bodies
from anabranch.workflows.interpreter.commands import (
    NOT_STARTED,
    AskPerson,
    AwaitEvent,
    Command,
    Failure,
    Finish,
    StartChild,
    StartTimer,
)
from anabranch.workflows.interpreter.endings import Endings
from anabranch.workflows.interpreter.ends import ENDS, Ends
from anabranch.workflows.interpreter.handled import error_before
from anabranch.workflows.interpreter.merging import Merging
from anabranch.workflows.interpreter.node_run import NodeRun, Status
from anabranch.workflows.interpreter.receives import Receives
from anabranch.workflows.interpreter.scope import OpenJoin, Scope, Started
from anabranch.workflows.interpreter.settling import abandon, settle
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.undo import Undo
from anabranch.workflows.interpreter.work import command_of, graph_result


class Starts:
    """The starts of the nodes of one run."""

    def __init__(self, state: RunState, merging: Merging, undo: Undo, endings: Endings, bodies: Bodies) -> None:
        self._state = state
        self._merging = merging
        self._undo = undo
        self._endings = endings
        self._bodies = bodies
        self._ends = Ends(state, endings)
        self.receives = Receives(state, endings)
        self.approvals = Approvals(state)

    def start_ready(self) -> None:
        """Start every node that is ready, and those that become ready meanwhile."""
        state = self._state
        while state.ready and state.may_start and state.budget.allows():
            state.budget.spend()
            scope, run = state.ready.popleft()
            if not state.is_aborting(scope.address(run)):
                self._endings.guarded(scope, run, partial(self._start, scope, run))
        if state.lasts and state.ready and not state.may_start:
            self._start_shielded()

    def _start_shielded(self) -> None:
        """The `finally` of a block goes on while the run fails, and before it continues as new. A pause holds it."""
        state = self._state
        held: list[tuple[Scope, NodeRun]] = []
        while state.ready and state.budget.allows() and (state.failure is not None or not state.is_paused):
            scope, run = state.ready.popleft()
            address = scope.address(run)
            if not state.is_shielded(address):
                held.append((scope, run))
            elif not state.is_aborting(address):
                state.budget.spend()
                self._endings.guarded(scope, run, partial(self._start, scope, run))
        state.ready.extendleft(reversed(held))

    def settle(self, join: OpenJoin, choices: Mapping[Path, Json | Missing]) -> None:
        """Every conflict at a join, or between the items of a `foreach`, is settled: the node goes on."""
        scope, run, address = join.scope, join.run, join.scope.address(join.run)
        if address in self._state.aborts:  # its own time is up: it fails as soon as all in it has ended
            return
        if run.status.final or self._state.is_aborting(
            address
        ):  # the choice was on its way when the join was cancelled
            message = f"node {address!r} was cancelled before it started"
            self._endings.fail(scope, run, Failure("cancelled", NOT_STARTED, message, address))
        elif (body := self._state.bodies.get(address)) is not None:
            self._endings.guarded(scope, run, partial(self._bodies.settle, body, choices))
        else:
            self._endings.guarded(scope, run, partial(self._settle, scope, run, choices))

    def ask_again(self) -> None:
        """After a snapshot: ask again what nodes wait for, and let timers and people have the rest of their time."""
        state = self._state
        self._bodies.ask_again()
        for address, node in list(state.work.items()):
            if isinstance(node, Started) and node.run.next_at is not None:
                seconds = max(0.0, (node.run.next_at - state.at) / 1000)
                state.expect(node, StartTimer(address, seconds, node.run.attempt + 1), Status.WAITING)
                continue
            if isinstance(node, Started):
                command, status = self._command(node, state.roots(node.scope, node.run, at=node.at))
                command = _shortened(command, (state.at - node.at) / 1000)
                if isinstance(command, AskPerson):
                    self.approvals.ask(node, command)
                else:
                    state.expect(node, command, status)
                if (question := state.questions.get(address)) is not None:
                    state.questions[address] = question.since(node.at)
                continue
            state.answered(address)  # a snapshot does not hold the conflicts: the lines meet again
            if address in state.bodies:
                node.scope.mark(node.run, Status.RUNNING)
            else:
                state.queue(node.scope, (node.run,))

    def launch(self, node: Started) -> None:
        """Start a node after its join, or skip it if its condition does not hold."""
        scope, run, state = node.scope, node.run, self._state
        roots = state.roots(scope, run)
        if run.attempt == 1 and not run.is_undone and not self._applies(node, roots):
            settle(state, scope, scope.skip(run))
            return
        scope.follow(run)
        self._endings.attempts.begin(scope, run)
        if run.attempt == 1:
            run.started = node.at
        state.watcher.node_started(scope, run)
        self._undo.register(node, self._key(node), roots)
        definition = run.planned.node
        if has_body(definition):
            self._bodies.start(node, definition)
        elif definition.type in ENDS:
            self._ends.carry_out(node, roots)
        elif isinstance(definition, ReceiveNode):
            command, _ = self._command(node, roots)
            self.receives.start(node, cast("AwaitEvent", command))
        elif isinstance(definition, ApprovalNode):
            command, _ = self._command(node, roots)
            self.approvals.ask(node, cast("AskPerson", command))
        else:
            state.expect(node, *self._command(node, roots))
            if isinstance(definition, GraphNode):
                state.start_deadline(node)

    def _applies(self, node: Started, roots: Mapping[str, Json]) -> bool:
        condition = node.run.planned.condition
        if condition is None:
            return True
        with self._state.budget.evaluating() as cost:
            return evaluate_condition(condition, node.line.data, roots, cost)

    def _start(self, scope: Scope, run: NodeRun) -> None:
        if run.planned.knows_error:
            run.handled = error_before(scope, run)
        # It has a line already if a person settled its conflicts.
        line = self._joined(scope, run, {}) if run.line is None or run.rejoins else run.line
        if line is None:
            return
        if run is scope.end:
            self._end(scope, line)
        else:
            self.launch(Started(scope, run, line, self._state.at))

    def _settle(self, scope: Scope, run: NodeRun, choices: Mapping[Path, Json | Missing]) -> None:
        line = self._joined(scope, run, choices)
        if line is None:
            return
        if run is scope.end:  # nothing starts at the end: it need not wait until something may
            self._end(scope, line)
        else:
            self._state.queue(scope, (run,))

    def _joined(self, scope: Scope, run: NodeRun, choices: Mapping[Path, Json | Missing]) -> Line | None:
        line = self._merging.join(scope, run, choices)
        if line is not None:
            self._state.size.check(line.data, scope.address(run))
            run.line, run.rejoins = line, False
        return line

    def _end(self, scope: Scope, line: Line) -> None:
        given = None if scope.plan.graph.result is None else self._result(scope, line)
        scope.end.status = Status.SUCCEEDED
        abandon(self._state, scope, scope.lost)
        self._endings.cancel_work(is_end=scope.body is None)
        if (body := scope.body) is None:
            self._state.finish(Finish(line, given=given))
        else:
            node = body.node
            self._endings.guarded(node.scope, node.run, partial(self._bodies.turn_ended, body, scope, line, given))

    def _result(self, scope: Scope, line: Line) -> dict[str, Json]:
        with self._state.budget.evaluating() as cost:
            given = graph_result(scope.plan, line, self._state.roots(scope), cost)
        if scope.body is None:
            self._state.size.check_result(given)
        return given

    def _command(self, node: Started, roots: Mapping[str, Json]) -> tuple[Command, Status]:
        address, key = node.scope.address(node.run), self._key(node)
        with self._state.budget.evaluating() as cost:
            command, status = command_of(address, node.run.planned, node.line, roots, key=key, at=node.at, cost=cost)
        if isinstance(command, StartChild):
            command = replace(command, attempt=node.run.attempt)
        return command, status

    def _key(self, node: Started) -> str:
        """Identifies the node's effect. It is the same for every attempt of its activity."""
        return f"{self._state.run['id']}/{node.scope.attempt_address(node.run)}"


def _shortened(command: Command, elapsed: float) -> Command:
    """The command for the rest of its time."""
    if isinstance(command, StartTimer):
        return replace(command, seconds=max(0.0, command.seconds - elapsed))
    if isinstance(command, AskPerson | AwaitEvent) and command.timeout is not None:
        return replace(command, timeout=max(0.001, command.timeout - elapsed))
    return command
