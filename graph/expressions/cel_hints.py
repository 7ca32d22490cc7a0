"""The CEL runtime's messages in the words of the expression's author, with suggestions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from anabranch.graph.expressions.cel_values import TYPE_NAMES, UNWRAP

# What functions are called elsewhere.
_ELSEWHERE = {
    **dict.fromkeys(("len", "length", "count"), "size"),
    **dict.fromkeys(("lower", "lowercase", "tolower"), "lowerAscii"),
    **dict.fromkeys(("upper", "uppercase", "toupper"), "upperAscii"),
    **dict.fromkeys(("now", "today", "date"), "timestamp(run.time)"),
    **dict.fromkeys(("max", "maximum"), "math.greatest"),
    **dict.fromkeys(("min", "minimum"), "math.least"),
    **dict.fromkeys(("some", "any"), "exists"),
    **dict.fromkeys(("avg", "mean"), "average"),
    **dict.fromkeys(("unique", "uniq"), "distinct"),
    **dict.fromkeys(("str", "text"), "string"),
    **dict.fromkeys(("float", "number"), "double"),
    **dict.fromkeys(("sha256", "digest"), "hash"),
    **dict.fromkeys(("strftime", "formatdate"), "formatTime"),
    **dict.fromkeys(("strptime", "parsedate"), "parseTime"),
    **dict.fromkeys(("tofixed", "money", "currency"), "fixed"),
    **dict.fromkeys(("default", "coalesce", "ifnull"), "orValue"),
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


def of_source(source: str, message: str, functions: Iterable[str]) -> str | None:
    """What to do about an expression that does not compile, where there are these functions."""
    if match := _NO_FUNCTION.search(message):
        return _like(match[1], functions)
    if message == "invalid int literal":
        return "integers over 9223372036854775807 end with u: 18446744073709551615u"
    if "recursion" in message:
        return "nest less deeply, or split the expression into several rules"
    if "Syntax error" in message:
        code = _TEXT.sub("''", source)
        return next((hint for pattern, hint in _HINTS if pattern.search(code)), None)
    if "type(" in message.replace("optional_type(", ""):
        return f"{', '.join(sorted(TYPE_NAMES))} name types; write context.NAME for a key of that name"
    return _convert_hint(message)


def _like(unknown: str, functions: Iterable[str]) -> str | None:
    """The function that was meant: `sort_by` and `Sort` are like `sortBy`, `len` is `size`."""
    plain = _plain(unknown)
    meant = {_plain(name): name for name in functions} | {_plain(n.rpartition(".")[2]): n for n in functions}
    close = _ELSEWHERE.get(plain) or next((meant[name] for name in get_close_matches(plain, meant, n=1)), None)
    return f"did you mean {close}?" if close else None


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def of_failure(message: str) -> str:
    """A failed call of the runtime without its internal details."""
    return _STATUS.sub("", _STATUS.sub("", message))


def _convert_hint(message: str) -> str | None:
    if message.startswith("expected type 'optional_type("):
        return "behind ? write what may be absent, as .?KEY, or the value without ?"
    if "optional_type(" in message:
        return UNWRAP
    if "null" in message:
        return "ask `!= null` first"
    if "string" in message and re.search(r"int|double", message):
        return "convert with string(x), int(x) or double(x)"
    return None
