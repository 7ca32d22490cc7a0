"""The state of one run, which all parts of the interpreter share, and the operations that only change this state."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from anabranch.context.merge.lineage import Line
from anabranch.context.values import Json
from anabranch.graph.plan import Plan, PlanEdge
from anabranch.limits import RUN_LIMITS
from anabranch.workflows.interpreter.address import inside, node_inside
from anabranch.workflows.interpreter.budget import NodeBudget
from anabranch.workflows.interpreter.commands import (
    DEADLINE,
    AskConflict,
    AskPerson,
    CancelWork,
    Command,
    Failure,
    Finish,
    StartTimer,
)
from anabranch.workflows.interpreter.handled import errors_before
from anabranch.workflows.interpreter.node_run import NodeRun, Status
from anabranch.workflows.interpreter.questions import Answering, OpenQuestion
from anabranch.workflows.interpreter.saga import COMPENSATION, Ancestry, Saga, StepState
from anabranch.workflows.interpreter.scope import END, BodyRun, FailedNode, OpenJoin, Scope, Started
from anabranch.workflows.interpreter.size import ContextSize
from anabranch.workflows.interpreter.trail import AuditTrail
from anabranch.workflows.interpreter.watcher import UNWATCHED, Watcher


@dataclass(slots=True)
class OutsideWrites:
    """What services outside the run wrote into it, as one line of descent."""

    line: Line | None = None
    versions: tuple[int, ...] = ()
    """Numbers of the newest versions on the line."""
    count: int = 0


@dataclass(frozen=True, slots=True)
class Abort:
    """A scope that fails: what runs in it is being cancelled. `node` is the node around it, None for the run itself."""

    node: Started | None
    failure: Failure
    item: Scope | None = None
    """The one item of a `foreach` that fails; None where the whole node does."""


@dataclass(slots=True, eq=False)
class Rollback:
    """A failed attempt of a composite, or a failed item, that is being undone before the run goes on."""

    node: Started
    attempt: str
    """The address of the attempt, or of the item."""
    failure: Failure
    item: Scope | None = None
    """The item of a `foreach`, where only that failed."""
    until: float | None = None
    """The deadline of its compensations, in Unix seconds."""
    is_over: bool = False
    is_undone: bool = False
    """Once it is over, whether all could be undone."""


class RunState:
    """One run of one plan over one context. `run` is the root `run` of expressions, without its time."""

    at = 0
    """The time of the current event, in Unix milliseconds."""
    is_paused = False
    """Start nothing new until the run is resumed."""
    is_draining = False
    """Start nothing new: the workflow continues as new when all work is answered."""
    failure: Failure | None = None
    """Why the run fails, or its `finally`. Nothing new starts once it is set."""
    ending: Finish | None = None
    """How the graph's own nodes ended, where a `finally` follows."""
    finished: Finish | None = None

    def __init__(
        self,
        plan: Plan,
        data: Mapping[str, Json],
        *,
        run: Mapping[str, Json],
        task_nodes: int = RUN_LIMITS.task_nodes,
        step_units: int = RUN_LIMITS.step_units,
        namespace: str = "default",
        watcher: Watcher = UNWATCHED,
    ) -> None:
        self.plan, self.run = plan, run
        self.answering = Answering(str(run.get("session_id", "")), namespace)
        self.main = self.root = Scope(plan, "", Line.start(dict(data)))
        """The scope of the graph's own nodes; while its `finally` runs, and since, `root` is that of those there."""
        self.budget = NodeBudget(task_nodes, step_units)
        self.watcher, self.trail = watcher, AuditTrail(watcher.context_updated)
        self.size = ContextSize()
        self.saga, self.outside = Saga.of(plan.graph.saga), OutsideWrites()
        self.version_numbers: dict[int, int] = {}
        """The number of the version that each writer of the run's own graph made."""
        self.ready: deque[tuple[Scope, NodeRun]] = deque()
        """Nodes whose join holds. One whose conflicts were settled meanwhile already has its line."""
        self.work: dict[str, Started | OpenJoin] = {}
        """Nodes whose commands are not answered yet, by address."""
        self.open_joins: dict[str, OpenJoin] = {}
        """Those of them that wait for a person to settle conflicts."""
        self.questions: dict[str, OpenQuestion] = {}
        """What people are asked there, and at approvals."""
        self.paused_nodes: dict[str, FailedNode] = {}
        """Failed nodes that wait for an operator, by address."""
        self.bodies: dict[str, BodyRun] = {}
        """Running nodes with a body, by address."""
        self.scopes: dict[str, Scope] = {}
        """Turns of bodies under way, by prefix."""
        self.aborts: dict[str, Abort] = {}
        """Aborts under way, by the address of the node with the body, or of an item; `""` is the run itself."""
        self.rollbacks: dict[str, Rollback] = {}
        """Failed attempts that are being undone, by the address of the composite, and failed items by their own."""
        self.deadlines: dict[str, str] = {}
        """The timers that end running nodes with a body, and child workflows, by the address of the node."""
        self.timers: dict[str, Started] = {}
        """The nodes of those timers that are not answered yet, by the address of the timer."""
        self.cancelling: deque[str] = deque()
        """Addresses of work that is still to be cancelled."""
        self.compensation_failures: dict[str, Failure] = {}
        """Why compensations failed for good, by the address of the step."""
        self.lacking: dict[str, str] = {}
        """What a worker lacked for work that others are to do, by address. It is only shown."""
        self._commands: list[Command] = []

    def emit(self, command: Command) -> None:
        """Add a command to the answer to the current event."""
        self._commands.append(command)

    def expect(self, node: Started | OpenJoin, command: Command, status: Status = Status.RUNNING) -> None:
        """Emit a command that will be answered for this node."""
        address = node.scope.address(node.run)
        node.scope.mark(node.run, status)
        self.work[address] = node
        if isinstance(node, OpenJoin):
            self.open_joins[address] = node
        if isinstance(command, AskPerson | AskConflict):
            self.questions[address] = OpenQuestion(command, self.at)
        self.emit(command)

    def answered(self, address: str) -> Started | OpenJoin | None:
        """The node whose command is answered now; None if no answer is expected."""
        self.open_joins.pop(address, None)
        self.questions.pop(address, None)
        return self.work.pop(address, None)

    def start_deadline(self, node: Started, elapsed: float = 0.0) -> None:
        """Have a timer end a node with a body, or a child workflow, where it has a time-out.

        Of its attempt `elapsed` seconds are over.
        """
        definition, run = node.run.planned.node, node.run
        bounds = [] if definition.timeout is None else [definition.timeout.total_seconds() - elapsed]
        if definition.total_timeout is not None and run.started is not None:
            bounds.append(definition.total_timeout.total_seconds() - (self.at - run.started) / 1000)
        if not bounds:
            return
        address = node.scope.address(node.run)
        timer = f"{DEADLINE}{address} since {iso_time(self.at)}"
        self.deadlines[address] = timer
        self.timers[timer] = node
        self.emit(StartTimer(timer, max(0.0, min(bounds))))

    def stop_deadline(self, address: str) -> None:
        """The node at an address is over, or about to be. Nodes without such a timer are ignored."""
        if (timer := self.deadlines.pop(address, None)) is not None:
            self.emit(CancelWork(timer))

    def finish(self, finish: Finish) -> None:
        """End the run; where the graph has a `finally`, only what comes before that."""
        if self.root.plan.afterwards is not None:
            self.ending = finish
            return
        if self.ending is not None:
            self.stop_deadline(self.root.address(self.root.end))
            finish = self.ending.followed_by(finish)
        self.finished = finish
        self.emit(finish)

    def take_commands(self) -> list[Command]:
        """The commands that were emitted since the last call."""
        commands, self._commands = self._commands, []
        return commands

    @property
    def may_start(self) -> bool:
        """Whether new nodes may start."""
        return not self.is_paused and not self.is_draining and self.failure is None

    def is_aborting(self, address: str) -> bool:
        """Whether the node at an address is inside a scope that is being aborted."""
        return any(inside(address, prefix) for prefix in self.aborts)

    def queue(self, scope: Scope, runs: Iterable[NodeRun]) -> None:
        """Nodes are ready to start."""
        for run in runs:
            scope.mark(run, Status.READY)
            self.ready.append((scope, run))

    def settle(self, scope: Scope, edges: Iterable[tuple[PlanEdge, bool]]) -> None:
        """Settle edges as taken or dead, and queue what may start then, including the end of the scope."""
        before = scope.open
        ready = scope.settle(edges)
        self.queue(scope, ready)
        self.budget.spend(before - scope.open)
        for run in ready:
            if run.planned.fires_at is not None and run.planned.node.losers == "cancel":
                self.abandon(scope, scope.plan.racing(run.planned.id))
        if scope.open == 0 and scope.end.status is Status.PENDING and not self._must_go_on(scope):
            self.queue(scope, (scope.end,))

    def _must_go_on(self, scope: Scope) -> bool:
        """Whether a scope may not end yet. The end of the run would cancel compensations that are under way."""
        return self.is_aborting(scope.prefix + END) or (scope is self.root and bool(self.rollbacks))

    def enter(self, scope: Scope) -> None:
        """Queue the first nodes of a scope."""
        self.queue(scope, scope.entries())

    def enter_turn(self, body: BodyRun, scope: Scope) -> None:
        """Begin a turn of a body."""
        self.budget.spend_scope(len(scope.nodes))
        body.turns[scope.turn] = scope
        self.scopes[scope.prefix] = scope
        self.enter(scope)

    def leave_turn(self, body: BodyRun, scope: Scope) -> None:
        """A turn of a body has ended."""
        del body.turns[scope.turn]
        del self.scopes[scope.prefix]

    def close_body(self, address: str) -> None:
        """Forget a node's body with all bodies inside. Nodes without a body are ignored."""
        self.stop_deadline(address)
        if (body := self.bodies.pop(address, None)) is None:
            return
        for scope in body.turns.values():
            del self.scopes[scope.prefix]
            self.close_inside(scope)

    def close_inside(self, scope: Scope) -> None:
        """Forget the bodies of the nodes of a scope."""
        for run in scope.nodes.values():
            self.close_body(scope.address(run))

    def abandon(self, scope: Scope, names: Collection[str]) -> None:
        """Of these nodes, those that lost a race are over: what runs of them is cancelled, and nobody waits for it.

        How it ends concerns the saga alone.
        """
        late = {name: run for name in names if name in scope.lost and not (run := scope.nodes[name]).status.final}
        if not late:
            return

        def is_late(address: str) -> bool:
            return node_inside(address, scope.prefix) in late

        for address, node in self.work.items():
            if is_late(address):
                self.cancelling.append(address)
                if node.scope is not scope:
                    node.scope.close(node.run, Status.CANCELLED)
        self.paused_nodes = {address: node for address, node in self.paused_nodes.items() if not is_late(address)}
        self.aborts = {address: abort for address, abort in self.aborts.items() if not is_late(address)}
        self.ready = deque((each, run) for each, run in self.ready if not is_late(each.address(run)))
        for run in late.values():
            self.close_body(scope.address(run))
            run.ended = self.at
            scope.close(run, Status.CANCELLED)

    def cancel_bodies(self) -> None:
        """Close all nodes with a body: the run has failed, and nothing inside them is left."""
        for body in self.bodies.values():
            body.node.scope.close(body.node.run, Status.CANCELLED)
        self.bodies.clear()
        self.scopes.clear()

    @property
    def under_way(self) -> bool:
        """Whether work is under way that must end before the state can be passed on: timers and people can wait."""
        return bool(self.aborts or self.rollbacks) or any(
            node.run.status is Status.RUNNING or node.run.status.final for node in self.work.values()
        )

    @property
    def waiting_for_operator(self) -> tuple[str, ...]:
        """Addresses of the nodes and compensations that wait for an operator."""
        if (
            self.failure is None and not self.rollbacks
        ):  # looking through the saga at every event would cost the square of its steps
            return tuple(self.paused_nodes)
        return (*self.paused_nodes, *(COMPENSATION + address for address in self.saga.in_state(StepState.PAUSED)))

    def node_at(self, address: str) -> NodeRun | None:
        """The node at an address; None if there is none, or if the turn of the body that it is in is over."""
        for scope in (self.main, self.root, *self.scopes.values()):
            if address.startswith(scope.prefix) and (run := scope.nodes.get(address[len(scope.prefix) :])):
                return run
        return None

    def roots(self, scope: Scope, run: NodeRun | None = None, *, at: int | None = None) -> dict[str, Json]:
        """The roots of expressions beside the context, in a scope or at one of its nodes; now, or at a time before."""
        roots: dict[str, Json] = {"run": {**self.run, "time": iso_time(self.at if at is None else at)}, **scope.roots}
        if run is not None and run.planned.knows_error:
            roots["error"] = None if run.handled is None else run.handled.root()
            roots["errors"] = [] if run.line is None else errors_before(scope, run.line)
        return roots

    def ancestry(self, scope: Scope) -> tuple[Ancestry, ...]:
        """The places of the nodes around a scope, outermost first."""
        found: list[Ancestry] = []
        while (body := scope.body) is not None:
            scope = body.node.scope
            found.append(Ancestry(scope.name, scope.turn, scope.writer(body.node.run), body.node.line.seen))
        return tuple(reversed(found))


def iso_time(at: int) -> str:
    """Unix milliseconds as ISO 8601 in UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
