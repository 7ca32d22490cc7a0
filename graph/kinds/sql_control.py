"""Statements that control the transaction or the session they run in, and not data.

A node's statements are one transaction, which commits its idempotency key with them, on a session that other nodes use
afterwards. So these statements are refused, in whatever dialect they are one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import takewhile
from typing import Final

_EXECUTED_COMMENT: Final = re.compile(r"/\*M?!\d*")
"""What MySQL and MariaDB execute, and everybody else skips."""
_ANY_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_ALWAYS: Final = frozenset(
    {"commit", "end", "rollback", "abort", "savepoint", "release", "start", "xa", "attach", "detach", "use", "unlock"}
    | {"prepare", "execute", "deallocate"}
)
"""First words. A prepared statement outlives its node, and may be any of the others."""
_MYSQL_LOCKS: Final = frozenset({"read", "write", "local"})
_READING_PRAGMAS: Final = frozenset(
    {"foreign_key_check", "foreign_key_list", "index_info", "index_list", "index_xinfo", "integrity_check"}
    | {"quick_check", "table_info", "table_list", "table_xinfo"}
)
"""What SQLite answers, and changes nothing, given an argument."""
_ACTING_PRAGMAS: Final = frozenset({"incremental_vacuum", "optimize", "shrink_memory", "wal_checkpoint"})
"""What SQLite does without one."""


@lru_cache(maxsize=2048)
def controls(query: str) -> str | None:
    """The words by which a statement controls its transaction or session; None where it does not.

    What a procedure does inside is not seen.
    """
    from anabranch.graph.kinds.sql_parser import DIALECTS, words

    plain = _EXECUTED_COMMENT.sub(" ", query)
    readings = [" ".join(words(plain, dialect)).split() for dialect in DIALECTS]
    readings.append(_ANY_COMMENT.sub(" ", plain).lower().split())  # where no dialect finds the end of a text
    return next((found for reading in readings if (found := _control(reading)) is not None), None)


def is_opaque(query: str) -> bool:
    """Whether a statement of MySQL runs others that may end its transaction: a procedure, a compound statement."""
    from anabranch.graph.kinds.sql_parser import words

    return words(_EXECUTED_COMMENT.sub(" ", query), "mysql")[:1] in (["call"], ["begin"])


def changes_sqlite(pragma: str, argument: str | None) -> bool:
    """Whether a pragma does more than answer."""
    return pragma not in _READING_PRAGMAS if argument is not None else pragma in _ACTING_PRAGMAS


def _control(words: Sequence[str]) -> str | None:
    first = list(_first_statement(words))
    head, rest = first[:1], first[1:]
    if not head:
        return None
    if "load_extension" in first:
        return "LOAD_EXTENSION"
    found = _by_head(head[0].rstrip(";"), rest)
    return found and found.upper()


def _first_statement(words: Sequence[str]) -> Sequence[str]:
    """Up to the first semicolon that ends something: a driver runs one statement of a text, or refuses it."""
    started = [word for index, word in enumerate(words) if word != ";" or any(each != ";" for each in words[:index])]
    return started if started[:2] == ["begin", "not"] else list(takewhile(lambda word: word != ";", started))


def _by_head(head: str, rest: Sequence[str]) -> str | None:
    match head:
        case "begin" if rest[:1] == ["not"]:
            return next((word for word in rest if word in ("commit", "rollback")), None)
        case "begin":
            return "begin"
        case "set" if "autocommit" in rest:
            return "set autocommit"
        case "set" if "transaction" in rest[:2] or rest[:2] == ["session", "characteristics"]:
            return "set transaction"
        case "lock" if rest[:1] == ["tables"] or not _MYSQL_LOCKS.isdisjoint(rest[-1:]):
            return "lock tables"
        case "pragma" if _pragma(rest):
            return "pragma"
        case _:
            return head if head in _ALWAYS else None


def _pragma(rest: Sequence[str]) -> bool:
    name = "".join(rest[2:3] if rest[1:2] == ["."] else rest[:1])  # or `schema.name`
    argument = "given" if "=" in rest or "(" in rest else None
    return changes_sqlite(name, argument) or "=" in rest
