"""Every expression and template of a graph compiled once, each error at its own line and column of the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from anabranch.errors import ExpressionError, Problem, SourceLocation
from anabranch.graph.dataflow.fields import attribute_fields, last_fields, node_fields, start_fields
from anabranch.graph.dataflow.handlers import handlers
from anabranch.graph.dataflow.reads import result_fields
from anabranch.graph.dataflow.walk import Level, edge_path, names_beside, with_compensations
from anabranch.graph.expressions.expressions import compile_expression
from anabranch.graph.expressions.templates import compile_template
from anabranch.graph.kinds.fields import Field, texts
from anabranch.graph.kinds.remembered import unless_fine
from anabranch.graph.model import BaseNode, Finally, Graph, RuleNode
from anabranch.graph.source.problems import as_written, described
from anabranch.graph.source.yaml_source import Pointer, Source


def check_expressions(level: Level, source: Source) -> Iterator[Problem]:
    """Expressions and templates of one level that do not compile."""
    handling = handlers(level.body.nodes, level.body.edges)
    for path, key, outer in level.nodes():
        for where, node in with_compensations(path, outer):
            roots = level.roots | handling.names_of(key) | names_beside(path, where)
            yield from unless_fine(node, ("expressions", roots), partial(_check_node, where, node, roots, source))
    for index, edge in enumerate(level.body.edges):
        if edge.when is not None:
            field = Field(("when",), edge.when, is_template=False)
            yield from _check(field, edge_path(level, index), level.roots | handling.names_on(edge), source)
    if isinstance(level.body, Finally):
        for field in last_fields(level.body):
            yield from _check(field, level.path, level.roots, source)


def _check_node(path: Pointer, node: BaseNode, roots: frozenset[str], source: Source) -> Iterator[Problem]:
    for field in node_fields(node):
        yield from _check(field, path, roots, source)
    if isinstance(node, RuleNode) and node.grl is not None:
        yield from _grl(node.grl, (*path, "grl"), roots, source)


def check_own_fields(graph: Graph, source: Source) -> Iterator[Problem]:
    """Expressions and templates of the graph itself that do not compile."""
    for field in (*start_fields(graph), *attribute_fields(graph), *result_fields(graph)):
        yield from _check(replace(field, path=as_written(field.path, source)), (), frozenset(), source)


def _check(field: Field, path: Pointer, roots: frozenset[str], source: Source) -> Iterator[Problem]:
    for where, text in texts(field.value, (*path, *field.path)):
        try:
            if field.is_template:
                compile_template(text, roots | field.roots)
            else:
                compile_expression(text, roots | field.roots)
        except ExpressionError as error:
            yield _problem(error, text, where, source)


def _grl(text: str, path: Pointer, roots: frozenset[str], source: Source) -> Iterator[Problem]:
    from anabranch.graph.rules.rules_text import parse_rules

    try:
        parse_rules(text, roots)
    except ExpressionError as error:
        yield _problem(error, text, path, source)


def _problem(error: ExpressionError, text: str, path: Pointer, source: Source) -> Problem:
    message = f"{described(path)} does not compile: {error.message}"
    return Problem(error.code, message, _place(error, text, path, source), error.suggestion)


def _place(error: ExpressionError, text: str, path: Pointer, source: Source) -> SourceLocation:
    lines = text.split("\n")[: error.line - 1]
    return source.place_in(path, sum(len(line) + 1 for line in lines) + error.column - 1)
