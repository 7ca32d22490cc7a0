"""CEL's type checker, with the operators on JSON's one number type and the functions of the catalogue."""

from __future__ import annotations

from functools import cache
from typing import Final

from anabranch.graph.expressions.cel_runtime import Checker
from anabranch.graph.expressions.functions.catalogue import CATALOGUE
from anabranch.graph.expressions.functions.function import Overload

_NUMBER_PAIRS = (("double", "double"), ("int", "double"), ("double", "int"))
_SUMS = (
    *(("double", pair) for pair in _NUMBER_PAIRS),
    ("int", ("int", "int")),
    ("string", ("string", "string")),
    ("list<dyn>", ("list<dyn>", "list<dyn>")),
    ("duration", ("duration", "duration")),
    ("timestamp", ("timestamp", "duration")),
    ("timestamp", ("duration", "timestamp")),
)
_OPERATORS: Final = (
    *(Overload("_+_", result, parameters) for result, parameters in _SUMS),
    *(Overload("_/_", "dyn", pair) for pair in (*_NUMBER_PAIRS, ("int", "int"))),
    *(Overload(name, "double", pair) for name in ("_-_", "_*_") for pair in _NUMBER_PAIRS[1:]),
    *(Overload("_%_", "double", pair) for pair in _NUMBER_PAIRS),
    *(Overload(name, "bool", pair) for name in ("_<_", "_<=_", "_>_", "_>=_") for pair in _NUMBER_PAIRS[1:]),
    Overload("_==_", "bool", ("dyn", "dyn")),
    Overload("_!=_", "bool", ("dyn", "dyn")),
    Overload("@in", "bool", ("dyn", "list<dyn>")),
    Overload("@in", "bool", ("dyn", "map<dyn, dyn>")),
    Overload("_?_:_", "dyn", ("bool", "dyn", "dyn")),
)
"""What the checker accepts beyond CEL: a number is a number, and a list or a choice may mix types."""
_EXCLUDED: Final = ("_+_", "_/_", "_==_", "_!=_", "@in", "_?_:_")
"""CEL's own declarations that `_OPERATORS` replaces."""


def check(source: str) -> None:
    """Refuse types that do not fit and functions that do not exist. Free names must be of the form `_`, `__`, …"""
    _checker().check(source)


@cache
def _checker() -> Checker:
    functions = (overload for function in CATALOGUE.values() for overload in function.overloads())
    return Checker([*_OPERATORS, *functions], _EXCLUDED)
