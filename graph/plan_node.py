"""A node and an edge of a plan: their expressions compiled, and what crosses to the activity of a node.

Both are immutable. Expressions compile on first use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from anabranch.context.values import Json
from anabranch.graph.dataflow.fields import route_fields
from anabranch.graph.dataflow.handlers import ERROR
from anabranch.graph.dataflow.reads import node_reads
from anabranch.graph.expressions.cost import Cost
from anabranch.graph.expressions.expressions import Expression, compile_expression
from anabranch.graph.expressions.templates import Template, compile_template
from anabranch.graph.kinds.approval import QUESTION
from anabranch.graph.kinds.kinds import has_body, has_effect, kind_of, notices_of, own_names
from anabranch.graph.model import Node
from anabranch.graph.parts import Edge

_SCHEDULING = {
    *(
        "description",
        "when",
        "join",
        "losers",
        "retry",
        "timeout",
        "queue_timeout",
        "total_timeout",
        "heartbeat",
        "task_queue",
        "priority",
        "local",
    ),
    *("compensate", "on_failure", "pivot", "effect"),
}
"""Fields that the workflow acts on; a node's activity never sees them."""
_LIMITS = ("rate_limit", "concurrency")


@dataclass(frozen=True)
class PlanEdge:
    """An edge and the place that it has among all edges of its plan."""

    index: int
    edge: Edge
    roots: frozenset[str]
    """Names beside the context's keys that its condition may use."""
    ends: frozenset[str]
    """How its source may end for it to be taken."""

    @cached_property
    def condition(self) -> Expression | None:
        """The compiled `when`."""
        return _compiled(self.edge.when, self.roots)


@dataclass(frozen=True)
class PlanNode:
    """A node in its plan: its neighbours, its place in the definition, and what crosses to its activity."""

    id: str
    index: int
    node: Node
    incoming: tuple[PlanEdge, ...]
    outgoing: tuple[PlanEdge, ...]
    roots: frozenset[str]
    """Names beside the context's keys that its expressions may use: a `foreach`'s item, `index`, `error`."""
    effect: bool | None = None
    """What a node around it says of all nodes of its body."""
    otherwise: int | None = None
    """The place among `outgoing` of the edge that is taken when no other success edge is."""
    fires_at: int | None = None
    """With how many taken edges it starts, without waiting for the others. None: when all are settled."""
    is_routed: bool = False
    """Whether each run makes the name of its task queue, or its fairness key."""
    knows_error: bool = False
    """Whether an edge that is not for success alone leads to it, itself or by the branch that it is in."""
    is_in_branch: bool = False
    """Whether every way to it leads over such an edge."""

    @cached_property
    def has_effect(self) -> bool:
        """Whether the node itself may change something outside of the context; of a body its nodes are asked."""
        return has_effect(self.node) if self.effect is None or has_body(self.node) else self.effect

    @cached_property
    def condition(self) -> Expression | None:
        """The compiled `when` of the node."""
        return _compiled(self.node.when, self.roots)

    @cached_property
    def reads(self) -> tuple[str, ...] | None:
        """Context keys that its activity needs, sorted; None is all of them."""
        keys = node_reads(self.node, self.roots)
        return None if keys is None else tuple(sorted(keys))

    @cached_property
    def wire(self) -> dict[str, Json]:
        """The node as its activity receives it: with its defaults, without what only the workflow acts on."""
        without = {name for name in _LIMITS if getattr(self.node, name) is None}  # so what crosses stays as it was
        return self.node.model_dump(mode="json", by_alias=True, exclude=_SCHEDULING | without)

    @cached_property
    def compensation(self) -> PlanNode | None:
        """The node that undoes this one; it also sees `error`. It writes nothing but what the graph says."""
        if (node := self.node.compensate) is None:
            return None
        if node.output is None and not kind_of(node).says_its_writes:
            node = node.model_copy(update={"output": {}})
        roots = self.roots | ERROR
        return PlanNode(self.id, self.index, node, (), (), roots, self.effect, is_routed=is_routed(node))

    @cached_property
    def notices(self) -> Mapping[str, PlanNode]:
        """The nodes that tell people of its question, `remind` and `escalate`; they also see `question`."""
        roots = self.roots | QUESTION
        return {
            steps[0]: PlanNode(self.id, self.index, node, (), (), roots, self.effect, is_routed=is_routed(node))
            for steps, node in notices_of(self.node)
        }

    def own_names(self, data: Mapping[str, Json], roots: Mapping[str, Json], cost: Cost) -> dict[str, Json]:
        """The names of its `input` with their values. Raises EvaluationError."""
        if self._own_names is None:
            return {}
        return cast("dict[str, Json]", self._own_names.render(data, roots, cost))  # a template keeps its shape

    def seen(self, data: Mapping[str, Json], roots: Mapping[str, Json], cost: Cost) -> Mapping[str, Json]:
        """The context as the node's own fields see it: its names over the keys. Raises EvaluationError."""
        return data if self._own_names is None else {**data, **self.own_names(data, roots, cost)}

    @property
    def gives_names(self) -> bool:
        """Whether it has an `input` that gives names to its fields."""
        return self._own_names is not None

    @cached_property
    def _own_names(self) -> Template | None:
        names = own_names(self.node)
        return None if names is None else compile_template(names, self.roots)

    def expression(self, source: str, *extra: str) -> Expression:
        """A field of the node as a compiled expression, with the node's own roots and `extra` ones."""
        return compile_expression(source, self.roots | set(extra))


def _compiled(source: str | None, roots: frozenset[str]) -> Expression | None:
    return None if source is None else compile_expression(source, roots)


def is_routed(node: Node) -> bool:
    """Whether each run makes the name of its task queue, or its fairness key."""
    return any(True for _ in route_fields(node))
