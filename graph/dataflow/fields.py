"""Which fields of a node hold expressions, which hold templates, and which names those may use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from anabranch.context.values import Json
from anabranch.graph.model import (
    ActivityNode,
    AiNode,
    ApprovalNode,
    BaseNode,
    DbNode,
    ForeachNode,
    GraphNode,
    HttpNode,
    PythonNode,
    RuleNode,
    WaitNode,
    WhileNode,
)
from anabranch.graph.source.yaml_source import Pointer


@dataclass(frozen=True, slots=True)
class Field:
    """One field: where it stands under its node, its value, and the names that it may use beside the node's own."""

    path: Pointer
    value: Json
    is_template: bool
    roots: frozenset[str] = frozenset()


def node_fields(node: BaseNode) -> Iterator[Field]:
    """The fields of one node, those of its compensation and body apart."""
    if node.when is not None:
        yield _cel(node.when, "when")
    if node.cache is not None:
        yield _template(node.cache.key, "cache", "key")
    if (listed := _FIELDS.get(type(node))) is not None:
        yield from listed(node)
    for key, expression in (node.output or {}).items():
        yield _cel(expression, "output", key, roots=frozenset({"result"}))


def texts(value: Json, path: Pointer) -> Iterator[tuple[Pointer, str]]:
    """Every text inside a value, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(inner, (*path, key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from texts(inner, (*path, index))


def _cel(source: str, *path: str | int, roots: frozenset[str] = frozenset()) -> Field:
    return Field(path, source, is_template=False, roots=roots)


def _template(value: Json, *path: str | int) -> Field:
    return Field(path, value, is_template=True)


def _rule(node: RuleNode) -> Iterator[Field]:
    for index, rule in enumerate(node.rules or ()):
        if rule.when is not None:
            yield _cel(rule.when, "rules", index, "when")
        if rule.then is not None:
            yield _template(rule.then, "rules", index, "then")
        if rule.otherwise is not None:
            yield _template(rule.otherwise, "rules", index, "otherwise")


def _db(node: DbNode) -> Iterator[Field]:
    yield _template(node.params, "params")
    for index, statement in enumerate(node.statements or ()):
        yield _template(statement.params, "statements", index, "params")


def _ai(node: AiNode) -> Iterator[Field]:
    yield _template(node.system, "system")
    yield _template(node.prompt, "prompt")


def _http(node: HttpNode) -> Iterator[Field]:
    yield _template(node.url, "url")
    yield _template(dict(node.headers), "headers")
    yield _template(node.query, "query")
    yield _template(node.body, "body")


def _arguments(node: ActivityNode | PythonNode) -> Iterator[Field]:
    yield _template(list(node.args) if isinstance(node.args, tuple) else node.args, "args")


def _graph(node: GraphNode) -> Iterator[Field]:
    yield _template(node.input, "input")


def _foreach(node: ForeachNode) -> Iterator[Field]:
    yield _cel(node.items, "items")
    if node.collect is not None:
        yield _cel(node.collect.value, "collect", "value", roots=frozenset({node.as_, "index"}))


def _while(node: WhileNode) -> Iterator[Field]:
    yield _cel(node.while_, "while", roots=frozenset({"index"}))


def _wait(node: WaitNode) -> Iterator[Field]:
    if isinstance(node.for_, str):
        yield _template(node.for_, "for")
    if node.until is not None:
        yield _cel(node.until, "until")


def _approval(node: ApprovalNode) -> Iterator[Field]:
    yield _template(node.prompt, "prompt")


_FIELDS: dict[type[BaseNode], Callable[[Any], Iterator[Field]]] = {
    RuleNode: _rule,
    DbNode: _db,
    AiNode: _ai,
    HttpNode: _http,
    ActivityNode: _arguments,
    PythonNode: _arguments,
    GraphNode: _graph,
    ForeachNode: _foreach,
    WhileNode: _while,
    WaitNode: _wait,
    ApprovalNode: _approval,
}
