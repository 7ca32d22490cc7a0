"""Rust's `format!` as CEL's `format`: `format!("{} of {:.2}", a, b)` is `"%s of %.2f".format([a, b])`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lark import Token

from anabranch.graph.rules.names import refused

_HOLE = re.compile(r"\{\{|\}\}|\{(?P<argument>\d{1,3}|[A-Za-z_]\w*)?(?::(?:\.(?P<digits>\d{1,2}))?)?\}|[{}%]")
_LITERAL = {"{{": "{", "}}": "}", "%": "%%"}
_FORMS = "the holes are {}, {:.2}, {0}, {name} and {name:.2}; a literal brace is {{ or }}"


def formatted(text: Token, values: Mapping[str, str]) -> str:
    """The text that `format!` makes, as CEL. `values` are its arguments as CEL, by position or name.

    ExpressionError where Rust would not compile it either.
    """
    used: list[str] = []
    counted = iter(range(len(values)))

    def hole(match: re.Match[str]) -> str:
        if match[0] in _LITERAL:
            return _LITERAL[match[0]]
        if match[0] in {"{", "}"}:
            raise refused(text, f"format! has a hole that is not known at {text.value[match.start() :][:20]!r}", _FORMS)
        name = match["argument"] or str(next(counted, len(values)))
        if name not in values:
            raise refused(text, f"format! has no value for the hole {match[0]}", _FORMS)
        used.append(name)
        return "%s" if match["digits"] is None else f"%.{match['digits']}f"

    written = _HOLE.sub(hole, text.value)
    if unused := values.keys() - set(used):
        raise refused(text, f"format! has no hole for its value {min(unused)}", _FORMS)
    return f"{written}.format([{', '.join(values[name] for name in used)}])"
