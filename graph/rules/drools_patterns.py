"""Conditions of Drools-like rules as CEL: patterns with a type, constraints and `from`; `not`, `exists`, `or`, `and`.

A pattern is about one value: what stands after `from`, or the object under the key that is named as the type. A value
that is not there, or has another type, does not match. `$x: Number(this > 0) from order_total` becomes
`type(order_total) in [int, double] && order_total > 0`, and `$x` stands for `order_total`.
`exists` and `not` look at each element where the value is a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from lark import Token

from anabranch.context.values import Path
from anabranch.graph.expressions.expressions import ROOTS
from anabranch.graph.rules import names
from anabranch.graph.rules.drools_terms import (
    MAX_DEPTH,
    Binding,
    Group,
    Item,
    Scope,
    bound,
    bounded,
    first_token,
    leading_operand,
    split,
    translated,
)
from anabranch.graph.rules.names import refused


@dataclass(frozen=True, slots=True)
class Pattern:
    """`$name: Type(constraints) from source`, of which only the type must be there."""

    token: Token
    variable: Token | None
    type: Token
    constraints: Group | None
    source: list[Item] | None


@dataclass(frozen=True, slots=True)
class Test:
    """`eval(expression)`."""

    token: Token
    condition: Group


@dataclass(frozen=True, slots=True)
class Combined:
    """Conditions of which all must hold (`and`), one (`or`), none (`not`), or which look at elements (`exists`)."""

    token: Token
    word: str
    parts: list[Condition]


Condition: TypeAlias = Pattern | Test | Combined

_WHOLE = ("Integer", "int", "Int", "Long", "long", "Short", "BigInteger", "i32", "i64", "u32", "u64")
_FRACTION = ("Number", "Double", "double", "Float", "float", "Decimal", "BigDecimal", "f32", "f64")
_TEXT = ("String", "CharSequence", "str", "Text")
_LISTS = ("List", "ArrayList", "Collection", "Set", "Array", "Vec")
_TYPES: dict[str, str] = {
    **dict.fromkeys(_WHOLE, "type({0}) in [int, double] && math.floor({0}) == {0}"),
    **dict.fromkeys(_FRACTION, "type({0}) in [int, double]"),
    **dict.fromkeys(_TEXT, "type({0}) == string"),
    **dict.fromkeys(("Boolean", "boolean", "bool", "Bool"), "type({0}) == bool"),
    **dict.fromkeys(_LISTS, "type({0}) == list"),
    **dict.fromkeys(("Object", "Any", "Value"), "{0} != null"),
}
_MAPS = frozenset({"Map", "HashMap", "JsonObject"})
_DATES = frozenset({"Date", "LocalDate", "LocalDateTime", "Instant", "ZonedDateTime", "DateTime"})
_NO_COUNTERPART = frozenset({"accumulate", "acc", "collect", "groupby", "forall"})
_ELEMENT = "element_"


@dataclass(frozen=True, slots=True)
class Matched:
    """Conditions as CEL, all of which must hold, and the names that they bind."""

    parts: tuple[str, ...]
    scope: Scope

    @property
    def cel(self) -> str:
        """The conditions as one; without any it always holds."""
        return " && ".join(self.parts) or "true"


def matched(conditions: Sequence[Condition], roots: frozenset[str]) -> Matched:
    """What a rule's `when` means."""
    found = _Conditions(Scope(roots))
    parts = tuple(piece for condition in conditions for piece in found.of(condition, 0))
    return Matched(parts, found.scope)


