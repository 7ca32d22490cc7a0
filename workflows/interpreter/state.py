"""The state of one run, which all parts of the interpreter share, and the operations that only change this state."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from anabranch.context.merge.lineage import Line
from anabranch.context.values import Json
from anabranch.graph.expressions.templates import compile_template
from anabranch.graph.model import AiNode
from anabranch.graph.plan import Plan
from anabranch.limits import RUN_LIMITS
from anabranch.transport.node_protocol import iso_time
from anabranch.workflows.interpreter.address import inside
from anabranch.workflows.interpreter.budget import NodeBudget
from anabranch.workflows.interpreter.commands import (
    DEADLINE,
    AskConflict,
    AskPerson,
    AwaitEvent,
    CancelWork,
    Command,
    Failure,
    Finish,
    StartTimer,
)
from anabranch.workflows.interpreter.decisions import Decisions
from anabranch.workflows.interpreter.failing import Abort, Rollback
from anabranch.workflows.interpreter.handled import errors_before
from anabranch.workflows.interpreter.mailbox import Mailbox
from anabranch.workflows.interpreter.node_run import NodeRun, Status
from anabranch.workflows.interpreter.people import OpenApprovals
from anabranch.workflows.interpreter.questions import Answering, OpenQuestion
from anabranch.workflows.interpreter.routes import time_of
from anabranch.workflows.interpreter.saga import COMPENSATION, Ancestry, Saga, StepState
from anabranch.workflows.interpreter.scope import BodyRun, FailedNode, OpenJoin, Scope, Started
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


class RunState:
    """One run of one plan over one context. `run` is the root `run` of expressions, without its time."""

    at = 0
    """The time of the current event, in Unix milliseconds."""
    is_paused = False
    """Start nothing new until the run is resumed."""
    is_draining = False
    """Start nothing new: the workflow continues as new when all work is answered."""
    has_answers = False
    """Whether nodes may have an answer that another run has recorded: what follows a node is not certain then."""
    failure: Failure | None = None
    """Why the run fails, or its `finally`. Nothing new starts once it is set."""
    ending: Finish | None = None
    """How the graph's own nodes ended, where a `finally` follows."""
    finished: Finish | None = None
    until: int | None = None
    """When the time of the run as a whole is up, in Unix milliseconds."""
    version_numbers: dict[int, int]
    """The number of the version that each writer of the run's own graph made."""
    ready: deque[tuple[Scope, NodeRun]]
    """Nodes whose join holds. One whose conflicts were settled meanwhile already has its line."""
    work: dict[str, Started | OpenJoin]
    """Nodes whose commands are not answered yet, by address."""
    open_joins: dict[str, OpenJoin]
    """Those of them that wait for a person to settle conflicts."""
    questions: dict[str, OpenQuestion]
    """What people are asked there, and at approvals; and the events that nodes wait for."""
    mailbox: Mailbox | None = None
    """The events that nobody has received; None until one came."""
    mailbox_limits: Mapping[str, int]
    """Other limits of the mailbox than those of every run."""
    paused_nodes: dict[str, FailedNode]
    """Failed nodes that wait for an operator, by address."""
    bodies: dict[str, BodyRun]
    """Running nodes with a body, by address."""
    scopes: dict[str, Scope]
    """Turns of bodies under way, by prefix."""
    aborts: dict[str, Abort]
    """Aborts under way, by the address of the node with the body, or of an item; `""` is the run itself."""
    lasts: dict[str, BodyRun]
    """Blocks whose `finally` runs, by the address of that: it is spared when what is around it is cancelled."""
    due: dict[str, Started]
    """Blocks that were cancelled between their attempts, whose `finally` comes before what is around them ends."""
    rollbacks: dict[str, Rollback]
    """Failed attempts that are being undone, by the address of the composite, and failed items by their own."""
    deadlines: dict[str, str]
    """The timers that end running nodes with a body, and child workflows, by the address of the node."""
    timers: dict[str, Started]
    """The nodes of those timers that are not answered yet, by the address of the timer."""
    cancelling: deque[str]
    """Addresses of work that is still to be cancelled."""
    compensation_failures: dict[str, Failure]
    """Why compensations failed for good, by the address of the step."""
    lacking: dict[str, str]
    """What a worker lacked for work that others are to do, by address. It is only shown."""
    limited: dict[str, str]
    """What work waits for before it may begin, by address."""

    def __init__(
        self,
        plan: Plan,
        data: Mapping[str, Json],
        *,
        run: Mapping[str, Json],
        task_nodes: int = RUN_LIMITS.task_nodes,
        step_units: int = RUN_LIMITS.step_units,
        context_bytes: int = RUN_LIMITS.context_bytes,
        namespace: str = "default",
        console: str | None = None,
        watcher: Watcher = UNWATCHED,
    ) -> None:
        self.plan, self.run = plan, run
        self.answering = Answering(str(run.get("session_id", "")), namespace, console)
        self.main = self.root = Scope(plan, "", Line.start(dict(data)))
        """The scope of the graph's own nodes; while its `finally` runs, and since, `root` is that of those there."""
        self.budget = NodeBudget(task_nodes, step_units)
        self.watcher, self.trail = watcher, AuditTrail(watcher.context_updated)
        self.size, self.decisions = ContextSize(context_bytes), Decisions()
        self.saga, self.outside, self.approvals = Saga.of(plan.graph.saga), OutsideWrites(), OpenApprovals()
        self.version_numbers, self.ready, self.cancelling = {}, deque(), deque()
        self.work, self.open_joins, self.questions, self.paused_nodes = {}, {}, {}, {}
        self.mailbox_limits = {}
        self.bodies, self.scopes, self.aborts, self.lasts, self.due, self.rollbacks = {}, {}, {}, {}, {}, {}
        self.deadlines, self.timers = {}, {}
        self.compensation_failures, self.lacking, self.limited = {}, {}, {}
        self._commands: list[Command] = []

    def listen(self, watcher: Watcher) -> Watcher:
        """From now on another one hears of the run; returns the one that did."""
        before, self.watcher = self.watcher, watcher
        self.trail.tell(watcher.context_updated)
        return before

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
        if isinstance(command, AskPerson | AskConflict | AwaitEvent):
            self.questions[address] = OpenQuestion(command, self.at)
        self.emit(command)

    def answered(self, address: str) -> Started | OpenJoin | None:
        """The node whose command is answered now; None if no answer is expected."""
        self.open_joins.pop(address, None)
        self.questions.pop(address, None)
        if self.approvals.open:
            self._commands.extend(map(CancelWork, self.approvals.close(address)))
        return self.work.pop(address, None)

    def await_turn(self, address: str, why: str | None) -> None:
        """The work at an address waits for its turn; None once it may begin, or does not wait any more."""
        node = self.work.get(address)
        if why is None:
            self.limited.pop(address, None)
        else:
            self.limited[address] = why
        if isinstance(node, Started) and not node.run.status.final:  # else it is a compensation, or over
            node.scope.mark(node.run, Status.RUNNING if why is None else Status.WAITING)

    def start_deadline(self, node: Started, elapsed: float = 0.0) -> None:
        """Have a timer end a node with a body, or a child workflow, where it has a time-out.

        Of its attempt `elapsed` seconds are over. Raises what its template does.
        """
        definition, run = node.run.planned.node, node.run
        if isinstance(definition, AiNode):  # whose times are those of each question
            return
        limit = self.time_limit(node) if isinstance(definition.timeout, str) else definition.timeout
        bounds = [] if limit is None else [limit.total_seconds() - elapsed]
        if definition.total_timeout is not None and run.started is not None:
            bounds.append(definition.total_timeout.total_seconds() - (self.at - run.started) / 1000)
        if not bounds:
            return
        address = node.scope.address(node.run)
        timer = f"{DEADLINE}{address} since {iso_time(self.at)}"
        self.deadlines[address] = timer
        self.timers[timer] = node
        self.emit(StartTimer(timer, max(0.0, min(bounds))))

    def time_limit(self, node: Started) -> timedelta | None:
        """The `timeout` of a composite, where it is a template as that was when it started. Raises what that does."""
        planned, limit = node.run.planned, node.run.planned.node.timeout
        if not isinstance(limit, str):
            return limit
        template, roots = compile_template(limit, planned.roots), self.roots(node.scope, node.run, at=node.at)
        with self.budget.evaluating() as cost:
            return time_of(template, node.line.data, roots, cost, place=f"node {planned.id!r}")

    def stop_deadline(self, address: str) -> None:
        """The node at an address is over, or about to be. Nodes without such a timer are ignored."""
        if (timer := self.deadlines.pop(address, None)) is not None:
            self.emit(CancelWork(timer))

    def finish(self, finish: Finish) -> None:
        """End the run; where the graph has a `finally`, only what comes before that."""
        if self.root.plan.afterwards is not None:
            self.stop_deadline(self.root.address(self.root.end))
            self.ending = finish
            return
        if self.ending is not None:
            self.stop_deadline(self.root.address(self.root.end))
            finish = self.ending.followed_by(finish)
        if self.mailbox is not None and (left := self.mailbox.left()) is not None:
            self.trail.warn("(events)", left)
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
        if not self.lasts:
            return any(inside(address, prefix) for prefix in self.aborts)
        return any(self.cancels(prefix, address) for prefix in self.aborts)

    def cancels(self, prefix: str, address: str) -> bool:
        """Whether what is at an address ends when that at `prefix` is cancelled: the `finally` of a block does not."""
        return inside(address, prefix) and not (self.lasts and self.is_shielded(address, prefix))

    def is_shielded(self, address: str, prefix: str = "") -> bool:
        """Whether an address is in the `finally` of a block, and `prefix` is not."""
        return any(inside(address, last) and not inside(prefix, last) for last in self.lasts)

    def queue(self, scope: Scope, runs: Iterable[NodeRun]) -> None:
        """Nodes are ready to start."""
        for run in runs:
            scope.mark(run, Status.READY)
            self.ready.append((scope, run))

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

    def cancel_bodies(self) -> None:
        """Close all nodes with a body: the run has failed, and nothing inside them is left."""
        for body in self.bodies.values():
            body.node.scope.close(body.node.run, Status.CANCELLED)
        self.bodies.clear()
        self.scopes.clear()

    @property
    def under_way(self) -> bool:
        """Whether work is under way that must end before the state can be passed on: timers and people can wait."""
        return bool(self.aborts or self.rollbacks or self.lasts or self.approvals.telling) or any(
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
