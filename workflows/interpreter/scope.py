"""A `Scope` is one graph, or one turn of a body, being interpreted: the states of its nodes and their joins.

Dead-path elimination: an edge is settled once, taken or dead; a node whose edges are settled so that its join cannot
hold is skipped, and kills its own edges in turn. (The idea is that of WS-BPEL 2.0, section 11.6.3.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from anabranch.context.merge.lineage import Line
from anabranch.context.merge.union import Conflict
from anabranch.context.values import Json
from anabranch.graph.model import RuleNode
from anabranch.graph.plan import Plan, PlanEdge, PlanNode
from anabranch.workflows.interpreter.commands import Failure


class Status(StrEnum):
    """Where a node stands."""

    PENDING = "pending"
    READY = "ready"
    """Its join holds; it starts at the next step, unless the run is paused."""
    CONFLICT = "conflict"
    """Its join waits for somebody to settle a conflict."""
    RUNNING = "running"
    WAITING = "waiting"
    """A timer or a person."""
    PAUSED = "paused"
    """Failed, and an operator decides."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    @property
    def final(self) -> bool:
        """Whether nothing more happens to the node."""
        return self in _FINAL


END = "(end)"
_NOTHING = RuleNode(type="rule")
_NOT_STARTED = frozenset({Status.PENDING, Status.READY, Status.CONFLICT})
CLOSED = {"failure": Status.FAILED, "timeout": Status.TIMED_OUT, "cancelled": Status.CANCELLED}
"""How a node is closed, by the outcome of its failure."""
_FINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.TIMED_OUT, Status.CANCELLED, Status.SKIPPED})


@dataclass(slots=True, eq=False)
class NodeRun:
    """One node in one scope."""

    planned: PlanNode
    unsettled: int
    status: Status = Status.PENDING
    taken: list[PlanEdge] = field(default_factory=list)
    line: Line | None = None
    """The context that the node sees while it runs; afterwards, as it left it."""
    versions: tuple[int, ...] = ()
    """Numbers of the newest versions on its line."""
    failure: Failure | None = None
    followed: bool = False
    """Whether a later node stands on its line."""
    conflicts: tuple[Conflict, ...] = ()
    """What a `foreach` had to settle between its items."""
    started: int | None = None
    ended: int | None = None
    """Unix milliseconds."""


