"""What a SQL statement does: whether it writes, which columns it returns, whether MySQL commits at it.

On the safe side: what no dialect understands, or what is too long or too involved to be read, counts as writing. A
`select` that calls a function with effects looks like a read; `effect: true` on the node says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlglot import exp

_EXECUTED_COMMENT = re.compile(r"/\*M?!\d*")
"""What MySQL and MariaDB execute, and everybody else skips."""
_ESCAPED_COLON = "\\:"
"""A colon that is not one of a bind, as SQLAlchemy has it."""
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)
_MYSQL_COMMITS = frozenset(
    {"alter", "analyze", "begin", "cache", "check", "commit", "create", "drop", "flush", "grant", "install", "lock"}
    | {"optimize", "rename", "repair", "reset", "revoke", "rollback", "start", "truncate", "uninstall", "unlock"}
)


@lru_cache(maxsize=2048)
def is_write(query: str) -> bool:
    """True unless at least one dialect understands the text, and every one that does sees nothing but reading."""
    from anabranch.graph.kinds.sql_parser import TooInvolved, readings

    if _EXECUTED_COMMENT.search(query):
        return True
    understood = False
    try:
        for statements in readings(query.replace(_ESCAPED_COLON, ":")):
            understood = True
            if not all(map(_only_reads, statements)):
                return True
    except TooInvolved:
        return True
    return not understood


@lru_cache(maxsize=2048)
def returned_columns(query: str) -> frozenset[str] | None:
    """The names of the columns of a `select` or a `returning`; None if the text does not show all of them.

    Databases fold quoted and mixed-case names differently, so those are left out.
    """
    from anabranch.graph.kinds.sql_parser import TooInvolved, readings

    try:
        statements = next(readings(query.replace(_ESCAPED_COLON, ":")), [])
    except TooInvolved:
        return None
    names = [_name(column) for column in _columns(statements[0])] if len(statements) == 1 else []
    return frozenset(name for name in names if name) if names and None not in names else None


@lru_cache(maxsize=2048)
def ends_transaction_in_mysql(query: str) -> bool:
    """True where the statement ends the transaction that it is in, as MySQL's DDL does.

    What a stored procedure does inside is not seen.
    """
    from anabranch.graph.kinds.sql_parser import words

    found = words(_EXECUTED_COMMENT.sub(" ", query), "mysql")
    if found[:1] == ["set"]:
        return "autocommit" in found
    # Temporary tables belong to the session, and MariaDB's `begin not atomic` begins a block.
    return not _MYSQL_COMMITS.isdisjoint(found[:1]) and found[1:2] not in (["temporary"], ["not"])


def _only_reads(statement: exp.Expr) -> bool:
    from sqlglot import exp
    from sqlglot.expressions.dml import DML

    if not isinstance(statement, exp.Query | exp.Values | exp.Show | exp.Describe):
        return False
    writing = (DML, exp.DDL, exp.Into, exp.Lock, exp.Command)
    return not any(isinstance(each, writing) for each in statement.walk())


def _columns(statement: exp.Expr) -> Iterator[exp.Expr]:
    from sqlglot import exp

    if isinstance(statement, exp.Query) and not isinstance(statement, exp.DDL):
        yield from statement.selects
    elif isinstance(returning := statement.args.get("returning"), exp.Returning):
        yield from returning.expressions


def _name(column: exp.Expr) -> str | None:
    from sqlglot import exp

    name = column.args.get("alias") if isinstance(column, exp.Alias) else column.this
    if not isinstance(column, exp.Alias | exp.Column) or not isinstance(name, exp.Identifier) or name.quoted:
        return None
    return name.name if _PLAIN_NAME.fullmatch(name.name) else None
