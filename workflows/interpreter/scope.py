"""A `Scope` is one graph, or one turn of a body, being interpreted: the states of its nodes and their joins.

Dead-path elimination: each edge is settled once, as taken or dead. A node whose join can no longer hold is skipped, and
its own edges are dead in turn. (The idea is that of WS-BPEL 2.0, section 11.6.3.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from anabranch.context.changes import ChangeSet
from anabranch.context.merge.lineage import Line
from anabranch.context.merge.union import Conflict
from anabranch.context.values import Json
from anabranch.graph.model import RuleNode
from anabranch.graph.plan import Plan
from anabranch.graph.plan_node import PlanEdge, PlanNode
from anabranch.workflows.interpreter.address import attempt_address
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.node_run import Head, NodeRun, Status
from anabranch.workflows.interpreter.talk import Talk

END = "(end)"
_NOTHING = RuleNode(type="rule")


@dataclass(frozen=True, slots=True, eq=False)
class Started:
    """A node that has started, the context that it sees, and when it started (Unix milliseconds)."""

    scope: Scope
    run: NodeRun
    line: Line
    at: int


@dataclass(frozen=True, slots=True, eq=False)
class OpenJoin:
    """A node that waits for a person to settle conflicts where lines meet: at its join, or those of its items."""

    scope: Scope
    run: NodeRun
    conflicts: tuple[Conflict, ...]


@dataclass(frozen=True, slots=True, eq=False)
class FailedNode:
    """A node that failed, and the context as it left it."""

    scope: Scope
    run: NodeRun
    line: Line
    failure: Failure


@dataclass(frozen=True, slots=True, eq=False)
class BlockEnd:
    """How a block has ended, for good, while its `finally` runs."""

    before: Line
    """The context that the block saw."""
    line: Line
    """The context as the block left it: with its changes, or with what its compensations wrote."""
    failure: Failure | None = None
    changes: ChangeSet | None = None
    """What it changed, where it succeeded."""


@dataclass(slots=True, eq=False)
class BodyRun:
    """A running node that has a body, such as `foreach` or `while`, and how far it is."""

    node: Started
    line: Line
    """For a `while`, the context after its turns so far; for others, the context that the node sees."""
    items: list[Json] = field(default_factory=list)
    entered: int = 0
    """How many turns have been entered; also the index of the next one."""
    at_once: int = 0
    """How many turns may run at once, where the run makes that number."""
    turns: dict[int, Scope] = field(default_factory=dict)
    """The turns under way, by index."""
    results: dict[int, ChangeSet | Json] = field(default_factory=dict)
    """The collected values of the turns that have ended, or for a `foreach` their change sets, by index."""
    failures: dict[int, Failure] = field(default_factory=dict)
    """Why turns failed, by index."""
    passed_over: dict[int, str] = field(default_factory=dict)
    """For each turn in which a node failed and was passed over, the first such node and its error's code."""
    talk: Talk | None = None
    """Of an `ai` node with tools."""
    end: BlockEnd | None = None
    """Of a block whose `finally` runs, how it has ended: the turn under way is that."""

    @property
    def address(self) -> str:
        """The address of the node."""
        return self.node.scope.address(self.node.run)

    @property
    def attempt(self) -> str:
        """The address of the node's current attempt, with which those in the body begin."""
        return self.node.scope.attempt_address(self.node.run)