@dataclass(slots=True)
class _Conditions:
    """A list of conditions that all must hold; later ones see what earlier ones bind.

    What is `optional` may be absent: it is read by `context.KEY`, after it was asked for.
    """

    scope: Scope
    optional: bool = False
    length: int = field(default=0)

    def of(self, condition: Condition, depth: int, *, elements: bool = False) -> Iterator[str]:
        """The pieces of which all must hold."""
        if depth > MAX_DEPTH:
            raise refused(condition.token, f"conditions nest deeper than {MAX_DEPTH} levels", "split the rule")
        if isinstance(condition, Combined):
            pieces: Iterator[str] = iter((self._combined(condition, depth),))
        elif isinstance(condition, Test):
            pieces = iter((f"({translated(condition.condition.items, self.scope)})",))
        else:
            pieces = iter((self._over_elements(condition),)) if elements else self._pattern(condition)
        for piece in pieces:
            self.length += len(piece)
            bounded(self.length, condition.token)
            yield piece

    def _combined(self, combined: Combined, depth: int) -> str:
        if combined.word == "and":
            return " && ".join(piece for part in combined.parts for piece in self.of(part, depth + 1))
        elements = combined.word in {"exists", "not"}
        branches = []
        for part in combined.parts:
            inner = _Conditions(self.scope, optional=True)  # what a branch binds is not known outside of it
            branches.append(" && ".join(inner.of(part, depth + 1, elements=elements)))
        joined = " || ".join(f"({branch})" for branch in branches)
        return f"!{joined}" if combined.word == "not" else f"({joined})"

    def _pattern(self, pattern: Pattern) -> Iterator[str]:
        value, path, asked = self._value(pattern)
        yield from asked
        yield from self.matches(pattern, Binding(value, path))

    def _over_elements(self, pattern: Pattern) -> str:
        """Whether the value matches, or where it is a list an element of it."""
        value, path, asked = self._value(pattern)
        inside, outside = replace(self), replace(self)
        element = " && ".join(inside.matches(pattern, Binding(_ELEMENT)))
        whole = " && ".join(outside.matches(pattern, Binding(value, path)))
        one = f"(type({value}) == list ? {value}.exists({_ELEMENT}, {element}) : {whole})"
        return " && ".join((*asked, one))

    def matches(self, pattern: Pattern, value: Binding) -> Iterator[str]:
        """The pieces that say whether a value is of the pattern's type and fits its constraints."""
        name = str(pattern.type.value)
        is_object = name not in _TYPES
        yield f"type({value.cel}) == map" if is_object else _TYPES[name].format(value.cel)
        if pattern.variable is not None:
            self._bind(pattern.variable, value)
        inside = pattern.constraints.items if pattern.constraints is not None else []
        for constraint in split(inside):
            if not constraint:
                raise refused(pattern.token, "the pattern has a comma without a constraint", "remove the comma")
            yield from self._constraint(constraint, value, is_object=is_object)

    def _constraint(self, items: Sequence[Item], value: Binding, *, is_object: bool) -> Iterator[str]:
        scope = replace(self.scope, this=value.cel, is_object=is_object)
        match items:
            case [Token(type="VAR") as variable, Token(type="COLON"), *rest] if rest:
                cel, following = leading_operand(rest, scope)
                path = _fields(rest[: len(rest) - len(following)], value.path) if is_object else None
                if path is not None:
                    yield f"has({cel})"
                self._bind(variable, Binding(cel, path))
                if following:
                    yield _one(translated(rest, scope))
            case _:
                yield _one(translated(items, scope))

    def _bind(self, variable: Token, binding: Binding) -> None:
        if variable.value in self.scope.bindings:
            raise refused(variable, f"two patterns bind {variable.value}", "give each its own name")
        bounded(len(binding.cel), variable)
        self.scope = replace(self.scope, bindings={**self.scope.bindings, str(variable.value): binding})

    def _value(self, pattern: Pattern) -> tuple[str, Path | None, list[str]]:
        """The value that a pattern is about, its path in the context, and what asks whether it is there."""
        _refuse_types(pattern)
        if pattern.source is None:
            return self._at(pattern.type, [])
        first, *steps = pattern.source
        if isinstance(first, Token) and first.type == "NAME":
            return self._at(first, steps)
        token = first_token([first])
        base = bound(token, self.scope)
        return self._stepped(base.cel, base.path, steps, [])

    def _at(self, key: Token, steps: Sequence[Item]) -> tuple[str, Path | None, list[str]]:
        name = str(key.value)
        is_root = name in ROOTS | self.scope.roots
        if not self.optional or is_root:
            return self._stepped(names.key(name, self.scope.roots), None if is_root else (name,), steps, [])
        cel = f"context.{name}" if names.key(name, self.scope.roots) == name else names.key(name, self.scope.roots)
        return self._stepped(cel, (name,), steps, [f"has(context.{name})"])

    def _stepped(
        self, cel: str, path: Path | None, steps: Sequence[Item], asked: list[str]
    ) -> tuple[str, Path | None, list[str]]:
        for step in steps:
            if isinstance(step, Group):
                index = translated(step.items, self.scope) if step.items else ""
                cel, path = f"{cel}[{index}]", None
                continue
            name = step.value[1:].strip()
            holder, cel = cel, cel + names.field(name)
            path = None if path is None else (*path, name)
            if self.optional and path is not None:
                asked = [*asked, f"type({holder}) == map", f"has({cel})"]
            bounded(len(cel) * (1 + len(asked)), first_token([step]))
        return cel, path, asked


def _one(cel: str) -> str:
    """CEL that `&&` may follow."""
    return f"({cel})" if "||" in cel or "?" in cel else cel


def _fields(items: Sequence[Item], path: Path | None) -> Path | None:
    """The path of `name.field` below that of the pattern's object."""
    found = path
    for position, item in enumerate(items):
        is_step = isinstance(item, Token) and item.type == ("FIELD" if position else "NAME")
        if found is None or not is_step:
            return None
        found = (*found, first_token([item]).value.removeprefix(".").strip())
    return found


def _refuse_types(pattern: Pattern) -> None:
    name = str(pattern.type.value)
    if name in _NO_COUNTERPART:
        raise refused(
            pattern.type, f"{name} has no counterpart", "compute it in a `rules` node before: prices.sum(), size(items)"
        )
    if name in _DATES:
        raise refused(
            pattern.type, "JSON has no dates", 'write String, and compare timestamp(this) with timestamp("…")'
        )
    if pattern.source is None and (name in _TYPES or name in _MAPS):
        raise refused(
            pattern.type, f"the pattern does not say of which value: {name} is a type of many", f"write {name} from KEY"
        )
