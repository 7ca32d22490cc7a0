"""Example values for what a dry run cannot know: from a JSON Schema, else from how the graph uses the key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from anabranch.context.values import Json, Path, format_path
from anabranch.graph.dataflow.reads import node_reads, node_writes, result_fields, success_paths
from anabranch.graph.dataflow.walk import levels
from anabranch.graph.kinds.keys import NO_KEYS, NO_PATHS, field_reads, tops, whole
from anabranch.graph.kinds.kinds import answer_schema
from anabranch.graph.model import AiNode, BaseNode, DbNode, Graph, GrpcNode, HttpNode, ReceiveNode, RuleNode
from anabranch.graph.parts import Rule
from anabranch.graph.plan import Plan
from anabranch.testkit.addresses import node_at
from anabranch.workflows.interpreter.commands import RunNode

_EDGE = r"(?:^|&&|\|\||[!(?:])\s*"
_END = r"\s*(?:$|&&|\|\||[)?:])"
_MAX_DEPTH = 16


def assumed_writes(plan: Plan, address: str, work: RunNode | None) -> dict[Path, Json]:
    """The paths that a node is assumed to write, with example values."""
    graph = plan.graph
    planned = node_at(plan, address) if work is None else work.planned
    if planned is None:
        raise AssertionError(f"there is no node {address!r}")
    node_id, node = planned.id, planned.node
    schema = answer_schema(node)
    if schema is not None and node.output is None:
        example = example_of(schema[1])
        return {(key,): value for key, value in example.items()} if isinstance(example, dict) else {}
    paths = success_paths(node_id, node)
    if paths is None:
        paths = NO_PATHS if work is None else whole(_wanted(graph) - work.line.data.keys()) or NO_PATHS
    schema_of = graph.context.schema_ or {}
    examples = {path: _example(graph, path, _declared(schema_of, path)) for path in sorted(paths)}
    shaped = ((key, value) for key, value in _shaped(node_id, node).items())
    return {**examples, **{(key,): value for key, value in shaped if _declared(schema_of, (key,)) is None}}


def _declared(schema: Any, path: Path) -> Any:
    """The schema of what is at a path; None where nothing is said of it."""
    for key in path:
        properties = schema.get("properties") if isinstance(schema, dict) else None
        if not isinstance(properties, dict) or key not in properties:
            return None
        schema = properties[key]
    return schema


def _shaped(node_id: str, node: BaseNode) -> dict[str, Json]:
    """What a node writes under its own id, where its fields say of which type that is."""
    if node.output is not None:
        return {}
    if isinstance(node, DbNode) and node.statements is None and node.result == "all":
        columns = tops(success_paths(node_id, node.model_copy(update={"result": "first"})))
        return {node_id: [dict.fromkeys(sorted(columns), 1)] if columns else []}
    if isinstance(node, AiNode) and node.output_schema is None:
        return {node_id: "example"}
    return {node_id: {}} if isinstance(node, GrpcNode | HttpNode | ReceiveNode) else {}


def example_of(schema: Any, depth: int = 0, *, root: Any = None) -> Json:
    """A value that fits a JSON Schema, as far as its common keywords go; `root` has its `$defs`."""
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return None
    root = schema if root is None else root
    if isinstance(reference := schema.get("$ref"), str) and isinstance(known := root.get("$defs"), dict):
        return example_of(known.get(reference.removeprefix("#/$defs/")), depth + 1, root=root)
    for keyword in ("const", "default"):
        if keyword in schema:
            return _json(schema[keyword])
    for keyword in ("enum", "examples"):
        if schema.get(keyword):
            return _json(schema[keyword][0])
    for keyword in ("anyOf", "oneOf", "allOf"):
        if schema.get(keyword):
            return example_of(schema[keyword][0], depth + 1, root=root)
    return _by_type(schema, depth, root)


def _by_type(schema: Mapping[str, Any], depth: int, root: Any) -> Json:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object":
        return {key: example_of(value, depth + 1, root=root) for key, value in schema.get("properties", {}).items()}
    if kind == "array":
        return [example_of(schema.get("items"), depth + 1, root=root) for _ in range(min(schema.get("minItems", 0), 3))]
    if kind in ("number", "integer"):
        return _number(schema)
    return True if kind == "boolean" else None if kind == "null" else "example"


def _number(schema: Mapping[str, Any]) -> float | int:
    least = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
    most = schema.get("maximum", schema.get("exclusiveMaximum", least + 2) - 1)
    number: float | int = max(min(1, most), least)
    return number


def _example(graph: Graph, path: Path, schema: Any) -> Json:
    if schema is not None:
        return example_of(schema)
    text = format_path(path)
    for rule in _rules(graph):
        for writes in (rule.then or {}, rule.otherwise or {}):
            if text in writes and "{{" not in str(writes[text]):
                return _json(writes[text])
    name = re.escape(text)
    conditions = list(_conditions(graph))
    for condition in conditions:
        if match := re.search(rf"\b{name}\s*[!=]=\s*[\"']([^\"']*)[\"']", condition):
            return match[1]
    alone = re.compile(rf"{_EDGE}{name}{_END}")
    return True if any(alone.search(condition) for condition in conditions) else 1


def _conditions(graph: Graph) -> Iterator[str]:
    for level in levels(graph):
        for edge in level.body.edges:
            yield edge.when or ""
        for _, _, node in level.nodes():
            yield node.when or ""
    for rule in _rules(graph):
        yield rule.when or ""


def _rules(graph: Graph) -> Iterator[Rule]:
    for level in levels(graph):
        for _, _, node in level.nodes():
            yield from (node.rules or ()) if isinstance(node, RuleNode) else ()


def _wanted(graph: Graph) -> frozenset[str]:
    """Keys that some node reads and that no node is known to write."""
    read = [node_reads(node) or frozenset() for node in graph.nodes.values()]
    read += [field_reads(field, NO_KEYS).required for field in result_fields(graph)]
    written = [node_writes(name, node) or frozenset() for name, node in graph.nodes.items()]
    return frozenset().union(*read) - frozenset().union(*written)


def _json(value: Any) -> Json:
    found: Json = value
    return found
