"""A `Plan` is a graph made ready to be interpreted: edges by node, expressions compiled, what each node reads known.

Plans are immutable. Expressions compile on first use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from anabranch.context.merge.resolution import ConflictResolution, Policies, Reducer
from anabranch.context.values import Path, parse_path
from anabranch.graph.dataflow.appends import appended_paths
from anabranch.graph.dataflow.dataflow import graph_inputs
from anabranch.graph.dataflow.handlers import ERRORS, handlers
from anabranch.graph.dataflow.races import fires_at, racing
from anabranch.graph.dataflow.walk import OUTCOME
from anabranch.graph.fields import MergePolicy
from anabranch.graph.kinds.kind import Loop
from anabranch.graph.kinds.kinds import loop_of
from anabranch.graph.kinds.tools import question_of
from anabranch.graph.model import AiNode, BlockNode, Body, Graph, GraphNode, Node, ReceiveNode
from anabranch.graph.parts import Edge
from anabranch.graph.plan_node import PlanEdge, PlanNode, is_routed
from anabranch.graph.policies import ContextSpec
from anabranch.graph.revision import REVISION


@dataclass(frozen=True)
class Plan:
    """A graph, or the body of a composite node, ready to be interpreted. `nodes` are in definition order."""

    graph: Graph
    nodes: Mapping[str, PlanNode]
    library: Mapping[str, Graph] = field(default_factory=dict)
    roots: frozenset[str] = frozenset()
    revision: int = REVISION
    """The revision of the interpreter that runs of it are held to."""
    pinned_inputs: frozenset[str] | None = None
    """What `inputs` were when a run began; None where no run has."""
    effect: bool | None = None
    """What a node around this body says of all its nodes."""

    @cached_property
    def has_compensation(self) -> bool:
        """Whether anything here, or in a body below, can be undone."""
        return any(node.compensate is not None for node in walk(self.graph.nodes, self.library))

    @cached_property
    def inputs(self) -> frozenset[str]:
        """Keys that a run must be started with."""
        return frozenset(graph_inputs(self.graph, self.library)) if self.pinned_inputs is None else self.pinned_inputs

    @cached_property
    def events(self) -> frozenset[str]:
        """The names of the events that a node here, or in a body below, waits for."""
        last = {} if self.graph.finally_ is None else self.graph.finally_.nodes
        found = (node for nodes in (self.graph.nodes, last) for node in walk(nodes, self.library))
        return frozenset(name for node in found if isinstance(node, ReceiveNode) for name in node.names)

    @cached_property
    def afterwards(self) -> Plan | None:
        """The plan of the graph's `finally`, with the settings of the graph."""
        if (body := self.graph.finally_) is None:
            return None
        given = self.graph
        graph = Graph.model_construct(
            name=given.name, context=given.context, defaults=given.defaults, nodes=body.nodes, edges=body.edges
        )
        return _plan(graph, self.library, OUTCOME)

    def policies(self, default: ConflictResolution) -> Policies:
        """How conflicts are settled here; `default` holds where the graph does not say."""
        spec = self.graph.context
        chosen = ConflictResolution(spec.conflict_resolution) if spec.conflict_resolution else default
        said = {parse_path(path): _policy(name) for path, name in spec.merge.items()}
        return Policies(
            chosen, {**{path: Reducer.APPEND for path in self._appended if not _is_said(path, said)}, **said}
        )

    @cached_property
    def _appended(self) -> frozenset[Path]:
        return frozenset(appended_paths(self.graph.nodes.values(), self.library))

    def racing(self, node_id: str) -> tuple[str, ...]:
        """The nodes that race for the `join: first` of a node, or one of so many edges."""
        if node_id not in self._racing:
            self._racing[node_id] = racing(node_id, self.nodes, self.graph.edges)
        return self._racing[node_id]

    @cached_property
    def _racing(self) -> dict[str, tuple[str, ...]]:
        return {}

    @cached_property
    def _bodies(self) -> dict[str, Plan]:
        return {}

    def last(self, node_id: str) -> Plan:
        """The plan of the `finally` of a block, with the settings of the graph around it."""
        if (name := f"{node_id}/finally") not in self._bodies:
            self._bodies[name] = _last_plan(self, self.nodes[node_id])
        return self._bodies[name]

    def step(self, node_id: str, name: str) -> Plan:
        """The plan of one step of an `ai` node with tools: a question, which has the node's own id, or a tool."""
        if (key := f"{node_id}/{name}") not in self._bodies:
            body = self.body(node_id)
            self._bodies[key] = replace(body, nodes={name: replace(body.nodes[name], index=0)})
        return self._bodies[key]

    def body(self, node_id: str) -> Plan:
        """The plan of a composite node's body, with the settings of the graph around it."""
        if node_id not in self._bodies:
            self._bodies[node_id] = _body_plan(self, self.nodes[node_id])
        return self._bodies[node_id]


