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
from typing import Final

from anabranch.context.changes import ChangeSet
from anabranch.context.merge.lineage import Line
from anabranch.context.merge.resolution import ConflictResolution
from anabranch.context.values import Json, Missing, Path
from anabranch.errors import AnabranchError
from anabranch.graph.expressions.expressions import evaluate_condition
from anabranch.graph.model import ForeachNode, GraphNode, WhileNode
from anabranch.graph.plan import Plan, PlanEdge
from anabranch.workflows.interpreter.bodies import Composites
from anabranch.workflows.interpreter.commands import AskPerson, Command, Failure, Finish, StartTimer
from anabranch.workflows.interpreter.endings import Aborts, Outcomes
from anabranch.workflows.interpreter.input import check_input
from anabranch.workflows.interpreter.merging import Branches
from anabranch.workflows.interpreter.operator import Operator
from anabranch.workflows.interpreter.saga import Ancestry
from anabranch.workflows.interpreter.scope import END, NodeRun, Scope, Status, entered_by
from anabranch.workflows.interpreter.size import ContextSize
from anabranch.workflows.interpreter.trail import AuditTrail
from anabranch.workflows.interpreter.undo import Undo
from anabranch.workflows.interpreter.work import command_of

REVISION: Final = 1
"""The current revision: a change that makes runs behave otherwise raises it, and keeps the old way for older runs."""


