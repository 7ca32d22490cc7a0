"""What is asked of a node by its type: the one place that knows which types there are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeGuard, cast

from anabranch.context.values import Json
from anabranch.errors import ConfigurationError
from anabranch.graph import node_types
from anabranch.graph.kinds import built_in
from anabranch.graph.kinds.fields import template
from anabranch.graph.kinds.kind import Loop, NodeKind, Runs
from anabranch.graph.model import AiNode, ApprovalNode, BaseNode, BlockNode, ForeachNode, GraphNode, WhileNode
from anabranch.graph.policies import Fallback, Retry

_BUILT_IN: Mapping[str, NodeKind[Any]] = {
    kind.name: kind for kind in vars(built_in).values() if isinstance(kind, NodeKind)
}


def kind_of(node: BaseNode) -> NodeKind[Any]:
    """The record of the node's type."""
    return _BUILT_IN.get(node.type) or kind_named(node.type)


def kind_named(name: str) -> NodeKind[Any]:
    """The record of a node type. Raises ConfigurationError where there is none, or it is unusable."""
    if (kind := _BUILT_IN.get(name)) is not None:
        return kind
    if name not in node_types.foreign_names():
        raise ConfigurationError(
            f"there is no node type {name!r}", suggestion="install the distribution that brings it"
        )
    return cast("NodeKind[Any]", node_types.foreign(name))


def types_that_run(*, by: Collection[Runs]) -> tuple[str, ...]:
    """The node types whose work is done so; no module of another distribution is imported for it."""
    built_in_types = (kind.name for kind in _BUILT_IN.values() if kind.runs in by)
    return (*built_in_types, *(node_types.foreign_names() if Runs.HANDLER in by else ()))


def has_body(node: BaseNode) -> TypeGuard[AiNode | BlockNode | ForeachNode | WhileNode | GraphNode]:
    """Whether the node's work is done by nodes of its own, which the run interprets."""
    return kind_of(node).has_body(node)


def body_retry(node: BaseNode) -> Retry | None:
    """The `retry` that the run itself carries out: a composite's, if there may be a second attempt.

    That of a model is for each question, also where the model has tools.
    """
    if node.retry is None or node.retry.max_attempts == 1:
        return None
    is_composite = (has_body(node) and not isinstance(node, AiNode)) or isinstance(node, GraphNode)
    return node.retry if is_composite else None


def is_undone_by_itself(node: BaseNode) -> bool:
    """Whether an attempt of a composite that failed is undone at once, and not only with the run."""
    return isinstance(node, BlockNode) or body_retry(node) is not None


def fallback_of(node: BaseNode) -> dict[str, Json] | None:
    """The values, with templates in them, that the run goes on with where the node fails; None without."""
    return node.on_failure.use if isinstance(node.on_failure, Fallback) else None


def loop_of(node: BaseNode) -> Loop | None:
    """The node's own body, and what it does with it; None where it has none."""
    loop = kind_of(node).loop
    return None if loop is None else loop(node)


def with_inner(node: BaseNode, loop: Loop, nodes: Mapping[str, BaseNode]) -> dict[str, Any]:
    """The field, by attribute, with which a node has these nodes in its body."""
    if isinstance(node, AiNode):
        tools = node.tools or {}
        return {"tools": {name: tool.model_copy(update={"node": nodes[name]}) for name, tool in tools.items()}}
    return {"body": loop.body.model_copy(update={"nodes": nodes})} if loop.path else {"nodes": nodes}


def notices_of(node: BaseNode) -> Iterator[tuple[tuple[str, str], BaseNode]]:
    """The nodes that tell people of a question: where each is below its `approval`."""
    if isinstance(node, ApprovalNode):
        if node.remind is not None:
            yield ("remind", "node"), node.remind.node
        if node.escalate is not None and node.escalate.node is not None:
            yield ("escalate", "node"), node.escalate.node


def answer_schema(node: BaseNode) -> tuple[str, dict[str, Json]] | None:
    """The field with the JSON Schema of what a model or a person answers, and that schema."""
    name = kind_of(node).answer_schema
    if name is None:
        return None
    for field in template(name).of(node):
        if isinstance(field.value, dict):
            return name, field.value
    return None


def own_names(node: BaseNode) -> dict[str, Json] | None:
    """The names that the node's `input` puts over the context's keys, with their templates; None without an `input`.

    The `input` of a `graph` node is no such thing: it is the whole context of the other graph.
    """
    return None if isinstance(node, GraphNode) else node.input


def has_effect(node: BaseNode) -> bool:
    """Whether the node itself may change something outside of the context; of a body its nodes are asked."""
    return kind_of(node).may_have_effect(node)
