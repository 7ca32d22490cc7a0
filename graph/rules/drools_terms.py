"""Expressions of Drools-like rules as CEL: `$bound` names, `this`, fields of a pattern's object, `format!`, methods.

An expression is a list of tokens and of groups in brackets. It is read operand by operand, so that what Drools has as a
word between two operands (`matches`, `contains`, `memberOf`, `in`) finds both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from lark import Token

from anabranch.context.values import Path
from anabranch.graph.expressions.expressions import MAX_SOURCE
from anabranch.graph.rules import names
from anabranch.graph.rules.names import refused
from anabranch.graph.rules.rust_format import formatted

MAX_DEPTH = 32
"""How deep brackets nest in an expression, and blocks and groups of patterns in a rule."""


@dataclass(frozen=True, slots=True)
class Group:
    """What is between brackets."""

    token: Token
    """The opening bracket."""
    items: list[Item]


Item: TypeAlias = Token | Group


@dataclass(frozen=True, slots=True)
class Binding:
    """What a `$name` is: CEL, and the path of the context that it is the value of, if it is one."""

    cel: str
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """The names that an expression sees. In a pattern `this` is the value that it looks at.

    Where that is an `is_object`, plain names are its fields; elsewhere they are keys of the context.
    """

    roots: frozenset[str]
    bindings: Mapping[str, Binding] = field(default_factory=dict)
    this: str | None = None
    is_object: bool = False


_CLOCKS = frozenset({"current_time", "now", "Now"})
_METHODS = names.METHODS | {
    "ends_with": "endsWith",
    "len": "size",
    "length": "size",
    "starts_with": "startsWith",
    "toLowerCase": "lowerAscii",
    "toUpperCase": "upperAscii",
    "to_lowercase": "lowerAscii",
    "to_uppercase": "upperAscii",
}
_EMPTY = frozenset({"isEmpty", "is_empty"})
_GETTER = re.compile(r"get([A-Z])(\w*)")
_PARTS_OF_TIME = re.compile(r"get(Date|DayOf|FullYear|Hours|Milliseconds|Minutes|Month|Seconds)")
_WORDS = frozenset({"matches", "contains", "memberOf", "in", "startsWith", "endsWith"})
_QUOTES = ("'", '"')
_NUMBER = re.compile(r"([\d_]+(?:\.[\d_]+)?(?:[eE][+-]?\d+)?)[A-Za-z]?")


def translated(items: Sequence[Item], scope: Scope, depth: int = 0) -> str:
    """The expression as CEL; ExpressionError at the token that it cannot have."""
    return _Reading(items, scope, depth).expression()


def split(items: Sequence[Item]) -> list[list[Item]]:
    """What stands between the commas; nothing of nothing."""
    parts: list[list[Item]] = [[]]
    for item in items:
        if isinstance(item, Token) and item.type == "COMMA":
            parts.append([])
        else:
            parts[-1].append(item)
    return parts if items else []


def bounded(length: int, token: Token) -> None:
    """Refuse CEL of that many characters before more is made of it: names stand for paths, and some words repeat."""
    if length > MAX_SOURCE:
        raise refused(token, f"the expression is over the limit of {MAX_SOURCE} characters", "split it into rules")


def first_token(items: Sequence[Item]) -> Token:
    """Where an expression begins."""
    return items[0].token if isinstance(items[0], Group) else items[0]


def bound(token: Token, scope: Scope) -> Binding:
    """What a `$name` stands for."""
    found = scope.bindings.get(token.value)
    if found is None:
        known = ", ".join(sorted(scope.bindings))
        advice = f"bound here: {known}" if known else f"bind it in a pattern: {token.value}: Number from KEY"
        raise refused(token, f"{token.value} is not bound by a pattern that always holds", advice)
    return found


def format_call(arguments: Group, scope: Scope, depth: int = 0) -> str:
    """The text that `format!(arguments)` makes, as CEL."""
    match split(arguments.items):
        case [[Token(type="STRING") as text], *values] if all(values):
            named = dict(_named(index, value) for index, value in enumerate(values))
            return formatted(text, {name: translated(value, scope, depth) for name, value in named.items()})
        case _:
            raise refused(arguments.token, "format! takes a text, and values", 'write format!("… {} …", VALUE)')


def _named(position: int, value: list[Item]) -> tuple[str, list[Item]]:
    """An argument by its name, or by its position."""
    match value:
        case [Token(type="NAME") as name, Token(type="ASSIGN", value="="), *rest] if rest:
            return str(name.value), rest
        case _:
            return str(position), value


class _Reading:
    """One expression, read from left to right."""

    def __init__(self, items: Sequence[Item], scope: Scope, depth: int) -> None:
        self._items = items
        self._scope = scope
        self._depth = depth
        self._next = 0
        if depth > MAX_DEPTH:
            raise refused(first_token(items), f"brackets nest deeper than {MAX_DEPTH} levels", "split the rule")

    def expression(self) -> str:
        pieces: list[str] = []
        wants_operand = True
        length = 0
        while (item := self._peek()) is not None:
            if wants_operand and not _is_operator(item, "!", "-"):
                pieces.append(self.operand())
                wants_operand = False
            elif isinstance(item, Token) and (wants_operand or item.type in {"OPERATOR", "COLON", "COMMA"}):
                self._next += 1
                pieces.append(item.value)
                wants_operand = True
            else:
                pieces.append(self._worded(pieces.pop(), item))
            length += len(pieces[-1])
            bounded(length, first_token(self._items))
        return " ".join(pieces)

    def operand(self) -> str:
        """A value with its fields, elements and calls."""
        text = self._primary()
        while (item := self._peek()) is not None:
            if isinstance(item, Group) and item.token.value == "[":
                text += f"[{self._inside(item)}]"
            elif isinstance(item, Token) and item.type == "FIELD":
                text = self._step(text, item)
                continue
            else:
                break
            self._next += 1
        return text

    @property
    def rest(self) -> Sequence[Item]:
        """What is not read yet."""
        return self._items[self._next :]

    def _peek(self) -> Item | None:
        return self._items[self._next] if self._next < len(self._items) else None

    def _take_arguments(self) -> Group | None:
        item = self._peek()
        if isinstance(item, Group) and item.token.value == "(":
            self._next += 1
            return item
        return None

    def _inside(self, group: Group) -> str:
        return translated(group.items, self._scope, self._depth + 1) if group.items else ""

    def _primary(self) -> str:
        item = self._items[self._next]
        self._next += 1
        if isinstance(item, Group):
            return f"[{self._inside(item)}]" if item.token.value == "[" else f"({self._inside(item)})"
        if item.type == "VAR":
            return bound(item, self._scope).cel
        if item.type == "NUMBER":
            return _number(item)
        if item.type == "STRING":
            return str(item.value)
        if item.type == "MACRO":
            return self._macro(item)
        if item.type == "NAME":
            return self._name(item)
        raise refused(item, f"{item.value!r} is not expected here")

    def _macro(self, token: Token) -> str:
        arguments = self._take_arguments()
        if token.value != "format!" or arguments is None:
            raise refused(token, f"{token.value} is not a value", 'use format!("… {} …", VALUE)')
        return format_call(arguments, self._scope, self._depth + 1)

    def _name(self, token: Token) -> str:
        name, scope = str(token.value), self._scope
        if (arguments := self._take_arguments()) is not None:
            if name in _CLOCKS and not arguments.items:
                return "run.time"
            return f"{names.FUNCTIONS.get(name, name)}({self._inside(arguments)})"
        if name in names.LITERALS:
            return names.LITERALS[name]
        if scope.this is None:
            return names.key(name, scope.roots)
        if name == "this":
            return scope.this
        if scope.is_object:
            return scope.this + names.field(name)
        return f"size({scope.this})" if name in {"length", "size"} else names.key(name, scope.roots)

    def _step(self, text: str, token: Token) -> str:
        self._next += 1
        name = token.value[1:].strip()
        arguments = self._take_arguments()
        if arguments is None:
            return text + names.field(name)
        if not arguments.items and (getter := _GETTER.fullmatch(name)) and not _PARTS_OF_TIME.match(name):
            return text + names.field(getter[1].lower() + getter[2])
        if not arguments.items and name in _EMPTY:
            return f"({text}.size() == 0)"
        if name == "equals":
            return f"({text} == ({self._inside(arguments)}))"
        return f"{text}.{_METHODS.get(name, name)}({self._inside(arguments)})"

    def _worded(self, left: str, item: Item) -> str:
        """`left WORD right`, or `left not WORD right`."""
        word, negated = self._word(item)
        if self._peek() is None:
            raise refused(word, f"{word.value!r} is followed by nothing", "write a value after it")
        if word.value == "in" and (choices := self._take_arguments()) is not None:
            right = f"[{self._inside(choices)}]"
        else:
            right = self.operand()
        return f"{'!' if negated else ''}({_compared(left, word.value, right)})"

    def _word(self, item: Item) -> tuple[Token, bool]:
        self._next += 1
        following = self._peek()
        if isinstance(item, Token) and item.type == "NAME":
            if item.value in _WORDS:
                return item, False
            if item.value == "not" and isinstance(following, Token) and following.value in _WORDS:
                self._next += 1
                return following, True
        token = first_token([item])
        raise refused(token, f"{token.value!r} is not expected here", "put an operator between two values")


def _compared(left: str, word: str, right: str) -> str:
    if word == "matches":  # Java's has to match the whole text
        return f'{left}.matches("^(?:" + {right} + ")$")'
    if word == "contains":
        part = right if right[0] in _QUOTES else f"dyn({right})"  # of a list it need not be a text
        return f"type({left}) == list ? {right} in {left} : {left}.contains({part})"
    if word in {"in", "memberOf"}:
        return f"{left} in {right}"
    return f"{left}.{word}({right})"


def leading_operand(items: Sequence[Item], scope: Scope) -> tuple[str, Sequence[Item]]:
    """The first operand of an expression as CEL, and what follows it."""
    reading = _Reading(items, scope, 0)
    return reading.operand(), reading.rest


def _is_operator(item: Item, *values: str) -> bool:
    return isinstance(item, Token) and item.type == "OPERATOR" and item.value in values


def _number(token: Token) -> str:
    match = _NUMBER.fullmatch(token.value)
    if match is None:
        raise refused(token, f"{token.value!r} is not a number")
    return match[1].replace("_", "")
