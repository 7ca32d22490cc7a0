"""The CEL runtime's messages in the words of the expression's author, with suggestions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches

from anabranch.graph.expressions.cel_values import TYPE_NAMES, UNWRAP
from anabranch.graph.expressions.functions.function import Function

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
    **dict.fromkeys(("str", "text", "tostring"), "string"),
    **dict.fromkeys(("parseint", "toint", "integer"), "int"),
    **dict.fromkeys(("parsefloat", "tofloat", "tonumber"), "double"),
    **dict.fromkeys(("includes", "has_key", "haskey"), "x in list, or text.contains"),
    **dict.fromkeys(("float", "number"), "double"),
    **dict.fromkeys(("sha256", "digest"), "hash"),
    **dict.fromkeys(("strftime", "formatdate"), "formatTime"),
    **dict.fromkeys(("strptime", "parsedate"), "parseTime"),
    **dict.fromkeys(("tofixed", "money", "currency"), "fixed"),
    **dict.fromkeys(("default", "coalesce", "ifnull"), "orValue"),
}
_HINTS = (
    (re.compile(r"\{\{|\}\}"), "this field is an expression: write it without {{ }}"),
    (re.compile(r"\$"), "write a key by its name alone, without $"),
    (re.compile(r"==="), "write == for ==="),
    (re.compile(r"!=="), "write != for !=="),
    (re.compile(r"=>|->"), "write the name and the expression: list.map(x, x + 1), list.filter(x, x > 1)"),
    (re.compile(r"\bfor\b.*\bin\b"), "write list.map(x, x + 1), or list.filter(x, x > 1)"),
    (re.compile(r"\bif\b"), "write condition ? value : other"),
    (re.compile(r"\?\?"), "write context.?key.orValue(value) for a key that may be absent"),
    (re.compile(r"\?\."), "write a.?b.orValue(value) for what may be absent"),
    (re.compile(r"(?<!\|)\|(?!\|)"), "a function is called by its name, as text.trim(): there are no filters"),
    (re.compile(r"\[[\w\s-]*:[\w\s-]*\]"), "write list.slice(from, to), or text.substring(from, to)"),
    (re.compile(r"\bbetween\b", re.IGNORECASE), "write low <= x && x <= high"),
    (re.compile(r"\bis\b", re.IGNORECASE), "write == null, or != null; type(x) is the type of a value"),
    (re.compile(r"\b(?:matches|contains|startsWith|endsWith|like)\b(?!\()"), "it is called: text.matches('…')"),
    (re.compile(r"\band\b", re.IGNORECASE), "write && for and"),
    (re.compile(r"\bor\b", re.IGNORECASE), "write || for or"),
    (re.compile(r"\bnot\b", re.IGNORECASE), "write ! for not"),
    (re.compile(r"\bf''"), "join texts by +, as 'total: ' + string(total)"),
    (re.compile(r"`"), "write a text in quotes: 'text'"),
    (re.compile(r"<>"), "write != for different"),
    (re.compile(r"(?<![=!<>])=(?!=)"), "compare with =="),
)
_LOOKED_AT = 1000
"""Characters of an expression in which its author's habits are looked for; some patterns take the square of them."""
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
DATE_ADVICE = 'write timestamp("2027-01-01T00:00:00Z")'
"""For a date that stands alone: CEL subtracts its numbers."""
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


def of_source(source: str, message: str, functions: Mapping[str, Function]) -> str | None:
    """What to do about an expression that does not compile, where there are these functions."""
    if match := _NO_FUNCTION.search(message):
        return _like(match[1], functions)
    if message == "invalid int literal":
        return "integers over 9223372036854775807 end with u: 18446744073709551615u"
    if "recursion" in message:
        return "nest less deeply, or split the expression into several rules"
    if _DATE.match(source):
        return DATE_ADVICE
    if "Syntax error" in message:
        code = _TEXT.sub("''", source[:_LOOKED_AT])
        return next((hint for pattern, hint in _HINTS if pattern.search(code)), None)
    if "'_||_'" in message or "'_&&_'" in message:
        return "both sides are true or false; context.?key.orValue(value) is for a key that may be absent"
    if "type(" in message.replace("optional_type(", ""):
        return f"{', '.join(sorted(TYPE_NAMES))} name types; write context.NAME for a key of that name"
    return _convert_hint(message)


def _like(unknown: str, functions: Mapping[str, Function]) -> str | None:
    """The function that was meant: `sort_by` and `Sort` are like `sortBy`, `len` is `size`, `sum(list)` is a member."""
    if unknown in functions:
        return f"write {functions[unknown].forms[0].partition(' ->')[0]}"
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
