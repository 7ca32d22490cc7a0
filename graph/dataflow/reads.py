"""What a node reads of the context and what it writes there, as far as its definition shows.

`node_reads` is what must cross to the node's activity; `required_reads` is what must be there when the node starts, and
so, where nothing before it writes them, the graph's inputs. Both follow from the fields that the node's type declares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from anabranch.context.values import Path, parse_path
from anabranch.graph.dataflow.fields import (
    common_work_fields,
    fallback_fields,
    kind_fields,
    last_fields,
    own_input,
    route_fields,
)
from anabranch.graph.dataflow.handlers import ERROR, handlers
from anabranch.graph.dataflow.walk import OUTCOME
from anabranch.graph.kinds.approval import QUESTION
from anabranch.graph.kinds.fields import Field
from anabranch.graph.kinds.keys import (
    EVERYTHING,
    NO_KEYS,
    NO_PATHS,
    NOTHING,
    Keys,
    Paths,
    Reads,
    all_reads,
    expression_reads,
    field_reads,
    tested,
    tops,
    union,
    whole,
)
from anabranch.graph.kinds.kinds import fallback_of, kind_of, loop_of, notices_of, own_names
from anabranch.graph.kinds.remembered import remembered
from anabranch.graph.kinds.rule import rule_paths
from anabranch.graph.model import BlockNode, Body, Finally, Graph, GraphNode, Node, RuleNode
from anabranch.graph.parts import Edge

NO_GRAPHS: Final[Mapping[str, Graph]] = MappingProxyType({})


def node_reads(node: Node, roots: frozenset[str] = frozenset()) -> Keys:
    """The context keys that the node's own work needs, its `when` apart; `roots` are the names reserved around it."""
    return _reads(node, roots).keys


def required_reads(node: Node, roots: frozenset[str] = frozenset()) -> frozenset[str]:
    """The context keys that must exist for the node to run: see `node_needs`."""
    return tops(_needs(node, roots, _reads(node, roots))) or NO_KEYS


@remembered
def node_needs(node: Node, roots: frozenset[str] = frozenset()) -> frozenset[Path]:
    """The paths that must exist for the node to run, without what the nodes of its body need; those of its `when` too.

    Not needed: keys that an expression reads as `context.KEY` or asks for by `has(context.KEY)`, paths that the node
    itself may have written by then, and keys that `reads` declares for code.
    """
    return _needs(node, roots, _own_reads(node, roots))


def condition_reads(condition: str | None, roots: frozenset[str] = frozenset()) -> Keys:
    """The context keys of a condition that the workflow evaluates: a `when`, of a node or an edge."""
    return expression_reads(condition, roots).keys


def node_writes(node_id: str, node: Node, library: Mapping[str, Graph] = NO_GRAPHS) -> Keys:
    """The top-level context keys that the node may write. `library` are graphs by name, as far as they are known."""
    return tops(node_paths(node_id, node, library))


def node_paths(node_id: str, node: Node, library: Mapping[str, Graph] = NO_GRAPHS) -> Paths:
    """The paths that the node may write: what its definition writes inside of objects, else whole keys."""
    written, instead = success_paths(node_id, node, library), fallback_of(node)
    return written if instead is None else union(written, frozenset(map(parse_path, instead)))


def success_paths(node_id: str, node: Node, library: Mapping[str, Graph] = NO_GRAPHS) -> Paths:
    """The paths that the node may write where it succeeds."""
    if isinstance(node, BlockNode) and node.finally_ is not None:
        own = success_paths(node_id, node.model_copy(update={"finally_": None}), library)
        return union(own, _nodes_write(node.finally_.nodes, library))
    if node.output is not None:
        return frozenset(map(parse_path, node.output))
    if (loop := loop_of(node)) is not None and not loop.keeps_writes:
        lists = [parse_path(text) for text in (loop.collects, loop.lists_failed) if text is not None]
        return union(NO_PATHS if loop.collects else _body_writes(loop.body, library), frozenset(lists))
    if isinstance(node, RuleNode):
        return rule_paths(node)
    if isinstance(node, GraphNode):
        return union(*(whole(_given_back(name, library)) for name in node.named))
    return whole(kind_of(node).writes(node_id, node))


