"""What the run told while it was replayed: each start and end of a node, each version, each compensation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from anabranch.context.merge.union import Conflict
from anabranch.context.values import Json
from anabranch.graph.expressions.expressions import Expression
from anabranch.graph.plan_node import PlanEdge
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.event import Event
from anabranch.workflows.interpreter.node_run import NodeRun
from anabranch.workflows.interpreter.saga import COMPENSATION, Step
from anabranch.workflows.interpreter.scope import Scope
from anabranch.workflows.interpreter.taken_over import given_of
from anabranch.workflows.interpreter.trail import Version
from anabranch.workflows.interpreter.watcher import Watcher


@dataclass(frozen=True, slots=True)
class Visit:
    """One time that a node, or a compensation (`undo …`), was started. Times are Unix milliseconds."""

    address: str
    type: str
    started: int
    read: tuple[int, ...]
    """Numbers of the newest versions on the line of descent that it saw."""
    ended: int | None = None
    failure: Failure | None = None
    has_effect: bool = False
    """Whether it may change something outside of the context."""
    is_undoable: bool = False
    """Whether it has a compensation."""
    roots: Mapping[str, Json] = field(default_factory=dict)
    """Names beside the context's keys that its expressions saw: a `foreach`'s item, `index`, `error`."""
    routes: tuple[Route, ...] = ()
    """The edges that lead to it, taken and dead."""
    given: Mapping[str, Json] = field(default_factory=dict)
    """What of the context it was given."""
    events: tuple[str, ...] = ()
    """The events that it received, in words."""


@dataclass(frozen=True, slots=True)
class Route:
    """An edge that leads to a node."""

    index: int
    """Its number in its graph or body."""
    source: str
    """The address of the node that it comes from."""
    source_status: str
    outcomes: tuple[str, ...]
    """How its source may end for it to be taken."""
    when: str | None
    is_otherwise: bool
    is_taken: bool
    read: tuple[int, ...]
    """Numbers of the newest versions on the line of descent on which its condition was evaluated."""
    condition: Expression | None


def routes_to(scope: Scope, run: NodeRun) -> tuple[Route, ...]:
    """The edges that lead to a node, as they are now."""
    return tuple(_route(scope, run, edge) for edge in run.planned.incoming)


def _route(scope: Scope, run: NodeRun, edge: PlanEdge) -> Route:
    source = scope.nodes[edge.edge.source]
    taken = any(each is edge for each in run.taken)
    return Route(
        edge.index,
        scope.address(source),
        str(source.status),
        tuple(sorted(edge.ends)),
        edge.edge.when,
        bool(edge.edge.otherwise),
        taken,
        source.versions,
        edge.condition,
    )


def _roots(scope: Scope, run: NodeRun) -> Mapping[str, Json]:
    if not run.planned.knows_error:
        return scope.roots
    return {**scope.roots, "error": None if run.handled is None else run.handled.root()}


class Recorder(Watcher):
    """Notes what a run tells. `now` is the time of the event that it is at, in Unix milliseconds."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self.visits: list[Visit] = []
        self.over: list[int] = []
        """The indexes of those that have ended, in the order in which they did."""
        self.versions: list[Version] = []
        self.settled: list[tuple[str, Conflict]] = []
        """Conflicts that lines met with, each with the address of the node where they met."""
        self._open: dict[str, int] = {}

    def node_started(self, scope: Scope, run: NodeRun) -> None:
        """See Watcher."""
        planned, address = run.planned, scope.address(run)
        self._open[address] = len(self.visits)
        is_undoable = planned.compensation is not None
        self.visits.append(
            Visit(
                address,
                planned.node.type,
                self._now(),
                run.versions,
                has_effect=planned.has_effect,
                is_undoable=is_undoable,
                roots=_roots(scope, run),
                routes=routes_to(scope, run),
                given={} if run.line is None else given_of(planned, run.line),
            )
        )

    def node_ended(self, scope: Scope, run: NodeRun, failure: Failure | None) -> None:
        """See Watcher."""
        self._end(scope.address(run), failure)

    def event_taken(self, address: str, event: Event) -> None:
        """See Watcher."""
        if (place := self._open.get(address)) is not None:
            visit, said = self.visits[place], f"event {event.name}"
            said += "" if event.id is None else f" with the id {event.id}"
            said += "" if event.by is None else f", sent by {event.by}"
            self.visits[place] = replace(visit, events=(*visit.events, said))

    def context_updated(self, version: Version) -> None:
        """See Watcher."""
        self.versions.append(version)

    def conflicts_found(self, address: str, conflicts: Sequence[Conflict]) -> None:
        """See Watcher."""
        self.settled.extend((address, each) for each in conflicts)

    def undo_started(self, step: Step) -> None:
        """See Watcher."""
        address = COMPENSATION + step.address
        self._open[address] = len(self.visits)
        self.visits.append(Visit(address, step.planned.node.type, self._now(), ()))

    def undo_ended(self, step: Step, failure: Failure | None) -> None:
        """See Watcher."""
        self._end(COMPENSATION + step.address, failure)

    def _end(self, address: str, failure: Failure | None) -> None:
        if (place := self._open.pop(address, None)) is not None:
            self.over.append(place)
            self.visits[place] = replace(self.visits[place], ended=self._now(), failure=failure)
