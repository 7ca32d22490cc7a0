"""What a Drools-like rule does: `insert!(key => value)`, assignments, `modify`, `if … else if … else …`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeAlias

from lark import Token

from anabranch.context.values import Path
from anabranch.graph.expressions.expressions import ROOTS, Expression
from anabranch.graph.rules.chained_rule import Action, Assignment, Branch, Complete, Retract
from anabranch.graph.rules.drools_terms import (
    MAX_DEPTH,
    Group,
    Item,
    Scope,
    bound,
    first_token,
    format_call,
    split,
    translated,
)
from anabranch.graph.rules.grl import known_rule
from anabranch.graph.rules.names import compiled, refused


@dataclass(frozen=True, slots=True)
class Words:
    """A statement without braces."""

    items: list[Item]


@dataclass(frozen=True, slots=True)
class Choice:
    """`if CONDITION { … } else if CONDITION { … } else { … }`."""

    token: Token
    cases: list[tuple[list[Item], list[Statement]]]
    otherwise: list[Statement]


@dataclass(frozen=True, slots=True)
class Modify:
    """`modify ($object) { setField(value), field = value }`."""

    token: Token
    target: Group
    changes: list[Item]


Statement: TypeAlias = Words | Choice | Modify

_WRITES = ("insert", "insert!", "update!", "set!")
_TOLD = ("Log", "log", "log!", "println", "println!", "print!", "eprintln!", "dbg!", "trace!", "debug!", "info!")
_SAID = frozenset((*_TOLD, "warn!", "error!"))
_REMOVES = frozenset({"retract", "retract!", "delete", "delete!", "remove!"})
_HOW = "write insert!(key => VALUE); or key = VALUE; or if CONDITION { … } else { … }"


def expressions_in(statements: Sequence[Statement]) -> int:
    """How many expressions the statements have, those of all branches counted; however deep they nest."""
    waiting, found = list(statements), 0
    while waiting:
        statement = waiting.pop()
        if isinstance(statement, Choice):
            found += len(statement.cases)
            waiting += [*statement.otherwise, *(inner for _, block in statement.cases for inner in block)]
        elif isinstance(statement, Modify):
            found += len(split(statement.changes))
        else:
            found += max((len(split(item.items)) for item in statement.items if isinstance(item, Group)), default=1)
    return found


@dataclass(frozen=True, slots=True)
class Actions:
    """Translates the statements of one rule."""

    scope: Scope
    rules: Sequence[str]

    def of(self, statements: Sequence[Statement], depth: int = 0) -> tuple[Action, ...]:
        """The actions, in order."""
        return tuple(action for statement in statements for action in self._statement(statement, depth))

    def _statement(self, statement: Statement, depth: int) -> Iterator[Action]:
        if isinstance(statement, Words):
            yield from self._words(statement.items)
        elif isinstance(statement, Modify):
            yield from self._modify(statement)
        elif depth >= MAX_DEPTH:
            raise refused(statement.token, f"blocks nest deeper than {MAX_DEPTH} levels", "use else if, or more rules")
        else:
            cases = tuple((self._value(condition), self.of(inner, depth + 1)) for condition, inner in statement.cases)
            yield Branch(cases, self.of(statement.otherwise, depth + 1))

    def _words(self, items: list[Item]) -> Iterator[Action]:
        match items:
            case [Token(type="NAME" | "MACRO") as name, Group(token=Token(value="(")) as arguments]:
                yield from self._call(name, arguments)
            case [Token(value="drools"), Token(type="FIELD", value=".halt"), Group(items=[])]:
                yield Complete()
            case [Token(value="System"), Token(value=".out"), Token(type="FIELD"), Group() as arguments]:
                self._say(arguments)
            case [Token(type="VAR") as variable, Token(type="FIELD") as setter, Group() as value] if _set_by(setter):
                yield self._assigned(variable, (*self._path_of(variable), _set_by(setter)), value.items)
            case _:
                yield self._assignment(items)

    def _call(self, name: Token, arguments: Group) -> Iterator[Action]:
        word = str(name.value)
        if word in _WRITES:
            for pair in split(arguments.items):
                yield self._inserted(name, pair)
        elif word in _SAID:
            self._say(arguments)
        elif word in {"Complete", "halt", "halt!"} and not arguments.items:
            yield Complete()
        elif word in {"update", "modify"} and [item for item in arguments.items if _is_variable(item)]:
            self._path_of(first_token(arguments.items))  # what was assigned is seen at once
        elif word == "Retract" and len(arguments.items) == 1 and first_token(arguments.items).type == "STRING":
            yield Retract(known_rule(first_token(arguments.items), self.rules))
        elif word in _REMOVES:
            raise refused(name, "a rule cannot remove a key", "write insert!(key => nil), and look for nil")
        else:
            close = get_close_matches(word, (*_WRITES, *_SAID), n=1)
            raise refused(name, f"there is no action {word}", f"did you mean {close[0]}?" if close else _HOW)

    def _say(self, arguments: Group) -> None:
        """What would be printed: nothing is made of it, but it says what is wrong with it."""
        match parts := split(arguments.items):
            case [[Token(type="STRING", value=text)], *_] if "{" in text:
                compiled(format_call(arguments, self.scope), self.scope.roots, arguments.token)
            case _:
                for part in filter(None, parts):
                    self._value(part)

    def _inserted(self, name: Token, pair: list[Item]) -> Assignment:
        arrow = next((index for index, item in enumerate(pair) if _is(item, "ARROW")), None)
        if arrow is None or not pair[:arrow] or not pair[arrow + 1 :]:
            raise refused(name, f"{name.value} names no key", f"write {_WRITES[1]}(key => VALUE)")
        key = pair[:arrow]
        token = first_token(key)
        if token.type == "STRING":
            return self._assigned(token, (str(token.value[1:-1]),), pair[arrow + 1 :])
        return self._assigned(token, self._path(key), pair[arrow + 1 :])

    def _assignment(self, items: list[Item]) -> Assignment:
        at = next((index for index, item in enumerate(items) if _is(item, "ASSIGN")), 0)
        if not at or not items[at + 1 :]:
            raise refused(first_token(items), f"{_shown(items)} is not an action", _HOW)
        operator = first_token([items[at]]).value
        value = items[at + 1 :]
        if operator != "=":
            sign, token = Token("OPERATOR", operator[0]), first_token(value)
            value = [*items[:at], sign, Group(Token.new_borrow_pos("OPEN", "(", token), value)]
        return self._assigned(first_token(items), self._path(items[:at]), value)

    def _modify(self, modify: Modify) -> Iterator[Assignment]:
        target = modify.target.items
        if len(target) != 1 or not _is_variable(target[0]):
            raise refused(modify.token, "modify names no bound object", "write modify ($object) { field = VALUE }")
        variable = first_token(target)
        base = self._path_of(variable)
        for change in split(modify.changes):
            match change:
                case [Token(type="NAME") as name, Group(token=Token(value="(")) as value] if _set_by(name):
                    yield self._assigned(name, (*base, _set_by(name)), value.items)
                case [Token(type="NAME") as name, Token(type="ASSIGN", value="="), *rest] if rest:
                    yield self._assigned(name, (*base, str(name.value)), rest)
                case _:
                    raise refused(modify.token, "modify changes fields", "write modify ($object) { field = VALUE }")

    def _assigned(self, token: Token, path: Path, value: Sequence[Item]) -> Assignment:
        if path[0] in ROOTS | self.scope.roots:
            raise refused(token, f"{path[0]!r} cannot be written", "assign to a context key")
        if not value:
            raise refused(token, f"{path[-1]!r} is given no value", _HOW)
        return Assignment(path, self._value(value))

    def _value(self, items: Sequence[Item]) -> Expression:
        return compiled(translated(items, self.scope), self.scope.roots, first_token(items))

    def _path(self, items: Sequence[Item]) -> Path:
        first, *steps = items
        token = first_token([first])
        base = self._path_of(token) if token.type == "VAR" else (str(token.value),)
        if token.type not in {"VAR", "NAME"} or not all(_is(step, "FIELD") for step in steps):
            raise refused(token, f"{_shown(items)} cannot be assigned", "assign to a key, or to a field of one")
        return (*base, *(first_token([step]).value[1:].strip() for step in steps))

    def _path_of(self, variable: Token) -> Path:
        path = bound(variable, self.scope).path
        if path is None:
            raise refused(variable, f"{variable.value} is not a key of the context or a field of one", _HOW)
        return path


def _is(item: Item, kind: str) -> bool:
    return isinstance(item, Token) and item.type == kind


def _is_variable(item: Item) -> bool:
    return _is(item, "VAR")


def _set_by(setter: Token) -> str:
    """The field that Java's `setField` sets; nothing for another method."""
    name = setter.value.removeprefix(".").strip()
    is_setter = name.startswith("set") and name[3:4].isupper()
    return f"{name[3].lower()}{name[4:]}" if is_setter else ""


def _shown(items: Sequence[Item]) -> str:
    return "".join(item.value if isinstance(item, Token) else item.token.value + "…" for item in items)[:40]