class Scope:
    """The nodes of one plan, standing on the line `base`.

    `prefix` is what their addresses start with (`""` for the run's own graph, `pack[3]/` in a body).
    """

    def __init__(
        self,
        plan: Plan,
        prefix: str,
        base: Line,
        *,
        versions: tuple[int, ...] = (),
        roots: Mapping[str, Json] | None = None,
        turn: int = 0,
        loop: str | None = None,
    ) -> None:
        self.plan = plan
        self.turn = turn
        self.name = loop or prefix
        """What the turns of one `while` share; other scopes have one name each."""
        self.prefix = prefix
        self.base = base
        self.versions = versions
        self.roots = roots or {}
        self.nodes = {name: NodeRun(planned, len(planned.incoming)) for name, planned in plan.nodes.items()}
        self.tally: Counter[Status] = Counter({Status.PENDING: len(self.nodes)})
        """How many nodes are in each status."""
        self.changed: dict[str, NodeRun] = {}
        """Nodes whose status has changed, the newest change last."""
        self.end = NodeRun(PlanNode(END, len(self.nodes), _NOTHING, (), (), frozenset()), 0)
        """The join of everything that is left when the last node is done."""
        self.open = len(self.nodes)

    def node(self, name: str) -> NodeRun:
        """A node of the scope, or the join at its end."""
        return self.end if name == END else self.nodes[name]

    def address(self, run: NodeRun) -> str:
        """The node's name in the run."""
        return self.prefix + run.planned.id

    def entries(self) -> Iterator[NodeRun]:
        """The nodes that nothing leads to."""
        return (run for run in self.nodes.values() if not run.planned.incoming)

    def mark(self, run: NodeRun, status: Status) -> None:
        """Change where a node stands."""
        if run is not self.end and run.status is not status:
            self.tally[run.status] -= 1
            self.tally[status] += 1
            self.changed.pop(run.planned.id, None)
            self.changed[run.planned.id] = run
        run.status = status

    def close(self, run: NodeRun, status: Status) -> None:
        """Record that nothing more happens to the node."""
        self.mark(run, status)
        self.open -= 1

    def give_up(self) -> None:
        """Close what has not started, for it never will, and what is paused: its failure stands."""
        for run in self.nodes.values():
            if run.status in {Status.PENDING, Status.READY}:
                self.close(run, Status.CANCELLED)
            elif run.status is Status.PAUSED and run.failure is not None:
                self.close(run, CLOSED[run.failure.outcome])

    def merge_writer(self, run: NodeRun) -> int:
        """The writer of the merge at a node's join. Writers are bits, unique among the lines that may meet."""
        return 2 * run.planned.index

    def writer(self, run: NodeRun) -> int:
        """The writer of what the node itself changes."""
        return 2 * run.planned.index + 1

    @property
    def first_outside_writer(self) -> int:
        """Writers from here on come from outside the graph."""
        return 2 * len(self.nodes) + 2

    def settle(self, edges: Iterable[tuple[PlanEdge, bool]]) -> list[NodeRun]:
        """Settle edges, each taken or dead; returns the nodes that may start now, after dead-path elimination."""
        ready: list[NodeRun] = []
        queue = list(edges)
        for edge, taken in queue:  # grows while it is walked: a skipped node's edges are dead
            target = self.nodes[edge.edge.target]
            target.unsettled -= 1
            if taken:
                target.taken.append(edge)
            if target.status is not Status.PENDING:
                continue
            if _may_start(target):
                self.mark(target, Status.READY)
                ready.append(target)
            elif target.unsettled == 0:
                queue.extend(self.skip(target))
        return ready

    def skip(self, run: NodeRun) -> list[tuple[PlanEdge, bool]]:
        """Skip the node; returns its edges, all dead."""
        self.close(run, Status.SKIPPED)
        run.line = None
        return [(edge, False) for edge in run.planned.outgoing]

    def predecessors(self, run: NodeRun) -> list[NodeRun]:
        """The sources of the edges taken to a node, each once, in the order of the edges' declaration."""
        if run is self.end:
            return self.frontier()
        return list(dict.fromkeys(self.nodes[edge.edge.source] for edge in entered_by(run)))

    def follow(self, run: NodeRun) -> None:
        """A node starts: it stands on its predecessors' lines. A line on which nothing can start any more is let go."""
        for predecessor in self.predecessors(run):
            predecessor.followed = True
            # From the last one on: they start in order, and one that has not started is enough.
            targets = (self.nodes[edge.edge.target] for edge in reversed(predecessor.planned.outgoing))
            if all(target is run or target.status not in _NOT_STARTED for target in targets):
                predecessor.line = None

    def frontier(self) -> list[NodeRun]:
        """Nodes with a line that no later node stands on: together they are the context now."""
        return [run for run in self.nodes.values() if run.line is not None and not run.followed]


def entered_by(run: NodeRun) -> list[PlanEdge]:
    """The edges on which a node starts, in the order of their declaration."""
    if run.planned.node.join == "first":
        return run.taken[:1]
    return sorted(run.taken, key=lambda edge: edge.index)


def _may_start(run: NodeRun) -> bool:
    join = run.planned.node.join
    if join == "first":
        return bool(run.taken)
    if run.unsettled:
        return False
    return len(run.taken) == len(run.planned.incoming) if join == "all" else bool(run.taken)


def inside(address: str, owner: str) -> bool:
    """Whether the address is the owner's, or lies in a body of it. The run's own is `""`."""
    return owner in {"", address} or address.startswith((f"{owner}/", f"{owner}["))
