"""The graph interpreter, sans I/O: events in, commands out, no clock and no Temporal.

Each event method takes the time `at` (Unix milliseconds) and returns the commands that follow from it. What runs at an
address is answered by exactly one `succeeded` or `failed`, cancelled work too. The Temporal workflow, the dry run, the
test kit and the property tests all drive this machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from context.changes import ChangeSet
from context.lineage import Line
from context.resolution import ConflictResolution
from context.values import Json, Missing, Path
from errors import AnabranchError
from graph.expressions import evaluate_condition
from graph.model import ForeachNode, GraphNode, WaitNode, WhileNode
from graph.plan import Plan, PlanEdge
from workflows.branches import Branches
from workflows.commands import CancelWork, Command, Failure, Finish
from workflows.composites import Composites, inside, mapped_output
from workflows.input import check_input, check_schema
from workflows.leaves import command_of
from workflows.saga import Ancestry
from workflows.scope import END, NodeRun, Scope, Status
from workflows.trail import Trail
from workflows.undo import Undo

_CLOSED = {"failure": Status.FAILED, "timeout": Status.TIMED_OUT, "cancelled": Status.CANCELLED}


class Machine:
    """One run of one plan over one context. `run` is the root `run` of expressions, without its time."""

    def __init__(
        self,
        plan: Plan,
        data: Mapping[str, Json],
        *,
        run: Mapping[str, Json],
        default: ConflictResolution = ConflictResolution.LAST_WRITE_WINS,
    ) -> None:
        self.plan = plan
        self.run = run
        self.at = 0
        self.root = Scope(plan, "", Line.start(dict(data)))
        self.trail = Trail()
        self.branches = Branches(self, default)
        self.undo = Undo(self)
        self.composites = Composites(self)
        self.held = False
        """Start nothing new (signals `pause` and `resume`)."""
        self.draining = False
        """Start nothing new: the workflow continues as new when all work is answered."""
        self.failure: Failure | None = None
        """Why the run fails; nothing new starts from then on."""
        self.finished: Finish | None = None
        self.work: dict[str, tuple[Scope, NodeRun]] = {}
        """What was commanded and is not answered yet, by address."""
        self.paused: dict[str, tuple[Scope, NodeRun]] = {}
        """Failed nodes that wait for an operator, by address."""
        self._ready: deque[tuple[Scope, NodeRun]] = deque()
        self._aborts: dict[str, tuple[Scope, NodeRun, Failure]] = {}
        self._commands: list[Command] = []

    # events

    def start(self, at: int) -> list[Command]:
        """Begin with the input. Raises InputMissing, SchemaViolation."""
        self.at = at
        base = self.root.base
        check_input(self.plan, base.data)
        changes = ChangeSet(base_version=0, set={(key,): value for key, value in base.data.items()}, by="input", at=at)
        self.root.versions = (self.trail.record("input", base, changes, by="input", at=at, parents=()),)
        self.enter(self.root)
        return self._drain()

    def succeeded(self, address: str, result: ChangeSet | Json, at: int) -> list[Command]:
        """What ran at `address` is done: a node's change set, a person's answer, a child's data."""
        self.at = at
        if self.undo.owns(address):
            self.undo.succeeded(address, result)
        elif (found := self.work.pop(address, None)) is not None:
            self._guarded(*found, lambda scope, run: self._answered(scope, run, result))
        return self._drain()

    def failed(self, address: str, failure: Failure, at: int) -> list[Command]:
        """What ran at `address` failed, timed out or was cancelled."""
        self.at = at
        if self.undo.owns(address):
            self.undo.failed(address, failure)
        elif (found := self.work.pop(address, None)) is not None:
            self.branches.open.pop(address, None)
            self.fail_node(*found, failure)
        return self._drain()

    def choose(self, address: str, choices: Mapping[Path, Json | Missing], at: int) -> list[Command]:
        """Somebody settled every conflict that the join at `address` waits for."""
        self.at = at
        found = self.work.pop(address)
        del self.branches.open[address]
        self._guarded(*found, lambda scope, run: self._join(scope, run, choices))
        return self._drain()

    def write(self, changes: ChangeSet, at: int) -> int:
        """A service outside writes into the run; returns the number of the version. Raises VersionMismatch."""
        self.at = at
        return self.branches.write(changes)

    def cancel(self, reason: str, at: int) -> list[Command]:
        """Cancel what runs, then compensate."""
        self.at = at
        if self.failure is None and self.finished is None:
            self._abort("", self.root, self.root.end, Failure("cancelled", "CANCELLED", reason))
        return self._drain()

    def resume(self, at: int) -> list[Command]:
        """Go on after `held` or `draining` was lifted."""
        self.at = at
        return self._drain()

    def retry_node(self, address: str, edits: ChangeSet | None, at: int) -> list[Command]:
        """An operator has a paused node tried again, on an edited context if wished."""
        self.at = at
        if (step := self.undo.paused(address)) is not None:
            self.undo.retry(step)
            return self._drain()
        scope, run = self.paused.pop(address)
        self._edit(scope, run, edits)
        run.failure = None
        self._guarded(scope, run, self._launch)
        return self._drain()

    def skip_node(self, address: str, edits: ChangeSet | None, at: int) -> list[Command]:
        """An operator has the run go on as if a paused node had succeeded and written `edits`."""
        self.at = at
        if (step := self.undo.paused(address)) is not None:
            self.undo.give_up(step, done=True)
            return self._drain()
        scope, run = self.paused.pop(address)
        changes = edits or ChangeSet(base_version=0, set={})
        self._guarded(scope, run, lambda scope, run: self.complete(scope, run, changes))
        return self._drain()

    def give_up_node(self, address: str, at: int) -> list[Command]:
        """An operator lets a paused node's failure stand (update `fail_node`)."""
        self.at = at
        if (step := self.undo.paused(address)) is not None:
            self.undo.give_up(step, done=False)
            return self._drain()
        scope, run = self.paused.pop(address)
        self._close_failed(scope, run)
        return self._drain()

    # what the parts of the machine call

    def emit(self, command: Command) -> None:
        """Add a command to the answer of this event."""
        self._commands.append(command)

    def expect(self, scope: Scope, run: NodeRun, command: Command, status: Status = Status.RUNNING) -> None:
        """Emit a command whose answer will come for this node."""
        run.status = status
        self.work[scope.address(run)] = (scope, run)
        self.emit(command)

    def enter(self, scope: Scope) -> None:
        """Start a scope's first nodes."""
        self._queue(scope, scope.entries())

    def roots(self, scope: Scope, run: NodeRun | None = None) -> dict[str, Json]:
        """The values of the roots of expressions beside the context."""
        roots: dict[str, Json] = {"run": {**self.run, "time": iso_time(self.at)}, **scope.roots}
        for edge in run.taken if run else ():
            if edge.edge.outcome != "success" and (failure := scope.nodes[edge.edge.source].failure):
                roots["error"] = failure.root()
        return roots

    def ancestry(self, scope: Scope) -> tuple[Ancestry, ...]:
        """Where the composite nodes around a scope stand, outermost first."""
        found: list[Ancestry] = []
        while scope.prefix:
            progress = self.composites.under_way[self.composites.owners[scope.prefix]]
            scope, run = progress.scope, progress.run
            seen = run.line.seen if run.line else 0
            found.append(Ancestry(scope.name, scope.turn, scope.writer(run), seen))
        return tuple(reversed(found))

    def complete(self, scope: Scope, run: NodeRun, changes: ChangeSet) -> None:
        """The node succeeded with these changes."""
        address, before = scope.address(run), run.line or scope.base
        line, refined = before.advance(changes, writer=scope.writer(run), by=address, at=self.at)
        self.undo.step_succeeded(address, run.planned, line)
        if refined:
            check_schema(scope.plan, line.data, address)
            record = self.trail.record
            run.versions = (
                record("node", line, refined, by=address, at=self.at, parents=run.versions, conflicts=run.conflicts),
            )
        run.line, run.ended = line, self.at
        routes = self._routes(scope, run, "success")
        scope.close(run, Status.SUCCEEDED)
        self._settle(scope, routes)

    def fail_node(self, scope: Scope, run: NodeRun, failure: Failure) -> None:
        """The node failed for good: take its failure edges, or do what its `on_failure` says."""
        address = scope.address(run)
        run.failure = failure = failure if failure.node else replace(failure, node=address)
        run.line, run.ended = run.line or scope.base, self.at
        self.composites.close(address)
        self.undo.step_failed(address, failure, run.line)
        if run.planned.node.on_failure == "pause" and not self._aborting(address):
            run.status = Status.PAUSED
            self.paused[address] = (scope, run)
        else:
            self._close_failed(scope, run)

    def finish(self, finish: Finish) -> None:
        """The run is over."""
        self.finished = finish
        self.emit(finish)

    # inside

    def _drain(self) -> list[Command]:
        self._start_ready()
        while ended := [prefix for prefix in self._aborts if not any(inside(each, prefix) for each in self.work)]:
            self._aborted(ended[0])
            self._start_ready()
        commands, self._commands = self._commands, []
        return commands

    def _start_ready(self) -> None:
        while self._ready and not self.held and not self.draining and self.failure is None:
            scope, run = self._ready.popleft()
            if not self._aborting(scope.address(run)):
                self._guarded(scope, run, self._join)

    def _queue(self, scope: Scope, runs: Iterable[NodeRun]) -> None:
        for run in runs:
            run.status = Status.READY
            self._ready.append((scope, run))

    def _guarded(self, scope: Scope, run: NodeRun, act: Callable[[Scope, NodeRun], None]) -> None:
        """Act on a node; an error of its expressions or its data is the node's failure, not the machine's."""
        try:
            act(scope, run)
        except AnabranchError as error:
            address = scope.address(run)
            failure = Failure("failure", error.code, str(error), address)
            if address in self.composites.under_way:
                self._abort(address, scope, run, failure)
            else:
                self.fail_node(scope, run, failure)

    def _join(self, scope: Scope, run: NodeRun, choices: Mapping[Path, Json | Missing] | None = None) -> None:
        line = self.branches.join(scope, run, choices or {})
        if line is None:
            return
        run.line = line
        if run is scope.end:
            self._end(scope, line)
        else:
            self._launch(scope, run)

    def _launch(self, scope: Scope, run: NodeRun) -> None:
        assert run.line is not None  # noqa: S101 - set at the join
        condition = run.planned.condition
        roots = self.roots(scope, run)
        if condition is not None and not evaluate_condition(condition, run.line.data, roots):
            self._settle(scope, scope.skip(run))
            return
        for predecessor in scope.predecessors(run):
            predecessor.followed = True
        run.started = self.at
        node, address = run.planned.node, scope.address(run)
        key = f"{self.run['id']}/{address}"
        self.undo.register(scope, run, key, roots, run.line)
        if isinstance(node, ForeachNode | WhileNode) or (isinstance(node, GraphNode) and node.mode == "inline"):
            self.composites.start(scope, run)
        else:
            command, status = command_of(scope, run, roots, key, self.at)
            self.expect(scope, run, command, status)

    def _answered(self, scope: Scope, run: NodeRun, result: ChangeSet | Json) -> None:
        line = run.line or scope.base
        self.undo.step_succeeded(scope.address(run), run.planned, line)  # whatever its result is, it has happened
        if isinstance(run.planned.node, WaitNode):
            result = ChangeSet(base_version=line.version, set={})
        elif not isinstance(result, ChangeSet):
            result = mapped_output(run.planned, result, line, self.roots(scope, run))
        self.complete(scope, run, result)

    def _end(self, scope: Scope, line: Line) -> None:
        scope.end.status = Status.SUCCEEDED
        if scope.prefix:
            progress = self.composites.under_way[self.composites.owners[scope.prefix]]
            self._guarded(progress.scope, progress.run, lambda *_: self.composites.scope_ended(scope, line))
        else:
            self.finish(Finish(line))

    def _settle(self, scope: Scope, edges: list[tuple[PlanEdge, bool]]) -> None:
        self._queue(scope, scope.settle(edges))
        if scope.open == 0 and scope.end.status is Status.PENDING and not self._aborting(scope.prefix + END):
            self._queue(scope, (scope.end,))

    def _routes(self, scope: Scope, run: NodeRun, outcome: str) -> list[tuple[PlanEdge, bool]]:
        """The node's edges, each taken or dead. Raises EvaluationError, naming the edge."""
        assert run.line is not None  # noqa: S101 - the node ran
        roots = self.roots(scope, run)
        if run.failure is not None:
            roots["error"] = run.failure.root()
        routes: list[tuple[PlanEdge, bool]] = []
        for edge in run.planned.outgoing:
            taken = edge.edge.outcome in {outcome, "always"}
            if taken and edge.condition is not None:
                taken = evaluate_condition(edge.condition, run.line.data, roots)
            routes.append((edge, taken))
        return routes

    def _close_failed(self, scope: Scope, run: NodeRun) -> None:
        failure = run.failure
        assert failure is not None  # noqa: S101 - set where it failed
        scope.close(run, _CLOSED[failure.outcome])
        if self._aborting(scope.address(run)):
            return
        if run is scope.end:
            self._abort_scope(scope, failure)
            return
        try:
            routes = self._routes(scope, run, failure.outcome)
            handled = any(taken for _, taken in routes)
            if not handled and run.planned.node.on_failure == "continue":
                routes, handled = self._routes(scope, run, "success"), True
        except AnabranchError as error:  # it may be what failed in the first place
            told = failure.message if str(error) == failure.message else f"{failure.message}; then: {error}"
            self._abort_scope(scope, replace(failure, message=told))
            return
        if handled:
            self._settle(scope, routes)
        else:
            self._abort_scope(scope, failure)

    def _edit(self, scope: Scope, run: NodeRun, edits: ChangeSet | None) -> None:
        """An operator's changes to the context that a paused node stands on."""
        if not edits or run.line is None:
            return
        line, refined = run.line.advance(edits, writer=scope.merge_writer(run), by=edits.by, at=self.at)
        number = self.trail.record("external", line, refined, by=edits.by, at=self.at, parents=run.versions)
        run.line, run.versions = line, (number,)

    # failing

    def _aborting(self, address: str) -> bool:
        return any(inside(address, prefix) for prefix in self._aborts)

    def _abort_scope(self, scope: Scope, failure: Failure) -> None:
        """A node failed and nothing handles it: its scope fails, and with it the composite node around."""
        if scope.prefix == "":
            self._abort("", scope, scope.end, failure)
        else:
            owner = self.composites.owners[scope.prefix]
            progress = self.composites.under_way[owner]
            self._abort(owner, progress.scope, progress.run, failure)

    def _abort(self, prefix: str, scope: Scope, run: NodeRun, failure: Failure) -> None:
        if prefix == "":
            self.failure = failure
        self._aborts = {each: abort for each, abort in self._aborts.items() if not inside(each, prefix)}
        self._aborts[prefix] = (scope, run, failure)
        self.paused = {each: found for each, found in self.paused.items() if not inside(each, prefix)}
        for address in [each for each in self.work if inside(each, prefix)]:
            self.emit(CancelWork(address))

    def _aborted(self, prefix: str) -> None:
        """Everything inside has come to rest."""
        scope, run, failure = self._aborts.pop(prefix)
        if prefix == "":
            for progress in list(self.composites.under_way.values()):
                self.composites.close(progress.scope.address(progress.run))
                progress.scope.close(progress.run, Status.CANCELLED)
            self.undo.proceed()
        else:
            self.fail_node(scope, run, failure)


def iso_time(at: int) -> str:
    """Unix milliseconds as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
