"""The CEL runtime's messages in the words of the expression's author, with suggestions."""

from __future__ import annotations

import re
from difflib import get_close_matches

from anabranch.graph.expressions import cel_functions
from anabranch.graph.expressions.cel_syntax import MATH_FUNCTIONS, TYPE_NAMES

_CEL = ["all", "contains", "endsWith", "exists", "exists_one", "filter", "has", "map", "matches", "size", "startsWith"]
_CONVERSIONS = ["bool", "double", "duration", "dyn", "int", "string", "timestamp", "type"]
_FUNCTIONS = {
    **{name: name for name in _CEL + _CONVERSIONS},
    **{function.name: function.name for function in cel_functions.TEXT_AND_LISTS},
    **{name: f"math.{name}" for name in sorted(MATH_FUNCTIONS | {"greatest", "least"})},
}
_HINTS = (
    (re.compile(r"\band\b"), "write && for and"),
    (re.compile(r"\bor\b"), "write || for or"),
    (re.compile(r"\bnot\b"), "write ! for not"),
    (re.compile(r"<>"), "write != for different"),
    (re.compile(r"(?<![=!<>])=(?!=)"), "compare with =="),
)
_TEXT = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""")
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
_STATUS = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")
_NOISE = re.compile(r" \(in container ''\)| expecting [{<'].*| \[[A-Z_]+\]$")
_NO_FUNCTION = re.compile(r"no function '([^']*)'")


def of_issue(issue: str) -> str:
    """A compiler's message without its internal details."""
    issue = _NOISE.sub("", issue)
    if "'<EOF>'" in issue:
        return "Syntax error: the expression ends too early"
    if match := _UNDECLARED.search(issue):
        return f"there is no function {match[1]!r}"
    return issue


def of_source(source: str, message: str) -> str | None:
    """What to do about an expression that does not compile."""
    if match := _NO_FUNCTION.search(message):
        close = get_close_matches(match[1], _FUNCTIONS, n=1)
        return f"did you mean {_FUNCTIONS[close[0]]}?" if close else None
    if "recursion" in message:
        return "nest less deeply, or split the expression into several rules"
    if "Syntax error" in message:
        code = _TEXT.sub("''", source)
        return next((hint for pattern, hint in _HINTS if pattern.search(code)), None)
    if "type(" in message:
        return f"{', '.join(sorted(TYPE_NAMES))} name types; write context.NAME for a key of that name"
    return _convert_hint(message)


def of_failure(message: str) -> str:
    """A failed call of the runtime without its internal details."""
    return _STATUS.sub("", _STATUS.sub("", message))


def _convert_hint(message: str) -> str | None:
    if "null" in message:
        return "ask `!= null` first"
    if "string" in message and re.search(r"int|double", message):
        return "convert with string(x), int(x) or double(x)"
    return None
