"""Nodes with others in them: their bodies, what is wrong with them, and their summaries."""

from __future__ import annotations

from collections.abc import Iterator

from anabranch.errors import Problem
from anabranch.graph.fields import HOLE
from anabranch.graph.kinds.finder import Finder
from anabranch.graph.kinds.kind import Loop
from anabranch.graph.model import BlockNode, Body, ForeachNode, GraphNode, WhileNode


def block_body(node: BlockNode) -> Loop:
    """The nodes of a block."""
    return Loop(Body.model_construct(nodes=node.nodes, edges=node.edges), path=(), last=node.finally_)


def foreach_loop(node: ForeachNode) -> Loop:
    """The body of a `foreach`."""
    into = None if node.collect is None else node.collect.into
    return Loop(node.body, frozenset({"index", node.variable}), at_once=True, collects=into, lists_failed=node.failed)


def while_loop(node: WhileNode) -> Loop:
    """The body of a `while`."""
    into = None if node.collect is None else node.collect.into
    return Loop(node.body, frozenset({"index", "turn"}), collects=into)


def check_graph(node: GraphNode, finder: Finder) -> Iterator[Problem]:
    """What is wrong with a `graph` node."""
    if HOLE not in node.graph:
        if node.one_of is not None:
            message = "has `one_of`, which is for a `graph` that is a template"
            yield finder.problem("FIELD_HAS_NO_EFFECT", message, "one_of", suggestion="remove it")
    elif node.mode == "inline":
        message = "has a `graph` that is a template, which a graph that is interpreted in this run cannot have"
        suggestion = "write `mode: child_workflow`, or a node with a `when` for each graph"
        yield finder.problem("GRAPH_TEMPLATE", message, "graph", suggestion=suggestion)
    elif not node.one_of:
        message = "has a `graph` that is a template, and does not say which graphs it may be"
        suggestion = "list them: `one_of: [order, refund]`"
        yield finder.problem("GRAPH_TEMPLATE", message, "graph", suggestion=suggestion)


def _check_loop(node: ForeachNode | WhileNode, finder: Finder) -> Iterator[Problem]:
    body = node.body
    if not body.nodes and body.graph is None:
        suggestion = "give `nodes:` and `edges:`, or `graph:`"
        yield finder.problem("BODY_SOURCE", "has a body with nothing in it", "body", suggestion=suggestion)
    elif body.graph is not None and (body.nodes or body.edges):
        message = "has a body with both `graph` and nodes of its own; it needs exactly one"
        yield finder.problem("BODY_SOURCE", message, "body", "graph")


def check_foreach(node: ForeachNode, finder: Finder) -> Iterator[Problem]:
    """What is wrong with a `foreach`."""
    yield from _check_loop(node, finder)
    lists = node.on_item_failure == "collect"
    if lists and node.failed is None:
        message = "has `on_item_failure: collect` without `failed`"
        suggestion = "say under `failed` which key gets the list, or write `on_item_failure: skip`"
        yield finder.problem("FAILED_KEY", message, "on_item_failure", suggestion=suggestion)
    if node.failed is not None and not lists:
        message = "has `failed`, which is only for `on_item_failure: collect`"
        yield finder.problem("FIELD_HAS_NO_EFFECT", message, "failed", suggestion="write `on_item_failure: collect`")
    if node.tolerate is not None and node.on_item_failure == "fail":
        message = "has `tolerate`, which is only for `on_item_failure: skip` or `collect`"
        yield finder.problem("FIELD_HAS_NO_EFFECT", message, "tolerate", suggestion="write `on_item_failure: skip`")
    if node.failed is not None and node.collect is not None and node.failed == node.collect.into:
        message = f"writes two lists to one key, `{node.failed}`"
        yield finder.problem("FAILED_KEY", message, "failed", suggestion="give it another key than `collect.into`")

    if node.item_errors is not None and node.batch is None:
        message = "has `item_errors`, which is only for a `foreach` with `batch`"
        suggestion = "write `batch`, or let a node of the body fail"
        yield finder.problem("FIELD_HAS_NO_EFFECT", message, "item_errors", suggestion=suggestion)


def foreach_summary(node: ForeachNode) -> str:
    """A `foreach` in a few words."""
    each = node.variable if node.batch is None else f"{node.batch} {node.variable}"
    return _loop_summary(f"for each {each} of {node.items}", node)


def check_while(node: WhileNode, finder: Finder) -> Iterator[Problem]:
    """What is wrong with a `while`."""
    given = [name for name, value in (("while", node.while_), ("until", node.until)) if value is not None]
    yield from finder.exactly_one("WHILE_CONDITION", given, ("while", "until"))
    yield from _check_loop(node, finder)


def while_summary(node: WhileNode) -> str:
    """A `while` in a few words."""
    return _loop_summary(f"while {node.while_}" if node.until is None else f"until {node.until}", node)


def _loop_summary(words: str, node: ForeachNode | WhileNode) -> str:
    return words if node.body.graph is None else f"{words} → {node.body.graph}"
