"""What is particular to `db` nodes: which of their statements write, what they return, and their binds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from anabranch.errors import Problem
from anabranch.graph.kinds.finder import Finder
from anabranch.graph.kinds.keys import NO_KEYS, Keys, union
from anabranch.graph.kinds.sql import is_write, returned_columns
from anabranch.graph.kinds.sql_control import controls
from anabranch.graph.model import BaseNode, DbNode

_QUOTED = re.compile(r"'[^']*(?:'|\Z)|\$(\w*)\$.*?(?:\$\1\$|\Z)|--[^\n]*", re.DOTALL)
"""Texts and comments. One that is not closed goes on to the end: each would be looked for anew otherwise."""
_PLACEHOLDER = re.compile(r"%s\b|%\(\w+\)s|(?:[=<>,(]|\b(?:like|in))\s*(\?)(?![\w|&])", re.IGNORECASE)
"""Binds of drivers. `data ? 'key'` is an operator of PostgreSQL."""
_CAST_OF_BIND = r":\w+::"


def queries(node: DbNode) -> tuple[str, ...]:
    """The statements of a node, in order."""
    if node.statements is not None:
        return tuple(statement.query for statement in node.statements)
    return () if node.query is None else (node.query,)


def writes_to_database(node: DbNode) -> bool:
    """True unless all statements of the node plainly only read."""
    return any(map(is_write, queries(node)))


def records_effect(node: DbNode) -> bool:
    """True where the node commits its idempotency key with its effect: it has one, and says nothing against it."""
    if node.idempotent is not None:
        return node.idempotent
    return node.effect is True or writes_to_database(node)


def undoes_recorded_effect(forward: BaseNode, compensation: BaseNode) -> bool:
    """True where the compensation finds the forward node's key in its own database, or knows that it never happened.

    Only then does it get the forward node's key: of any other node the log knows nothing, and absence means nothing.
    """
    return (
        isinstance(forward, DbNode)
        and isinstance(compensation, DbNode)
        and forward.connection == compensation.connection
        and records_effect(forward)
    )


def db_pinned(node: DbNode) -> Mapping[str, Any]:
    """What is judged once, when a run pins its graph: another version of the parser must not judge it again."""
    return {"idempotent": records_effect(node)}


def db_writes(node_id: str, node: DbNode) -> Keys:
    """The columns of the first row, or the node's id."""
    if node.statements is None:
        return _statement_writes(node_id, node.query or "", node.result)
    return union(NO_KEYS, *(_statement_writes(node_id, one.query, one.result) for one in node.statements))


def db_summary(node: DbNode) -> str:
    """The statement, or how many."""
    if node.statements is not None:
        return f"{len(node.statements)} statements on {node.connection}"
    return f"{node.connection}: {node.query}"


def check_db(node: DbNode, finder: Finder) -> Iterator[Problem]:
    """One source of statements, and a parameter for each bind."""
    names = ("query", "statements")
    yield from finder.exactly_one("DB_SOURCE", [name for name in names if getattr(node, name) is not None], names)
    if node.statements == ():
        yield finder.problem("DB_SOURCE", "has no statements", "statements")
    if node.statements is not None and node.params:
        message = "has `params` beside `statements`; each statement has its own"
        yield finder.problem("SQL_BIND_EXTRA", message, "params")
    if node.read_only:
        yield from _only_reads(node, finder)
    if node.query is not None:
        yield from _binds(node.query, set(node.params), finder, ())
    for index, statement in enumerate(node.statements or ()):
        yield from _binds(statement.query, set(statement.params), finder, ("statements", index))


def _only_reads(node: DbNode, finder: Finder) -> Iterator[Problem]:
    """Statements that write, of a node that does not."""
    given = () if node.query is None else ((node.query, ()),)
    for query, steps in (*given, *((each.query, ("statements", at)) for at, each in enumerate(node.statements or ()))):
        if is_write(query):
            message = "writes, or is not understood by any dialect, and only may read: it is `read_only`, or a tool"
            suggestion = "write a `select`; a graph that is a tool may hold nodes that write"
            yield finder.problem("SQL_READ_ONLY", message, *steps, "query", suggestion=suggestion)
    if node.effect:
        message = "has `effect: true` and only may read: it is `read_only`, or a tool"
        yield finder.problem("SQL_READ_ONLY", message, "effect", suggestion="remove one of the two")


def _statement_writes(node_id: str, query: str, result: str) -> Keys:
    if result == "first":
        return returned_columns(query)
    return NO_KEYS if result == "none" else frozenset({node_id})


def bind_of_a_driver(query: str) -> str | None:
    """A `?`, or `%s`, that some driver would take for a bind, outside of texts and comments; None without."""
    found = _PLACEHOLDER.search(_QUOTED.sub("''", query))
    return None if found is None else found[1] or found[0]


def _binds(query: str, params: set[str], finder: Finder, steps: tuple[str | int, ...]) -> Iterator[Problem]:
    if not query.strip():
        yield finder.problem("DB_SOURCE", "has an empty query", *steps, "query")
    if "{{" in query:
        message = "has `{{ }}` in its SQL; values reach SQL by named binds only"
        suggestion = "write :name in the query and give `params: {name: '{{ … }}'}`"
        yield finder.problem("SQL_TEMPLATE", message, *steps, "query", suggestion=suggestion)
        return
    if (control := controls(query)) is not None:
        message = f"has `{control}` in its SQL: its statements are one transaction, on a session that others use too"
        suggestion = "leave it out; several `statements` of a node are committed, or rolled back, together"
        yield finder.problem("SQL_CONTROL", message, *steps, "query", suggestion=suggestion)
    if not params and (other := bind_of_a_driver(query)) is not None:
        message = f"has `{other}` in its SQL, which is no bind here: the database gets it as it is"
        suggestion = "write :name in the query and give `params: {name: '{{ … }}'}`"
        yield finder.problem("SQL_PLACEHOLDER", message, *steps, "query", suggestion=suggestion, warning=True)
    from sqlalchemy import text  # a third of a second, for graphs with SQL alone

    binds = set(text(query).compile().params)
    for name in sorted(_cast_binds(query) & params - binds):
        suggestion = f"write cast(:{name} as …)"
        yield finder.problem(
            "SQL_BIND_CAST", f"casts :{name} with `::`, which hides it", *steps, "query", suggestion=suggestion
        )
        params.discard(name)
    for name in sorted(binds - params):
        suggestion = f"add `{name}:` to its `params`, or escape a literal colon as `\\:`"
        yield finder.problem(
            "SQL_BIND_MISSING", f"has no parameter for :{name}", *steps, "query", suggestion=suggestion
        )
    for name in sorted(params - binds):
        message = f"has a parameter {name!r} that its query does not use"
        yield finder.problem(
            "SQL_BIND_EXTRA", message, *steps, "params", name, suggestion=f"write :{name} in the query"
        )


def _cast_binds(query: str) -> set[str]:
    return {match[1:-2] for match in re.findall(_CAST_OF_BIND, query)}