class Machine:
    """One run of one plan over one context. `run` is the root `run` of expressions, without its time."""

    def __init__(
        self,
        plan: Plan,
        data: Mapping[str, Json],
        *,
        run: Mapping[str, Json],
        revision: int = REVISION,
        default: ConflictResolution = ConflictResolution.LAST_WRITE_WINS,
    ) -> None:
        self.plan = plan
        self.run = run
        self.revision = revision
        """The revision of the interpreter that the run is held to."""
        self.at = 0
        self.root = Scope(plan, "", Line.start(dict(data)))
        self.trail = AuditTrail()
        self.size = ContextSize()
        self.branches = Branches(self, default)
        self.undo = Undo(self)
        self.composites = Composites(self)
        self.aborts = Aborts(self)
        self.operator = Operator(self)
        self.outcomes = Outcomes(self)
        self.is_paused = False
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
        self.ready: deque[tuple[Scope, NodeRun]] = deque()
        self._commands: list[Command] = []

    # events

    def start(self, at: int) -> list[Command]:
        """Begin with the input. Raises InputMissing, SchemaViolation, SizeLimitExceeded, WireFormatError."""
        self.at = at
        base = self.root.base
        check_input(self.plan, base.data)
        changes = ChangeSet(base_version=0, set={(key,): value for key, value in base.data.items()}, by="input", at=at)
        self.size.add(changes)
        self.size.check(base.data, "input")
        self.root.versions = (self.trail.record("input", base, changes, by="input", at=at, parents=()),)
        self.enter(self.root)
        return self.drain()

    def resume_from_snapshot(self, at: int) -> list[Command]:
        """Begin where another workflow run left off: ask anew what it waited for (see `snapshot`)."""
        self.at = at
        for scope in (self.root, *self.composites.scopes.values()):
            for run in (*scope.nodes.values(), scope.end):
                self._ask_anew(scope, run)
        self._go_on_with_bodies()
        return self.drain()

    def succeeded(self, address: str, result: ChangeSet | Json, at: int) -> list[Command]:
        """What ran at `address` is done: a node's change set, a person's answer, a child's data."""
        self.at = at
        if self.undo.owns(address):
            self.undo.succeeded(address, result)
        elif (found := self.work.pop(address, None)) is not None:
            self.guarded(*found, lambda scope, run: self.outcomes.answered(scope, run, result))
        return self.drain()

    def failed(self, address: str, failure: Failure, at: int) -> list[Command]:
        """What ran at `address` failed, timed out or was cancelled."""
        self.at = at
        if self.undo.owns(address):
            self.undo.failed(address, failure)
        elif (found := self.work.pop(address, None)) is not None:
            conflicts = self.branches.open.pop(address, ())
            late = bool(conflicts) and failure.outcome == "timeout"
            self.outcomes.fail(*found, self.branches.timed_out(address, conflicts) if late else failure)
        return self.drain()

    def choose(self, address: str, choices: Mapping[Path, Json | Missing], at: int) -> list[Command]:
        """Somebody settled every conflict that the join at `address` waits for.

        Its node starts when nothing is held back any more.
        """
        self.at = at
        found = self.work.pop(address)
        del self.branches.open[address]
        self.guarded(*found, lambda scope, run: self._join(scope, run, choices))
        return self.drain()

    def write(self, changes: ChangeSet, at: int) -> int:
        """A service outside writes into the run; returns the number of the version. Raises VersionMismatch."""
        self.at = at
        return self.branches.write(changes)

    def cancel(self, reason: str, at: int) -> list[Command]:
        """Cancel what runs, then compensate."""
        return self.fail(Failure("cancelled", "CANCELLED", reason), at)

    def fail(self, failure: Failure, at: int) -> list[Command]:
        """Cancel what runs, then compensate: the run as a whole cannot go on."""
        self.at = at
        if self.failure is None and self.finished is None:
            self.aborts.begin("", self.root, self.root.end, failure)
        return self.drain()

    def resume(self, at: int) -> list[Command]:
        """Go on after `held` or `draining` was lifted."""
        self.at = at
        self._go_on_with_bodies()
        return self.drain()

    def refuse(self, error: AnabranchError) -> None:
        """The input does not fit: the run is over before anything has started."""
        self.failure = Failure("failure", error.code, str(error))
        self.root.give_up()
        self.finished = Finish(self.root.base, self.failure)

    # what the parts of the machine call

    def emit(self, command: Command) -> None:
        """Add a command to the answer of this event."""
        self._commands.append(command)

    def expect(self, scope: Scope, run: NodeRun, command: Command, status: Status = Status.RUNNING) -> None:
        """Emit a command whose answer will come for this node."""
        scope.mark(run, status)
        self.work[scope.address(run)] = (scope, run)
        self.emit(command)

    def enter(self, scope: Scope) -> None:
        """Start a scope's first nodes."""
        self._queue(scope, scope.entries())

    def roots(self, scope: Scope, run: NodeRun | None = None) -> dict[str, Json]:
        """The values of the roots of expressions beside the context."""
        roots: dict[str, Json] = {"run": {**self.run, "time": iso_time(self.at)}, **scope.roots}
        sources = [edge.edge.source for edge in entered_by(run) if edge.edge.outcome != "success"] if run else []
        if sources:
            failures = [failure.root() for name in sources if (failure := scope.nodes[name].failure)]
            roots["error"] = failures[0] if failures else None  # behind an `always` edge there may be none
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

    def finish(self, finish: Finish) -> None:
        """The run is over."""
        self.finished = finish
        self.emit(finish)

    # inside

    def drain(self) -> list[Command]:
        """Go as far as is possible without an answer; returns the commands of this event."""
        self._start_ready()
        while self.aborts.end_one():
            self._start_ready()
        commands, self._commands = self._commands, []
        return commands

    def _start_ready(self) -> None:
        while self.ready and not self.is_paused and not self.draining and self.failure is None:
            scope, run = self.ready.popleft()
            if not self.aborts.is_aborting(scope.address(run)):
                self.guarded(scope, run, self._join)

    def _queue(self, scope: Scope, runs: Iterable[NodeRun]) -> None:
        for run in runs:
            scope.mark(run, Status.READY)
            self.ready.append((scope, run))

    def guarded(self, scope: Scope, run: NodeRun, act: Callable[[Scope, NodeRun], None]) -> None:
        """Act on a node; an error of its expressions or its data is the node's failure, not the machine's."""
        try:
            act(scope, run)
        except AnabranchError as error:
            address = scope.address(run)
            failure = Failure("failure", error.code, str(error), address)
            if address in self.composites.under_way:
                self.aborts.begin(address, scope, run, failure)
            else:
                self.outcomes.fail(scope, run, failure)

    def _go_on_with_bodies(self) -> None:
        for address, progress in list(self.composites.under_way.items()):
            if not self.aborts.is_aborting(address):
                self.guarded(progress.scope, progress.run, lambda *_, body=progress: self.composites.go_on(body))

    def _ask_anew(self, scope: Scope, run: NodeRun) -> None:
        if run.status is Status.CONFLICT:
            self._queue(scope, (run,))
        elif run.status is Status.PAUSED:
            self.paused[scope.address(run)] = (scope, run)
        elif run.status is Status.WAITING:
            began = self.at if run.started is None else run.started
            command, status = self._command(scope, run, began)
            self.expect(scope, run, _without(command, (self.at - began) / 1000), status)

    def _key(self, scope: Scope, run: NodeRun) -> str:
        """What names the node's effect: the same for every attempt."""
        return f"{self.run['id']}/{scope.address(run)}"

    def _join(self, scope: Scope, run: NodeRun, choices: Mapping[Path, Json | Missing] | None = None) -> None:
        # It may have a line already: conflicts that were settled while the run was held.
        line = run.line or self.branches.join(scope, run, choices or {})
        if line is None:
            return
        self.size.check(line.data, scope.address(run))
        run.line = line
        if run is scope.end:
            self._end(scope, line)
        elif self.is_paused or self.draining:  # its conflicts were settled meanwhile
            self._queue(scope, (run,))
        else:
            self.launch(scope, run)

    def launch(self, scope: Scope, run: NodeRun) -> None:
        """Start a node on the line that it stands on, or skip it if its `when` does not hold."""
        assert run.line is not None  # noqa: S101 - set at the join
        condition = run.planned.condition
        roots = self.roots(scope, run)
        if condition is not None and not evaluate_condition(condition, run.line.data, roots):
            self.settle(scope, scope.skip(run))
            return
        scope.follow(run)
        run.started = self.at
        node = run.planned.node
        key = self._key(scope, run)
        self.undo.register(scope, run, key, roots, run.line)
        if isinstance(node, ForeachNode | WhileNode) or (isinstance(node, GraphNode) and node.mode == "inline"):
            self.composites.start(scope, run)
        else:
            self.expect(scope, run, *self._command(scope, run, self.at))

    def _command(self, scope: Scope, run: NodeRun, at: int) -> tuple[Command, Status]:
        line, roots, key = run.line or scope.base, self.roots(scope, run), self._key(scope, run)
        return command_of(scope.address(run), run.planned, line, roots, key=key, at=at)

    def _end(self, scope: Scope, line: Line) -> None:
        scope.end.status = Status.SUCCEEDED
        if scope.prefix:
            progress = self.composites.under_way[self.composites.owners[scope.prefix]]
            self.guarded(progress.scope, progress.run, lambda *_: self.composites.scope_ended(scope, line))
        else:
            self.finish(Finish(line))

    def settle(self, scope: Scope, edges: list[tuple[PlanEdge, bool]]) -> None:
        """Edges are taken or dead: start what may start then, the end of the scope too."""
        self._queue(scope, scope.settle(edges))
        if scope.open == 0 and scope.end.status is Status.PENDING and not self.aborts.is_aborting(scope.prefix + END):
            self._queue(scope, (scope.end,))


def _without(command: Command, elapsed: float) -> Command:
    """The command with the time that has passed taken off its own."""
    if isinstance(command, StartTimer):
        return replace(command, seconds=max(0.0, command.seconds - elapsed))
    if isinstance(command, AskPerson) and command.timeout is not None:
        return replace(command, timeout=max(0.001, command.timeout - elapsed))
    return command


def iso_time(at: int) -> str:
    """Unix milliseconds as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
