"""Whether a SQL statement writes, as both the `db` activity and the saga must judge it alike.

A heuristic on the text, on the safe side: what is not plainly a read counts as a write. A `select` that calls a
function with side effects looks like a read; write it as an `insert`, `update` or `with … returning` to be safe.
"""

from __future__ import annotations

import re
from functools import lru_cache

_QUOTED = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$", re.DOTALL
)
_MYSQL_QUOTED = re.compile(
    r"#[^\n]*|--(?=\s|$)[^\n]*|/\*M?!\d*|/\*.*?\*/|'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|`[^`]*`"
    r"|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$",
    re.DOTALL,
)
"""As MySQL reads it: backslashes escape, `#` begins a comment, and what stands in `/*! */` is executed."""
_MYSQL_COMMITS = frozenset(
    {"alter", "analyze", "begin", "cache", "check", "commit", "create", "drop", "flush", "grant", "install", "lock"}
    | {"optimize", "rename", "repair", "reset", "revoke", "rollback", "start", "truncate", "uninstall", "unlock"}
)
_READS = frozenset({"select", "values", "table", "show", "explain", "describe", "with"})
_WRITES = frozenset({"insert", "update", "delete", "merge", "replace", "into", "call", "truncate", "create", "drop"})


@lru_cache(maxsize=2048)
def is_write(query: str) -> bool:
    """True unless the statement is plainly a read. Quoted text and comments do not count."""
    return any(_is_write(_words(query, quoted)) for quoted in (_QUOTED, _MYSQL_QUOTED))


def _is_write(words: list[str]) -> bool:
    return not words or words[0] not in _READS or not _WRITES.isdisjoint(words)


def _words(query: str, quoted: re.Pattern[str]) -> list[str]:
    return re.findall(r"\w+", quoted.sub(" ", query).lower())


def ends_transaction_in_mysql(query: str) -> bool:
    """True where the statement ends the transaction it stands in, as MySQL's DDL does.

    What a stored procedure does inside is not seen.
    """
    words = _words(query, _MYSQL_QUOTED)
    if words[:1] == ["set"]:
        return "autocommit" in words
    # Temporary tables belong to the session, and MariaDB's `begin not atomic` begins a block.
    return not _MYSQL_COMMITS.isdisjoint(words[:1]) and words[1:2] not in (["temporary"], ["not"])
