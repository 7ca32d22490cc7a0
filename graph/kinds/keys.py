"""Sets of context keys and of paths that are read or written, and what the fields of nodes say of them.

Keys are top-level. Where nothing is known the answer is None: all keys, any key.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from anabranch.context.values import Json, Path
from anabranch.graph.expressions.expressions import Expression, compile_expression
from anabranch.graph.expressions.templates import Template, compile_template
from anabranch.graph.fields import JsonObject
from anabranch.graph.kinds.fields import Field

T = TypeVar("T")
Keys: TypeAlias = "frozenset[str] | None"
"""Context keys; None is all of them, or any."""
NO_KEYS: frozenset[str] = frozenset()
Paths: TypeAlias = "frozenset[Path] | None"
"""Paths of the context: `("order",)` is the whole key; None is any."""
NO_PATHS: frozenset[Path] = frozenset()


@dataclass(frozen=True, slots=True)
class Reads:
    """Keys that are read, and the paths that must be there."""

    keys: Keys = NO_KEYS
    needs: frozenset[Path] = NO_PATHS

    @property
    def required(self) -> frozenset[str]:
        """The keys that must be there."""
        return frozenset(path[0] for path in self.needs)

    def __or__(self, other: Reads) -> Reads:
        return Reads(union(self.keys, other.keys), self.needs | other.needs)

    def without(self, written: frozenset[str], guarded: frozenset[str] = NO_KEYS) -> Reads:
        """What is left when `written` is surely there, and `guarded` is read only where it is there."""
        keys = None if self.keys is None else self.keys - written
        there = written | guarded
        return Reads(keys, frozenset(path for path in self.needs if path[0] not in there))

    def allowing(self, written: Paths) -> Reads:
        """What is left to need when `written` may have been written before."""
        return Reads(self.keys, NO_PATHS if written is None else lacking(self.needs, written))


NOTHING = Reads()
EVERYTHING = Reads(None)


def union(*keys: frozenset[T] | None) -> frozenset[T] | None:
    """All keys, or paths, together; None where one is None."""
    return None if None in keys else frozenset[T]().union(*(one for one in keys if one is not None))


def whole(keys: Keys) -> Paths:
    """Keys as paths."""
    return None if keys is None else frozenset((key,) for key in keys)


def tops(paths: Paths) -> Keys:
    """The keys of paths."""
    return None if paths is None else frozenset(path[0] for path in paths)


def lacking(needs: frozenset[Path], there: frozenset[Path]) -> frozenset[Path]:
    """The paths to which nothing leads, or that lead to nothing, of what is there."""
    without = [need for need in needs if not any(need[:length] in there for length in range(1, len(need) + 1))]
    return frozenset(need for need in without if not any(path[: len(need)] == need for path in there))


def expression_reads(source: str | None, roots: frozenset[str]) -> Reads:
    """What an expression reads."""
    return NOTHING if source is None else _of(compile_expression(source, roots))


def template_reads(value: Json, roots: frozenset[str]) -> Reads:
    """What the holes of a template read."""
    return _of(compile_template(value, roots))


def field_reads(field: Field, roots: frozenset[str]) -> Reads:
    """What one field reads; `roots` are the names reserved around its node."""
    if isinstance(field.value, str) and not field.is_template:
        return expression_reads(field.value, roots | field.roots)
    return template_reads(field.value, roots | field.roots)


def tested(source: str | None, roots: frozenset[str]) -> frozenset[str]:
    """The keys whose presence a condition asks for."""
    return NO_KEYS if source is None else compile_expression(source, roots).tested


def all_reads(reads: Iterable[Reads]) -> Reads:
    """Everything that is read, together."""
    found = NOTHING
    for one in reads:
        found |= one
    return found


def properties(schema: object) -> Keys:
    """The keys of an object that fits the schema; None where it does not name them."""
    named = schema.get("properties") if isinstance(schema, dict) else None
    return frozenset(named) if isinstance(named, dict) else None


def referred(schema: JsonObject) -> JsonObject:
    """The schema, or the one of its `$defs` that it only refers to."""
    reference, known = schema.get("$ref"), schema.get("$defs")
    if isinstance(reference, str) and isinstance(known, dict):
        found = known.get(reference.removeprefix("#/$defs/"))
        return found if isinstance(found, dict) else schema
    return schema


def _of(compiled: Expression | Template) -> Reads:
    return Reads(compiled.keys, compiled.needs)
