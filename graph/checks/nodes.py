"""What nodes of each type need beyond the shape of their fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from anabranch.errors import InputError, Problem
from anabranch.graph.model import (
    ActivityNode,
    AiNode,
    BaseNode,
    Body,
    DbNode,
    ForeachNode,
    HttpNode,
    JsonObject,
    PythonNode,
    Rule,
    RuleNode,
    WaitNode,
    WhileNode,
    parse_duration,
)
from anabranch.graph.rules.decision_table import read_table
from anabranch.graph.source.problems import described
from anabranch.graph.source.yaml_source import Pointer, Source

_CAST_OF_BIND = r":\w+::"


@dataclass(frozen=True, slots=True)
class Finder:
    """Makes problems at places under one node."""

    path: Pointer
    source: Source

    def problem(
        self, code: str, message: str, *steps: str | int, mend: str | None = None, warning: bool = False
    ) -> Problem:
        """A problem of the node at `path`, placed at the field that `steps` lead to."""
        place = self.source.place((*self.path, *steps), key=not steps)
        return Problem(code, f"{described(self.path)} {message}", place, mend, warning)

    def exactly_one(self, node: object, code: str, names: Sequence[str]) -> Iterator[Problem]:
        """A problem unless exactly one of the fields is given."""
        given = [name for name in names if getattr(node, _ATTRIBUTES.get(name, name)) is not None]
        listed = " or ".join(f"`{name}`" for name in names)
        if not given:
            yield self.problem(code, f"needs {listed}", mend=f"give it one of {', '.join(names)}")
        if len(given) > 1:
            both = " and ".join(f"`{name}`" for name in given)
            yield self.problem(code, f"has {both}; it needs exactly one of {listed}", given[-1])


_ATTRIBUTES = {"for": "for_"}
_GUARDED = (RuleNode, DbNode, AiNode, HttpNode, PythonNode)
"""Nodes whose work a worker of ours does."""
_GUARDED_NAMES = ("rule", "db", "ai", "http", "python")


def check_node(path: Pointer, node: BaseNode, source: Source) -> Iterator[Problem]:
    """Problems of one node by itself."""
    finder = Finder(path, source)
    yield from _times(node, finder)
    yield from _misplaced(node, finder)
    if (check := _CHECKS.get(type(node))) is not None:
        yield from check(node, finder)


def _times(node: BaseNode, finder: Finder) -> Iterator[Problem]:
    zero = timedelta(0)
    named: dict[tuple[str, ...], timedelta | None] = {("timeout",): node.timeout, ("heartbeat",): node.heartbeat}
    if node.retry is not None:
        named["retry", "initial_interval"] = node.retry.initial_interval
        named["retry", "max_interval"] = node.retry.max_interval
    if node.circuit_breaker is not None:
        named["circuit_breaker", "window"] = node.circuit_breaker.window
        named["circuit_breaker", "reset"] = node.circuit_breaker.reset
    if node.cache is not None:
        named["cache", "ttl"] = node.cache.ttl
    for steps, value in named.items():
        if value is not None and value <= zero:
            yield finder.problem("DURATION_NOT_POSITIVE", f"has a `{'.'.join(steps)}` of zero", *steps)
    retry = node.retry
    if retry is not None and retry.max_interval is not None and zero < retry.max_interval < retry.initial_interval:
        message = "has a `retry.max_interval` below its `initial_interval`"
        yield finder.problem("RETRY_INTERVALS", message, "retry", "max_interval")
    if node.heartbeat is not None and node.timeout is not None and node.heartbeat >= node.timeout:
        message = "has a `heartbeat` that is not shorter than its `timeout`: it never shows that a worker was lost"
        yield finder.problem("HEARTBEAT_TOO_LONG", message, "heartbeat", warning=True)


def _misplaced(node: BaseNode, finder: Finder) -> Iterator[Problem]:
    """Fields that would do nothing on a node of this type, and compensations that cannot be one."""
    for name in ("cache", "circuit_breaker"):
        if getattr(node, name) is not None and not isinstance(node, _GUARDED):
            message = f"has a `{name}`, which holds only for {', '.join(_GUARDED_NAMES)} nodes"
            yield finder.problem("FIELD_HAS_NO_EFFECT", message, name, mend="remove it")
    if node.compensate is not None and not isinstance(node.compensate, (*_GUARDED, ActivityNode)):
        message = f"is undone by a `{node.compensate.type}` node"
        mend = f"a compensation is one of {', '.join((*_GUARDED_NAMES, 'activity'))}"
        yield finder.problem("COMPENSATION_TYPE", message, "compensate", "type", mend=mend)


def _rule(node: RuleNode, finder: Finder) -> Iterator[Problem]:
    yield from finder.exactly_one(node, "RULE_SOURCE", ("rules", "decision_table", "grl"))
    if node.rules == ():
        yield finder.problem("RULE_SOURCE", "has no rules", "rules")
    for index, rule in enumerate(node.rules or ()):
        yield from _one_rule(rule, index, finder)
    if node.decision_table is not None:
        yield from _decision_table(node.decision_table, finder)


def _one_rule(rule: Rule, index: int, finder: Finder) -> Iterator[Problem]:
    if rule.then is None and rule.otherwise is None:
        yield finder.problem("RULE_EMPTY", f"has the rule {index + 1}, which writes nothing", "rules", index)
    if rule.when is None and rule.then is not None and rule.otherwise is not None:
        message = f"has the rule {index + 1}, whose `otherwise` never applies: it has no `when`"
        yield finder.problem("RULE_OTHERWISE", message, "rules", index, "otherwise", warning=True)


def _decision_table(table: JsonObject | str, finder: Finder) -> Iterator[Problem]:
    try:
        read_table(table)
    except InputError as error:
        message = f"has a `decision_table` that is not evaluated: {error.message}"
        yield finder.problem("DECISION_TABLE", message, "decision_table", mend=error.suggestion)


def _db(node: DbNode, finder: Finder) -> Iterator[Problem]:
    yield from finder.exactly_one(node, "DB_SOURCE", ("query", "statements"))
    if node.statements == ():
        yield finder.problem("DB_SOURCE", "has no statements", "statements")
    if node.statements is not None and node.params:
        message = "has `params` beside `statements`; each statement has its own"
        yield finder.problem("SQL_BIND_EXTRA", message, "params")
    if node.query is not None:
        yield from _binds(node.query, set(node.params), finder, ())
    for index, statement in enumerate(node.statements or ()):
        yield from _binds(statement.query, set(statement.params), finder, ("statements", index))


def _binds(query: str, params: set[str], finder: Finder, steps: tuple[str | int, ...]) -> Iterator[Problem]:
    if not query.strip():
        yield finder.problem("DB_SOURCE", "has an empty query", *steps, "query")
    if "{{" in query:
        message = "has `{{ }}` in its SQL; values reach SQL by named binds only"
        mend = "write :name in the query and give `params: {name: '{{ … }}'}`"
        yield finder.problem("SQL_TEMPLATE", message, *steps, "query", mend=mend)
        return
    from sqlalchemy import text  # a third of a second, for graphs with SQL alone

    binds = set(text(query).compile().params)
    for name in sorted(_cast_binds(query) & params - binds):
        mend = f"write cast(:{name} as …)"
        yield finder.problem("SQL_BIND_CAST", f"casts :{name} with `::`, which hides it", *steps, "query", mend=mend)
        params.discard(name)
    for name in sorted(binds - params):
        mend = f"add `{name}:` to its `params`, or write \\: for a colon that is none"
        yield finder.problem("SQL_BIND_MISSING", f"has no parameter for :{name}", *steps, "query", mend=mend)
    for name in sorted(params - binds):
        message = f"has a parameter {name!r} that its query does not use"
        yield finder.problem("SQL_BIND_EXTRA", message, *steps, "params", name, mend=f"write :{name} in the query")


def _cast_binds(query: str) -> set[str]:
    return {match[1:-2] for match in re.findall(_CAST_OF_BIND, query)}


def _ai(node: AiNode, finder: Finder) -> Iterator[Problem]:
    provider, colon, model = node.model.partition(":")
    if not (provider and colon and model):
        mend = f"write provider:model, such as openai:{node.model.strip(':')[:64] or 'gpt-4'}"
        yield finder.problem("AI_MODEL", f"has the model {node.model[:64]!r} without a provider", "model", mend=mend)
    if not node.prompt.strip():
        yield finder.problem("AI_PROMPT", "has an empty prompt", "prompt")


def _http(node: HttpNode, finder: Finder) -> Iterator[Problem]:
    if not node.url.startswith(("http://", "https://", "{{")):
        mend = "write it in full: https://…"
        yield finder.problem("HTTP_URL", "has a `url` that is not of http or https", "url", mend=mend)


def _composite(node: ForeachNode | WhileNode, finder: Finder) -> Iterator[Problem]:
    body: Body = node.body
    if not body.nodes and body.graph is None:
        mend = "give `nodes:` and `edges:`, or `graph:`"
        yield finder.problem("BODY_SOURCE", "has a body with nothing in it", "body", mend=mend)
    elif body.graph is not None and (body.nodes or body.edges):
        message = "has a body with both `graph` and nodes of its own; it needs exactly one"
        yield finder.problem("BODY_SOURCE", message, "body", "graph")


def _wait(node: WaitNode, finder: Finder) -> Iterator[Problem]:
    yield from finder.exactly_one(node, "WAIT_SOURCE", ("for", "until"))
    if isinstance(node.for_, str) and "{{" not in node.for_:
        try:
            parse_duration(node.for_)
        except ValueError as error:
            yield finder.problem("VALUE_INVALID", f"waits for what is no duration: {error}"[:300], "for")


_CHECKS: dict[type[BaseNode], Callable[[Any, Finder], Iterator[Problem]]] = {
    RuleNode: _rule,
    DbNode: _db,
    AiNode: _ai,
    HttpNode: _http,
    ForeachNode: _composite,
    WhileNode: _composite,
    WaitNode: _wait,
}
