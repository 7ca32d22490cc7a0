"""The catalogue of functions: what the checker is told, what evaluates them, and what docs/functions.md shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from anabranch.graph.expressions.functions.conversions import CONVERSIONS, MATCHES
from anabranch.graph.expressions.functions.function import Function
from anabranch.graph.expressions.functions.identity import IDENTITY
from anabranch.graph.expressions.functions.lists import LISTS
from anabranch.graph.expressions.functions.loops import LOOPS
from anabranch.graph.expressions.functions.numbers import ARITHMETIC
from anabranch.graph.expressions.functions.objects import OBJECTS
from anabranch.graph.expressions.functions.optionals import OPTIONALS
from anabranch.graph.expressions.functions.texts import TEXTS
from anabranch.graph.expressions.functions.times import TIMES


@dataclass(frozen=True, slots=True)
class Section:
    """Functions that belong together."""

    title: str
    text: str
    functions: tuple[Function, ...]


SECTIONS: Final = (
    Section(
        "Texts",
        "The first character is at position 0, and what is written `text.trim()` is called on a text.",
        (*TEXTS, MATCHES),
    ),
    Section("Numbers", "A whole number is an integer, a fraction is a float.", ARITHMETIC),
    Section("Lists", "The first element is at position 0.", LISTS),
    Section("Objects", "The order of keys is that of their characters.", OBJECTS),
    Section(
        "Loops",
        "The first arguments are names, which stand for each element in the last one. "
        "The names mean nothing outside, and hide keys of the context that are called the same.",
        LOOPS,
    ),
    Section(
        "Times and durations",
        "A timestamp comes out as text in RFC 3339, a duration as seconds (`5400s`). "
        "Functions of a calendar take a time zone: a name such as `Europe/Berlin`, or an offset such as `+02:00`; "
        "without one they are in UTC. Zones are those of the Python package tzdata, not of the machine.",
        TIMES,
    ),
    Section(
        "Optional values",
        "An optional value is a value or none. It is no result: end it with `.orValue(…)`.",
        OPTIONALS,
    ),
    Section("Ids and fingerprints", "They are made of values alone, so they are the same in a retry.", IDENTITY),
    Section("Conversions and types", "What cannot be converted is an error.", CONVERSIONS),
)
"""All functions, as the documentation has them."""
CATALOGUE: Final[dict[str, Function]] = {
    function.name: function for section in SECTIONS for function in section.functions
}
_SPELLED: Final = {
    "math.@max": "math.greatest",
    "math.@min": "math.least",
    "_?._": ".?",
    "_[?_]": ".?",
}
"""What the parser calls a function that is written in another way."""
EVALUATED: Final[dict[str, Callable[..., Any]]] = {
    name: function.evaluate
    for name, function in (*CATALOGUE.items(), *((name, CATALOGUE[spelled]) for name, spelled in _SPELLED.items()))
    if function.evaluate is not None
}
"""What evaluates a function, by the parser's names."""
MACROS: Final = {name: function.macro for name, function in CATALOGUE.items() if function.macro is not None}
NAMESPACED: Final = frozenset(name for name in CATALOGUE if "." in name.strip("."))
"""Functions that belong to no value: `math.round`, `lists.range`, …"""
EXAMPLE: Final[dict[str, Any]] = {
    "total": 120,
    "weight": 2.5,
    "name": "Ada",
    "coupon": None,
    "tags": ["new", "gift"],
    "lines": [{"sku": "tea", "price": 4, "pieces": 3}, {"sku": "cup", "price": 7.5, "pieces": 1}],
    "stock": {"tea": 10, "cup": 0},
    "ordered_at": "2026-11-28T09:30:00Z",
}
"""The context of all examples."""
