"""What one function is: its forms, what it does, examples of it, and what evaluates it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

_FORM = re.compile(r"(?:(?!math|lists)(?P<receiver>\w+)\.)?(?P<name>[\w.]+)\((?P<parameters>.*)\) -> (?P<result>\w+)")
_TYPES = {
    "any": ("dyn",),
    "number": ("int", "double", "uint"),
    "text": ("string",),
    "list": ("list<dyn>",),
    "texts": ("list<string>",),
    "object": ("map<dyn, dyn>",),
    "whole": ("int",),
    "fraction": ("double",),
    "boolean": ("bool",),
    "timestamp": ("timestamp",),
    "duration": ("duration",),
    "optional": ("optional_type<dyn>",),
}
"""The words of forms, in CEL's types. A parameter without one is the name or the expression of a macro."""


@dataclass(frozen=True, slots=True)
class Overload:
    """What the checker knows of one form: `name(parameters) -> result`, called as `first.name(rest)` if `member`."""

    name: str
    result: str
    parameters: tuple[str, ...]
    member: bool = False


@dataclass(frozen=True, slots=True)
class Macro:
    """A function whose first arguments name what its last ones are evaluated with, once for each element."""

    names: int
    parts: frozenset[int]
    """How many arguments may follow the names: of two, the first is a condition."""
    make: Callable[[Any], Callable[[dict[str, Any]], Any]]
    """What evaluates a `loops.Body`."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function of expressions, and its paragraph of docs/functions.md."""

    name: str
    forms: tuple[str, ...]
    """How it is called: `text.replace(old: text, new: text) -> text`."""
    text: str
    """What it does, in sentences."""
    examples: tuple[str, ...]
    """`expression => value`, on the context `EXAMPLE`. A test evaluates each."""
    evaluate: Callable[..., Any] | None = None
    """On the cost of the evaluation and the values; None where the compiler knows how."""
    known: int = 0
    """How many of the forms, the first ones, the runtime's checker knows by itself."""
    own: bool = False
    """Anabranch's, not of CEL or of one of its extensions."""
    macro: Macro | None = None
    """How it binds names in its own arguments, if it does and the parser does not know it."""

    def overloads(self) -> Iterator[Overload]:
        """What the checker must be told."""
        for form in self.forms[self.known :]:
            yield from overloads_of(form)


def overloads_of(form: str) -> Iterator[Overload]:
    """A form for each type that its words stand for."""
    found = _FORM.fullmatch(form)
    if found is None:
        raise ValueError(f"{form!r} is not the form of a function")
    parameters = [part.rpartition(": ")[2] if ": " in part else "any" for part in _parts(found["parameters"])]
    receiver = found["receiver"]
    words = parameters if receiver is None else [receiver, *parameters]
    result = "dyn" if found["result"] == "number" else _TYPES[found["result"]][0]
    for types in product(*(_TYPES[word] for word in words)):
        yield Overload(found["name"], result, types, member=receiver is not None)


def _parts(parameters: str) -> list[str]:
    return parameters.split(", ") if parameters else []
