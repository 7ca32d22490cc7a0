"""Which fields of a node hold expressions, which hold templates, and which names those may use."""

from __future__ import annotations

from collections.abc import Iterator

from anabranch.graph.dataflow.handlers import ERROR
from anabranch.graph.fields import HOLE
from anabranch.graph.kinds.fields import Field
from anabranch.graph.kinds.kinds import fallback_of, kind_of, loop_of, own_names
from anabranch.graph.model import BaseNode, Finally, Graph, GraphNode
from anabranch.graph.policies import Priority

_RESULT = frozenset({"result"})


def node_fields(node: BaseNode) -> Iterator[Field]:
    """The fields of one node, those of its compensation and body apart."""
    if node.when is not None:
        yield Field(("when",), node.when, is_template=False)
    yield from route_fields(node)
    yield from own_input(node)
    yield from kind_fields(node)
    yield from common_work_fields(node)
    yield from fallback_fields(node)


def route_fields(node: BaseNode) -> Iterator[Field]:
    """What says where its work runs, and for how long; like `when` it sees the context alone."""
    if isinstance(node.timeout, str):
        yield Field(("timeout",), node.timeout, is_template=True)
    if isinstance(node, GraphNode) and HOLE in node.graph:
        yield Field(("graph",), node.graph, is_template=True)
    if node.task_queue is not None and HOLE in node.task_queue:
        yield Field(("task_queue",), node.task_queue, is_template=True)
    if isinstance(node.priority, Priority) and HOLE in (key := node.priority.fairness_key or ""):
        yield Field(("priority", "fairness_key"), key, is_template=True)


def last_fields(last: Finally) -> Iterator[Field]:
    """The field of a `finally` itself that may be a template: it sees the context with which that begins."""
    if isinstance(last.timeout, str):
        yield Field(("timeout",), last.timeout, is_template=True)


def start_fields(graph: Graph) -> Iterator[Field]:
    """The fields of the graph itself that may be templates of what a run is started with."""
    if graph.id is not None:
        yield Field(("id", "value"), graph.id.value, is_template=True)
    if isinstance(graph.timeout, str):
        yield Field(("timeout",), graph.timeout, is_template=True)


def attribute_fields(graph: Graph) -> Iterator[Field]:
    """The templates of the graph's own search attributes, which see the context whenever it changes."""
    for name, said in graph.search_attributes.items():
        yield Field(("search_attributes", name, "value"), said.value, is_template=True)


def fallback_fields(node: BaseNode) -> Iterator[Field]:
    """What is written where the node has failed; it sees the context and the error alone."""
    if (values := fallback_of(node)) is not None:
        yield Field(("on_failure", "use"), values, is_template=True, roots=ERROR)


def own_input(node: BaseNode) -> Iterator[Field]:
    """The templates of the names that the node's `input` gives; they see the context alone."""
    if (names := own_names(node)) is not None:
        yield Field(("input",), names, is_template=True)


def common_work_fields(node: BaseNode) -> Iterator[Field]:
    """Fields that nodes of every type have and that count once the node runs, unlike its `when`."""
    if node.cache is not None:
        yield Field(("cache", "key"), node.cache.key, is_template=True)
    for name, limited in (("rate_limit", node.rate_limit), ("concurrency", node.concurrency)):
        if limited is not None and limited.key is not None:
            yield Field((name, "key"), limited.key, is_template=True)
    for key, expression in (node.output or {}).items():
        yield Field(("output", key), expression, is_template=False, roots=_RESULT)


def kind_fields(node: BaseNode) -> Iterator[Field]:
    """The fields that the node's type declares."""
    kind = kind_of(node)
    names = frozenset[str]() if (loop := loop_of(node)) is None else loop.names
    for spec in kind.fields:
        yield from spec.of(node, names)
