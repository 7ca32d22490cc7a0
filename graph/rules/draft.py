"""A rule as its text says it, before its expressions are compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lark import Token
from lark.exceptions import UnexpectedInput

from anabranch.errors import ExpressionError
from anabranch.graph.rules.chained_rule import ChainedRule


class Draft(Protocol):
    """A rule of a text, in either form."""

    @property
    def token(self) -> Token:
        """Where the rule's name stands."""
        ...

    @property
    def name(self) -> str:
        """The rule's name."""
        ...

    @property
    def size(self) -> int:
        """How many expressions it has."""
        ...

    def rule(self, roots: frozenset[str], rules: Sequence[str]) -> ChainedRule:
        """The rule. `rules` are the names of all rules of the text. ExpressionError where it does not compile."""
        ...


def syntax_error(error: UnexpectedInput, example: str) -> ExpressionError:
    """What a parser did not expect, at its place."""
    line, column = getattr(error, "line", 1), getattr(error, "column", 1)
    token = getattr(error, "token", getattr(error, "char", ""))
    at_end = getattr(token, "type", "") == "$END"
    return ExpressionError(
        "the rules end too early" if at_end else f"{str(token)!r} is not expected here",
        suggestion=example,
        line=max(1, line),
        column=max(1, column),
    )
