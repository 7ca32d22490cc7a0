"""What a node reads of the context and what it writes there, as far as its definition tells.

Keys are top-level. Where nothing is known the answer is None: all keys, any key. `node_reads` is what must cross to the
node's activity; `required_reads` is what must be there when the node starts, and so, where nothing before it writes
them, the graph's inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from anabranch.context.values import Json
from anabranch.graph.dataflow.sql_columns import returned_columns
from anabranch.graph.expressions.expressions import Expression, compile_expression
from anabranch.graph.expressions.templates import Template, compile_template
from anabranch.graph.model import (
    ActivityNode,
    AiNode,
    ApprovalNode,
    Body,
    DbNode,
    Edge,
    ForeachNode,
    GraphNode,
    HttpNode,
    Node,
    PythonNode,
    Rule,
    RuleNode,
    WaitNode,
    WhileNode,
)
from anabranch.graph.rules.decision_table import read_table

if TYPE_CHECKING:
    from anabranch.graph.rules.grl import GrlRule

Keys: TypeAlias = "frozenset[str] | None"
"""Context keys; None is all of them, or any."""

_NO_KEYS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Reads:
    """Keys that are read, and those among them that must be there."""

    keys: Keys = _NO_KEYS
    required: frozenset[str] = _NO_KEYS

    def __or__(self, other: Reads) -> Reads:
        return Reads(union(self.keys, other.keys), self.required | other.required)

    def without(self, written: frozenset[str], guarded: frozenset[str] = _NO_KEYS) -> Reads:
        """What is left when `written` is surely there, and `guarded` is read only where it is there."""
        keys = None if self.keys is None else self.keys - written
        return Reads(keys, self.required - written - guarded)

    def allowing(self, written: Keys) -> Reads:
        """What is left to require when `written` may have been written before."""
        return Reads(self.keys, _NO_KEYS if written is None else self.required - written)


_NOTHING = Reads()
_EVERYTHING = Reads(None)


def node_reads(node_id: str, node: Node, roots: frozenset[str] = frozenset()) -> Keys:
    """The context keys that the node's own work needs, its `when` apart; `roots` are the names reserved around it."""
    return _reads(node_id, node, roots).keys


def required_reads(node_id: str, node: Node, roots: frozenset[str] = frozenset()) -> frozenset[str]:
    """The context keys that must exist for the node to run, those of its `when` among them.

    Not required is what an expression reads as `context.KEY` or asks `has(context.KEY)` of, what the node itself may
    have written by then, and what `reads` declares for code.
    """
    condition = _condition(node.when, roots)
    return condition.required | _reads(node_id, node, roots).without(_NO_KEYS, _tested(node.when, roots)).required


def condition_reads(condition: str | None, roots: frozenset[str] = frozenset()) -> Keys:
    """The context keys of a condition that the workflow evaluates: a `when`, of a node or an edge."""
    return _condition(condition, roots).keys


def node_writes(node_id: str, node: Node) -> Keys:
    """The top-level context keys that the node may write."""
    if node.output is not None:
        return frozenset(node.output)
    return _WRITES[type(node)](node_id, node)


def union(*keys: Keys) -> Keys:
    """All keys together; None where one is None."""
    return None if None in keys else _NO_KEYS.union(*(one for one in keys if one is not None))


def _reads(node_id: str, node: Node, roots: frozenset[str]) -> Reads:
    found = _READS[type(node)](node_id, node, roots)
    for source in (node.output or {}).values():
        found |= _of(compile_expression(source, roots | {"result"}))
    if node.cache is not None:
        found |= _template(node.cache.key, roots)
    if node.reads is not None:
        return found | Reads(frozenset(node.reads))
    return found | _EVERYTHING if _is_opaque(node) else found


def _is_opaque(node: Node) -> bool:
    """Whether code, a table or another graph reads what inference cannot see. `reads` says what that is."""
    if isinstance(node, RuleNode):
        return node.decision_table is not None
    if isinstance(node, ForeachNode | WhileNode):
        return node.body.graph is not None
    return isinstance(node, PythonNode) or (isinstance(node, GraphNode) and node.input is None)


def _of(compiled: Expression | Template) -> Reads:
    return Reads(compiled.keys, compiled.required)


def _condition(source: str | None, roots: frozenset[str]) -> Reads:
    return _NOTHING if source is None else _of(compile_expression(source, roots))


def _tested(source: str | None, roots: frozenset[str]) -> frozenset[str]:
    return _NO_KEYS if source is None else compile_expression(source, roots).tested


def _template(value: object, roots: frozenset[str]) -> Reads:
    return _of(compile_template(cast("Json", value), roots))


def _templates(values: Iterable[object], roots: frozenset[str]) -> Reads:
    found = _NOTHING
    for value in values:
        found |= _template(value, roots)
    return found


def in_order(rules: Iterable[Rule]) -> list[Rule]:
    """The rules as they are tried: by salience, the highest first, then by position."""
    return sorted(rules, key=lambda rule: -rule.salience)


def _rule_reads(_id: str, node: RuleNode, roots: frozenset[str]) -> Reads:
    if node.grl is not None:
        from anabranch.graph.rules.grl import parse_grl  # its parser costs graphs without GRL a tenth of a second

        return _grl_reads(parse_grl(node.grl, roots))
    if node.decision_table is not None:
        table = read_table(node.decision_table)
        return Reads(required=frozenset((*(column.path[0] for column in table.columns), *table.names)))
    found, sure, maybe = _NOTHING, _NO_KEYS, _NO_KEYS
    for rule in in_order(node.rules or ()):
        guarded = _tested(rule.when, roots)
        written = _templates((rule.then or {}, rule.otherwise or {}), roots)
        own = _condition(rule.when, roots) | written.without(_NO_KEYS, guarded)
        found |= own.without(sure).allowing(maybe)
        maybe |= _rule_writes(rule)
        sure |= _sure_writes(rule)
    return found


