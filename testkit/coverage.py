"""Which nodes, edges and compensations of a graph its tests covered, those of bodies included."""

from __future__ import annotations

from dataclasses import dataclass, field

from anabranch.graph.plan import Plan
from anabranch.graph.plan_node import PlanEdge
from anabranch.testkit.addresses import UNDO, static, walk
from anabranch.testkit.play import Played

NODES, EDGES, COMPENSATIONS = KINDS = ("nodes", "edges", "compensations")


@dataclass(frozen=True, slots=True)
class Share:
    """How many of a kind were covered, and which were not, in definition order."""

    covered: int
    missing: tuple[str, ...]

    @property
    def total(self) -> int:
        """How many there are."""
        return self.covered + len(self.missing)

    @property
    def percent(self) -> float:
        """100 if there are none."""
        return 100.0 * self.covered / self.total if self.total else 100.0


@dataclass(slots=True)
class Coverage:
    """What the tests of one graph covered, by kind."""

    plan: Plan
    seen: dict[str, set[str]] = field(default_factory=lambda: {kind: set() for kind in KINDS})

    def add(self, played: Played) -> None:
        """Count what one run covered."""
        self.seen[NODES].update(map(static, played.ran))
        self.seen[COMPENSATIONS].update(static(step.work.address.removeprefix(UNDO)) for step in played.undo_steps)
        for scope in played.state.entered:
            prefix = static(scope.prefix)
            self.seen[EDGES].update(_edge(prefix, edge) for run in scope.nodes.values() for edge in run.taken)

    def shares(self) -> dict[str, Share]:
        """How much of each kind was covered."""
        return {kind: _share(names, self.seen[kind]) for kind, names in _all(self.plan).items()}


def _share(names: list[str], seen: set[str]) -> Share:
    missing = tuple(name for name in names if name not in seen)
    return Share(len(names) - len(missing), missing)


def _all(plan: Plan) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for prefix, inner in walk(plan):
        nodes = inner.nodes.values()
        found[NODES] += [prefix + planned.id for planned in nodes]
        found[COMPENSATIONS] += [prefix + planned.id for planned in nodes if planned.node.compensate is not None]
        edges = sorted((edge for planned in nodes for edge in planned.outgoing), key=lambda edge: edge.index)
        found[EDGES] += [_edge(prefix, edge) for edge in edges]
    return found


def _edge(prefix: str, planned: PlanEdge) -> str:
    edge = planned.edge
    outcome = "" if edge.outcome == "success" else f" on {' or '.join(edge.named)}"
    condition = " otherwise" if edge.otherwise else f" when {edge.when}" if edge.when else ""
    return f"{prefix}{edge.source} → {edge.target}{outcome}{condition}"
