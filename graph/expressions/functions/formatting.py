"""`format`, of CEL's string extension: `"%s: %.2f".format([name, price])`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from anabranch.graph.expressions.cel_result import as_json
from anabranch.graph.expressions.cel_values import NUMBERS, EvaluationFailed, NoOverload
from anabranch.graph.expressions.cost import Cost
from anabranch.graph.expressions.json_text import text_of

_CLAUSE = re.compile(r"%(?:(?P<literal>%)|(?:\.(?P<digits>\d{1,2}))?(?P<verb>[A-Za-z])|)")
_USUAL_DIGITS = 6
_LONGEST_NUMBER = 420
"""Characters of the largest number with as many digits as a clause may ask for."""
_KNOWN = "the clauses are %s, %d, %f, %.2f, %e, %x, %X, %o, %b and %%"
_BASES = ("d", "x", "X", "o", "b")
_FRACTIONS = ("f", "e")


def formatted(cost: Cost, pattern: Any, values: Any) -> str:
    """The text with its clauses filled in: `%s` as in a template (null is `null`), `%f` with six digits, `%d`, …

    Digits are rounded as CEL and C do, half to even of what the number really is.
    """
    if type(pattern) is not str or type(values) is not list:
        raise NoOverload("format", pattern, values)
    cost.spend(len(pattern) // 16)
    waiting = iter(values)

    def fill(match: re.Match[str]) -> str:
        if match["literal"]:
            return "%"
        text = _written(cost, match, waiting)
        cost.build(len(text))
        return text

    cost.build(len(pattern))
    return _CLAUSE.sub(fill, pattern)


def _written(cost: Cost, match: re.Match[str], values: Iterator[Any]) -> str:
    verb, digits = match["verb"], match["digits"]
    if verb not in ("s", *_BASES, *_FRACTIONS) or (digits is not None and verb not in _FRACTIONS):
        raise EvaluationFailed(f"format does not know {match[0]!r}", _KNOWN)
    try:
        value = next(values)
    except StopIteration:
        raise EvaluationFailed(f"format has no value for {match[0]!r}", "give one value for each clause") from None
    if verb == "s":
        return text_of(as_json(value, cost)) if value is not None else "null"
    if type(value) not in NUMBERS or (verb in _BASES and type(value) is float and not value.is_integer()):
        raise NoOverload(f"format {match[0]}", value)
    cost.build(_LONGEST_NUMBER)
    if verb in _BASES:
        return format(int(value), verb)
    return f"{float(value):.{_USUAL_DIGITS if digits is None else int(digits)}{verb}}"