def _grl_reads(rules: tuple[GrlRule, ...]) -> Reads:
    # A condition on what is not there yet is false; what no rule assigns never comes, so it must be there.
    assigned = {path for rule in rules for path in rule.assigned}
    read = {path for rule in rules for path in rule.paths}
    outside = (path for path in read if not any(path[: index + 1] in assigned for index in range(len(path))))
    return Reads(union(*(rule.keys for rule in rules)), frozenset(path[0] for path in outside))


def _rule_writes(rule: Rule) -> frozenset[str]:
    return frozenset(rule.then or {}) | frozenset(rule.otherwise or {})


def _sure_writes(rule: Rule) -> frozenset[str]:
    if rule.then is None:
        return _NO_KEYS
    return frozenset(rule.then) if rule.when is None else frozenset(rule.then) & frozenset(rule.otherwise or {})


def _rule_node_writes(_id: str, node: RuleNode) -> Keys:
    if node.grl is not None:
        from anabranch.graph.rules.grl import parse_grl

        return frozenset(path[0] for rule in parse_grl(node.grl) for path in rule.assigned)
    if node.decision_table is not None:
        return read_table(node.decision_table).writes
    return union(_NO_KEYS, *map(_rule_writes, node.rules or ()))


def _db_reads(_id: str, node: DbNode, roots: frozenset[str]) -> Reads:
    return _templates([node.params, *(statement.params for statement in node.statements or ())], roots)


def _db_writes(node_id: str, node: DbNode) -> Keys:
    if node.statements is None:
        return _statement_writes(node_id, node.query or "", node.result)
    return union(_NO_KEYS, *(_statement_writes(node_id, one.query, one.result) for one in node.statements))


def _statement_writes(node_id: str, query: str, result: str) -> Keys:
    if result == "first":
        return returned_columns(query)
    return _NO_KEYS if result == "none" else frozenset({node_id})


def _ai_writes(node_id: str, node: AiNode) -> Keys:
    return frozenset({node_id}) if node.output_schema is None else _properties(node.output_schema)


def _properties(schema: object) -> Keys:
    """The keys of an object that fits the schema; None where it does not name them."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return frozenset(properties) if isinstance(properties, dict) else None


def _graph_reads(_id: str, node: GraphNode, roots: frozenset[str]) -> Reads:
    return _template(node.input, roots)


def _foreach_reads(_id: str, node: ForeachNode, roots: frozenset[str]) -> Reads:
    inner = roots | {node.as_, "index"}
    found = _condition(node.items, roots) | _body_reads(node.body, inner)
    if node.collect is None:
        return found
    return found | _condition(node.collect.value, inner).allowing(_body_writes(node.body))


def _while_reads(_id: str, node: WhileNode, roots: frozenset[str]) -> Reads:
    inner = roots | {"index"}
    return _condition(node.while_, inner) | _body_reads(node.body, inner)


def _foreach_writes(_id: str, node: ForeachNode) -> Keys:
    return _body_writes(node.body) if node.collect is None else frozenset({node.collect.into})


def _wait_reads(_id: str, node: WaitNode, roots: frozenset[str]) -> Reads:
    return _template(node.for_ if isinstance(node.for_, str) else None, roots) | _condition(node.until, roots)


def _body_reads(body: Body, roots: frozenset[str]) -> Reads:
    inner = roots | {"error"}
    found = _NOTHING
    for node_id, node in body.nodes.items():
        before = union(*(node_writes(other, body.nodes[other]) for other in _ancestors(node_id, body.edges)))
        found |= Reads(node_reads(node_id, node, inner), required_reads(node_id, node, inner)).allowing(before)
        found |= Reads(condition_reads(node.when, inner))
        if node.compensate is not None:
            found |= _reads(node_id, node.compensate, inner).allowing(union(before, node_writes(node_id, node)))
    for edge in body.edges:
        found |= _condition(edge.when, inner).allowing(_body_writes(body))
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


def _body_writes(body: Body) -> Keys:
    if body.graph is not None:
        return None
    return union(_NO_KEYS, *(node_writes(node_id, node) for node_id, node in body.nodes.items()))


_READS: dict[type, Callable[[str, Any, frozenset[str]], Reads]] = {
    RuleNode: _rule_reads,
    DbNode: _db_reads,
    AiNode: lambda _id, node, roots: _templates((node.prompt, node.system), roots),
    HttpNode: lambda _id, node, roots: _templates((node.url, node.headers, node.query, node.body), roots),
    ActivityNode: lambda _id, node, roots: _template(
        list(node.args) if isinstance(node.args, tuple) else node.args, roots
    ),
    PythonNode: lambda _id, node, roots: _template(node.args, roots),
    GraphNode: _graph_reads,
    ForeachNode: _foreach_reads,
    WhileNode: _while_reads,
    WaitNode: _wait_reads,
    ApprovalNode: lambda _id, node, roots: _template(node.prompt, roots),
}
_WRITES: dict[type, Callable[[str, Any], Keys]] = {
    RuleNode: _rule_node_writes,
    DbNode: _db_writes,
    AiNode: _ai_writes,
    HttpNode: lambda node_id, _node: frozenset({node_id}),
    ActivityNode: lambda _id, _node: None,
    PythonNode: lambda _id, _node: None,
    GraphNode: lambda _id, _node: None,
    ForeachNode: _foreach_writes,
    WhileNode: lambda _id, node: _body_writes(node.body),
    WaitNode: lambda _id, _node: _NO_KEYS,
    ApprovalNode: lambda _id, node: _properties(node.schema_),
}