def plan_graph(graph: Graph, library: Mapping[str, Graph] | None = None) -> Plan:
    """The plan of `graph`; `library` holds the graphs that it names."""
    return _plan(graph, library or {})


def walk(nodes: Mapping[str, Node], library: Mapping[str, Graph]) -> Iterator[Node]:
    """Every node, those of bodies and inline graphs included. Graphs do not name each other in a circle."""
    for node in nodes.values():
        yield node
        if (loop := loop_of(node)) is not None:
            yield from walk(body_graph(loop.body, library).nodes, library)
            if loop.last is not None:
                yield from walk(loop.last.nodes, library)
        elif isinstance(node, GraphNode) and node.mode == "inline" and node.graph in library:
            yield from walk(library[node.graph].nodes, library)


def body_graph(body: Body, library: Mapping[str, Graph]) -> Graph:
    """The body as a graph: its own nodes, or the graph that it names."""
    if body.graph is not None:
        return library[body.graph]
    return Graph.model_construct(name="body", nodes=body.nodes, edges=body.edges)


def _is_said(path: Path, said: Mapping[Path, object]) -> bool:
    """Whether there is a policy for a path, or for one that it leads through."""
    return any(path[:end] in said for end in range(1, len(path) + 1))


def _policy(name: MergePolicy) -> ConflictResolution | Reducer:
    return Reducer(name) if name in set(Reducer) else ConflictResolution(name)


def _plan(
    graph: Graph, library: Mapping[str, Graph], roots: frozenset[str] = frozenset(), effect: bool | None = None
) -> Plan:
    return Plan(graph, _planned(graph.nodes, graph.edges, roots, effect), library, roots, effect=effect)


def _planned(
    nodes: Mapping[str, Node], edges: tuple[Edge, ...], roots: frozenset[str], effect: bool | None
) -> dict[str, PlanNode]:
    incoming: dict[str, list[PlanEdge]] = {name: [] for name in nodes}
    outgoing: dict[str, list[PlanEdge]] = {name: [] for name in nodes}
    handling = handlers(nodes, edges)
    for index, edge in enumerate(edges):
        planned = PlanEdge(index, edge, roots | handling.names_on(edge), edge.ends)
        incoming[edge.target].append(planned)
        outgoing[edge.source].append(planned)
    return {
        name: PlanNode(
            name,
            index,
            node,
            tuple(incoming[name]),
            tuple(outgoing[name]),
            roots | handling.names_of(name),
            effect,
            _otherwise(outgoing[name]),
            fires_at(node),
            is_routed(node),
            name in handling,
            name in handling.branches,
        )
        for index, (name, node) in enumerate(nodes.items())
    }


def _otherwise(leaving: list[PlanEdge]) -> int | None:
    return next((place for place, planned in enumerate(leaving) if planned.edge.otherwise), None)


def _body_plan(plan: Plan, planned: PlanNode) -> Plan:
    node = planned.node
    effect = plan.effect if plan.effect is not None else node.effect
    if isinstance(node, GraphNode):
        return _plan(plan.library[node.graph], plan.library, effect=effect)
    if (loop := loop_of(node)) is None:
        raise TypeError(f"node {planned.id!r} of type {node.type!r} has no body")
    if isinstance(node, AiNode):
        return _tools_plan(plan, planned, loop, effect)
    graph = body_graph(loop.body, plan.library)
    settled = graph.model_copy(update={"context": plan.graph.context, "defaults": plan.graph.defaults})
    around = planned.roots if loop.body.graph is None else planned.roots - ERRORS
    return _plan(settled, plan.library, around | loop.names, effect)


def _tools_plan(plan: Plan, planned: PlanNode, loop: Loop, effect: bool | None) -> Plan:
    """The plan of an `ai` node with tools: its question, and they. Nothing that they write enters a context."""
    if not isinstance(node := planned.node, AiNode):
        raise TypeError(f"node {planned.id!r} of type {node.type!r} has no tools")
    graph = Graph.model_construct(
        name="tools", context=ContextSpec(), defaults=plan.graph.defaults, nodes=loop.body.nodes, edges=()
    )
    question = question_of(node)
    asked = PlanNode(planned.id, 0, question, (), (), planned.roots, effect, is_routed=is_routed(question))
    tools = _planned(loop.body.nodes, (), planned.roots | loop.names, effect)
    return Plan(graph, {planned.id: asked, **tools}, plan.library, planned.roots | loop.names, effect=effect)


def _last_plan(plan: Plan, planned: PlanNode) -> Plan:
    node = planned.node
    if not isinstance(node, BlockNode) or (last := node.finally_) is None:
        raise TypeError(f"node {planned.id!r} of type {node.type!r} has no `finally`")
    graph = Graph.model_construct(
        name="finally", context=plan.graph.context, defaults=plan.graph.defaults, nodes=last.nodes, edges=last.edges
    )
    effect = plan.effect if plan.effect is not None else node.effect
    return _plan(graph, plan.library, planned.roots | OUTCOME, effect)