def result_fields(graph: Graph) -> Iterator[Field]:
    """The expressions of the graph's `result`."""
    for key, expression in (graph.result or {}).items():
        yield Field(("result", key), expression, is_template=False)


def _needs(node: Node, roots: frozenset[str], reads: Reads) -> frozenset[Path]:
    condition = expression_reads(node.when, roots)
    run = reads | _fallback_reads(node, roots) | all_reads(field_reads(field, roots) for field in route_fields(node))
    return condition.needs | run.without(NO_KEYS, tested(node.when, roots)).needs


def _fallback_reads(node: Node, roots: frozenset[str]) -> Reads:
    """What the values read that the run goes on with where the node fails."""
    return all_reads(field_reads(field, roots) for field in fallback_fields(node))


def _reads(node: Node, roots: frozenset[str]) -> Reads:
    found = _own_reads(node, roots)
    if (loop := loop_of(node)) is not None:
        found |= _body_reads(loop.body, roots | loop.names)
        if loop.last is not None:
            timeouts = all_reads(field_reads(field, roots | OUTCOME) for field in last_fields(loop.last))
            found |= (timeouts | _body_reads(loop.last, roots | OUTCOME)).allowing(_body_writes(loop.body))
    return found


def _own_reads(node: Node, roots: frozenset[str]) -> Reads:
    names = frozenset(own_names(node) or ())
    found = work_reads(node, roots)
    if not names:
        return found
    return found.without(names) | all_reads(field_reads(field, roots) for field in own_input(node))


def work_reads(node: Node, roots: frozenset[str]) -> Reads:
    """What the node's own fields read, the names of its `input` among it."""
    kind, loop = kind_of(node), loop_of(node)
    if kind.reads is not None:
        found = kind.reads(node, roots)
    else:
        found = NOTHING
        for field in kind_fields(node):
            reads = field_reads(field, roots)
            found |= reads if loop is None or field.at != "end" else reads.allowing(_body_writes(loop.body))
    found |= all_reads(field_reads(field, roots) for field in common_work_fields(node))
    if node.reads is not None:
        return found | Reads(frozenset(node.reads))
    return found | EVERYTHING if kind.reads_more(node) else found


def _body_reads(body: Body | Finally, roots: frozenset[str]) -> Reads:
    handling, found = handlers(body.nodes, body.edges), NOTHING
    for node_id, node in body.nodes.items():
        inner = roots | handling.names_of(node_id)
        before = union(*(node_paths(other, body.nodes[other]) for other in _ancestors(node_id, body.edges)))
        own = _reads(node, inner)
        found |= Reads(own.keys, _needs(node, inner, own)).allowing(before)
        found |= Reads(condition_reads(node.when, inner)) | Reads(_fallback_reads(node, inner).keys)
        if node.compensate is not None:
            undone = _reads(node.compensate, inner | ERROR)
            found |= undone.allowing(union(before, node_paths(node_id, node)))
        for _, notice in notices_of(node):
            found |= _reads(notice, inner | QUESTION).allowing(before)
    for edge in body.edges:
        found |= expression_reads(edge.when, roots | handling.names_on(edge)).allowing(_nodes_write(body.nodes))
    return found


def _ancestors(node_id: str, edges: tuple[Edge, ...]) -> Iterator[str]:
    sources: dict[str, list[str]] = {}
    for edge in edges:
        sources.setdefault(edge.target, []).append(edge.source)
    seen = {node_id}
    waiting = list(sources.get(node_id, ()))
    while waiting:
        if (other := waiting.pop()) not in seen:
            seen.add(other)
            yield other
            waiting += sources.get(other, ())


def _body_writes(body: Body, library: Mapping[str, Graph] = NO_GRAPHS) -> Paths:
    if body.graph is not None:
        return whole(_given_back(body.graph, library))
    return _nodes_write(body.nodes, library)


def _nodes_write(nodes: Mapping[str, Node], library: Mapping[str, Graph] = NO_GRAPHS) -> Paths:
    return union(*(node_paths(node_id, node, library) for node_id, node in nodes.items()))


def _given_back(name: str, library: Mapping[str, Graph]) -> Keys:
    """The keys that another graph gives back, where its `result` says them."""
    graph = library.get(name)
    return None if graph is None or graph.result is None else frozenset(parse_path(text)[0] for text in graph.result)
