"""SQL as sqlglot reads it in each dialect, bounded in length and in steps, with unknown statements refused.

The graph does not know which database a connection leads to, so several dialects read each statement. This module alone
imports sqlglot, which takes a tenth of a second: `sql` imports it where a statement has to be judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final, Never

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.parser import Parser
from sqlglot.tokenizer_core import TokenType

DIALECTS: Final = ("postgres", "mysql", "sqlite")
MAX_CHARACTERS = 32 * 1024
STEPS_PER_TOKEN = 20
"""How often the parser may come to each token: some three times in ordinary SQL. It steps back to try again, and for
nested types (`a::int(int(int(…`) it does so twice as often with every level."""


class TooInvolved(Exception):
    """A statement is too long, too deep, or takes too many steps."""


class _NotUnderstood(SqlglotError):
    """The dialect knows the statement by its first word alone."""


class _Bounded(Parser):
    """Counts the steps of a parser, and has it refuse what it would only pass through."""

    steps_left = 0

    def _advance(self, times: int = 1) -> None:
        self.steps_left -= 1
        if self.steps_left < 0:
            raise TooInvolved
        super()._advance(times)

    def _warn_unsupported(self) -> Never:
        raise _NotUnderstood


def readings(query: str) -> Iterator[list[exp.Expr]]:
    """The statements in `query`, once for each dialect that understands all of them. Raises TooInvolved."""
    if len(query) > MAX_CHARACTERS:
        raise TooInvolved
    for dialect in DIALECTS:
        if (statements := _read(query, dialect)) is not None:
            yield statements


def words(query: str, dialect: str) -> list[str]:
    """The words and signs of a text in small letters, quoted ones and comments apart; none where it has no end."""
    try:
        tokens = sqlglot.tokenize(query, read=dialect)
    except SqlglotError:
        return []
    return [token.text.lower() for token in tokens if token.token_type is not TokenType.STRING]


def _read(query: str, dialect: str) -> list[exp.Expr] | None:
    language = _language(dialect)
    parser = _parser(dialect)(dialect=language)
    try:
        tokens = language.tokenize(query)
        parser.steps_left = STEPS_PER_TOKEN * len(tokens)
        parsed = parser.parse(tokens, query)
    except RecursionError:
        raise TooInvolved from None
    except TooInvolved:
        raise
    except Exception:  # whatever it stumbles over, it does not understand the text
        return None
    statements = [each for each in parsed if each is not None]
    return None if not statements or any(map(_is_bare, statements)) else statements


def _is_bare(statement: exp.Expr) -> bool:
    """Whether the dialect took the whole for an expression, such as `table t` for `table as t`."""
    return isinstance(statement, exp.Condition | exp.Alias | exp.Command)


@cache
def _language(dialect: str) -> sqlglot.Dialect:
    return sqlglot.Dialect.get_or_raise(dialect)


@cache
def _parser(dialect: str) -> type[_Bounded]:
    base = _language(dialect).parser_class
    bounded: type[_Bounded] = type(f"Bounded{base.__name__}", (_Bounded, base), {})
    return bounded