class Scope:
    """The nodes of one plan, interpreted on the context `base`.

    `prefix` is what their addresses start with: `""` in the run's own graph, `pack[3]/` in a body. `body` is the node
    that the scope is a turn of.
    """

    def __init__(
        self,
        plan: Plan,
        prefix: str,
        base: Line,
        *,
        body: BodyRun | None = None,
        versions: tuple[int, ...] = (),
        roots: Mapping[str, Json] | None = None,
        turn: int = 0,
        name: str | None = None,
    ) -> None:
        self.plan = plan
        self.body = body
        self.turn = turn
        self.name = prefix if name is None else name
        """The turns of one `while` share a name; other scopes have one each."""
        self.prefix = prefix
        self.base = base
        self.versions = versions
        self.roots = roots or {}
        self.nodes = {name: NodeRun(planned, len(planned.incoming)) for name, planned in plan.nodes.items()}
        self.tally: Counter[Status] = Counter({Status.PENDING: len(self.nodes)})
        """The number of nodes in each status."""
        self.changed: dict[str, NodeRun] = {}
        """Nodes whose status has changed, the latest change last."""
        self.end = NodeRun(PlanNode(END, len(self.nodes), _NOTHING, (), (), frozenset()), 0)
        """The join of all remaining lines when the last node is over."""
        self.open = len(self.nodes)
        """The number of nodes that are not over, without those that lost a race."""
        self.lost: dict[str, Head | None] = {}
        """Nodes of branches that lost a race for a join, each with what the context had of it by then.

        Nobody waits for them, and what they write since is seen by nobody but them.
        """

    def node(self, name: str) -> NodeRun:
        """A node of the scope, or the join at its end."""
        return self.end if name == END else self.nodes[name]

    def address(self, run: NodeRun) -> str:
        """The node's name, unique in the run."""
        return self.prefix + run.planned.id

    def attempt_address(self, run: NodeRun) -> str:
        """The address of the node's current attempt."""
        return attempt_address(self.address(run), run.attempt)

    def entries(self) -> Iterator[NodeRun]:
        """The nodes without incoming edges."""
        return (run for run in self.nodes.values() if not run.planned.incoming)

    def mark(self, run: NodeRun, status: Status) -> None:
        """Change the status of a node."""
        if run is not self.end and run.status is not status:
            self.tally[run.status] -= 1
            self.tally[status] += 1
            self.changed.pop(run.planned.id, None)
            self.changed[run.planned.id] = run
        run.status = status

    def close(self, run: NodeRun, status: Status) -> None:
        """Record that the node is over."""
        self.mark(run, status)
        self.open -= not self.has_lost(run)

    def has_lost(self, run: NodeRun) -> bool:
        """Whether the node is in a branch that came too late for a `join: first`, or one of so many edges."""
        return run.planned.id in self.lost

    @property
    def did_nothing(self) -> bool:
        """Whether every node was skipped."""
        return self.tally[Status.SKIPPED] == len(self.nodes)

    def cancel_pending(self) -> None:
        """Close the nodes that have not started."""
        for run in self.nodes.values():
            if run.status in {Status.PENDING, Status.READY}:
                self.close(run, Status.CANCELLED)

    def merge_writer(self, run: NodeRun) -> int:
        """The writer of the merge at a node's join. Writers are unique among the lines that may meet."""
        return 2 * run.planned.index

    def writer(self, run: NodeRun) -> int:
        """The writer of the node's own changes."""
        return 2 * run.planned.index + 1

    @property
    def first_outside_writer(self) -> int:
        """Writers from this one on are not nodes of the graph."""
        return 2 * len(self.nodes) + 2

    def settle(self, edges: Iterable[tuple[PlanEdge, bool]]) -> list[NodeRun]:
        """Settle edges as taken or dead; returns the nodes that may start now, after dead-path elimination."""
        ready: list[NodeRun] = []
        queue = self._unless_dead(edges)
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
                if target.planned.fires_at is not None:
                    queue.extend(self._end_race(target))
            elif target.unsettled == 0:
                queue.extend(self._unless_dead(self.skip(target)))
        return ready

    def _end_race(self, join: NodeRun) -> list[tuple[PlanEdge, bool]]:
        """A race for a join is over, and the other branches have lost. Returns the edges out of them, all dead."""
        racing = self.plan.racing(join.planned.id)
        won = self._past(join)
        late = [run for name in racing if (run := self.nodes[name]) not in won and not self.has_lost(run)]
        for run in late:
            self.open -= not run.status.final
            self.lost[run.planned.id] = run.head
        branches = {join.planned.id, *racing}
        edges = [edge for run in late if not run.status.final for edge in run.planned.outgoing]
        return [(edge, False) for edge in edges if edge.edge.target not in branches]

    def lose_all_but(self, last: NodeRun) -> None:
        """The scope ends with this node: the others that have not begun are skipped, and nobody waits for the rest."""
        for name, run in self.nodes.items():
            if run is last or run.status.final or name in self.lost:
                continue
            if run.status is Status.PENDING:
                self.skip(run)
            else:
                self.open -= 1
                self.lost[name] = run.head

    def _past(self, run: NodeRun) -> set[NodeRun]:
        """The nodes on the taken edges that lead to a node."""
        found: set[NodeRun] = set()
        queue = [run]
        for each in queue:  # grows while it is walked
            before = [one for one in self.predecessors(each) if one not in found]
            found.update(before)
            queue.extend(before)
        return found

    def _unless_dead(self, edges: Iterable[tuple[PlanEdge, bool]]) -> list[tuple[PlanEdge, bool]]:
        """The edges without those out of a branch that lost: they were settled when it lost."""
        return [
            (edge, taken) for edge, taken in edges if edge.edge.source not in self.lost or edge.edge.target in self.lost
        ]

    def skip(self, run: NodeRun) -> list[tuple[PlanEdge, bool]]:
        """Skip a node; returns its outgoing edges, all dead."""
        self.close(run, Status.SKIPPED)
        run.line = None
        return [(edge, False) for edge in run.planned.outgoing]

    def predecessors(self, run: NodeRun) -> list[NodeRun]:
        """The sources of the edges taken to a node, each once, in the edges' declaration order."""
        return list(dict.fromkeys(self.nodes[edge.edge.source] for edge in entered_by(run)))

    def follow(self, run: NodeRun) -> None:
        """A node starts on its predecessors' lines. Lines on which no other node can start are released."""
        for predecessor in self.predecessors(run):
            predecessor.followed = True
            # Backwards, since nodes mostly start in order: one that has not started is enough to keep the line.
            targets = (self.nodes[edge.edge.target] for edge in reversed(predecessor.planned.outgoing))
            if all(target is run or not target.is_before_join for target in targets):
                predecessor.line = None

    def arriving(self, run: NodeRun) -> list[Head]:
        """The lines that meet at a node."""
        if run is self.end:
            return self.heads()
        if run.rejoins and run.head is not None:
            return [run.head]
        return [Head(each.line, each.versions) for each in self.predecessors(run) if each.line is not None]

    def heads(self) -> list[Head]:
        """The lines on which no later node has started: together they are the current context."""
        found: list[Head] = []
        for name, run in self.nodes.items():
            if (head := self.lost.get(name, run.head)) is not None:
                found.append(head)
        return found


def entered_by(run: NodeRun) -> list[PlanEdge]:
    """The taken edges that start a node, in declaration order."""
    return sorted(run.taken[: run.planned.fires_at], key=lambda edge: edge.index)


def _may_start(run: NodeRun) -> bool:
    if (count := run.planned.fires_at) is not None:
        return len(run.taken) >= count
    if run.unsettled:
        return False
    return len(run.taken) == len(run.planned.incoming) if run.planned.node.join == "all" else bool(run.taken)
