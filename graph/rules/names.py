"""Names, functions and methods of rule languages as CEL has them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lark import Token

from anabranch.errors import ExpressionError
from anabranch.graph.expressions.cel_values import TYPE_NAMES
from anabranch.graph.expressions.expressions import MAX_SOURCE, Expression, compile_expression

_CEL_RESERVED = frozenset(
    {"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop"}
    | {"namespace", "null", "package", "return", "true", "var", "void", "while"}
)
LITERALS = {"true": "true", "false": "false", "nil": "null", "null": "null"}
FUNCTIONS = {"Max": "math.greatest", "Min": "math.least", "Len": "size"} | {
    name: f"math.{name.lower()}" for name in ("Abs", "Ceil", "Floor", "Round", "Trunc")
}
METHODS = {
    "Contains": "contains",
    "Count": "size",
    "HasPrefix": "startsWith",
    "HasSuffix": "endsWith",
    "Len": "size",
    "MatchString": "matches",
    "Replace": "replace",
    "Split": "split",
    "ToLower": "lowerAscii",
    "ToUpper": "upperAscii",
    "Trim": "trim",
}

_LONGEST_SALIENCE = len("-999999999")


def key(name: str, roots: frozenset[str]) -> str:
    """The context key or root of that name."""
    reserved = name in _CEL_RESERVED or name in TYPE_NAMES
    return f"context[{json.dumps(name)}]" if reserved and name not in roots else name


def field(name: str) -> str:
    """The step down to a field."""
    return f"[{json.dumps(name)}]" if name in _CEL_RESERVED else f".{name}"


def compiled(cel: str, roots: frozenset[str], token: Token) -> Expression:
    """The CEL that was made of an expression; an error is that of the expression that begins at `token`."""
    if len(cel) > MAX_SOURCE:
        raise refused(token, f"the expression is over the limit of {MAX_SOURCE} characters", "split it into rules")
    try:
        return compile_expression(cel, roots)
    except ExpressionError as error:
        raise refused(token, error.message, error.suggestion) from None


def unquoted(token: Token) -> str:
    """The name that a word or a text is."""
    return str(token.value[1:-1] if token.type == "STRING" else token.value)


def refused(token: Token, message: str, suggestion: str | None = None) -> ExpressionError:
    """An error at a token of the text."""
    return ExpressionError(message, suggestion=suggestion, line=token.line or 1, column=token.column or 1)


def salience(digits: Sequence[Token]) -> int:
    """The number that a rule's salience is."""
    text = "".join(digits)
    if len(text) > _LONGEST_SALIENCE or not text.lstrip("-").isdigit():
        raise refused(digits[-1], "the salience is not a whole number of at most nine digits", "write salience 10")
    return int(text)
