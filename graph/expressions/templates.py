"""Templates: JSON whose texts, at any depth, may hold `{{ CEL }}` holes. Keys of objects are literal.

A text that is exactly one hole keeps the type of its value (`"{{ weight * 2.5 }}"` is a number). With text around it,
a hole becomes text: a text as it is, a number as JSON prints it (`12`, `1.5`; a whole number without `.0`), `true` or
`false`, nothing for null, and compact JSON for lists and objects. A literal `{{` is written `{{ '{{' }}`. Values that
fill holes are data: nothing in them is looked at again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from anabranch.context.values import Json, Path
from anabranch.errors import EvaluationError, ExpressionError
from anabranch.graph.expressions.cost import Cost
from anabranch.graph.expressions.expressions import MAX_SOURCE, Expression, compile_expression
from anabranch.graph.expressions.json_text import text_of

MAX_TEXT = 2 * 1024 * 1024
"""Characters that the texts of a template may come to, when its holes are filled."""

_HOLE = "{{"
# What a hole is made of, as far as its end is concerned: texts (raw, triple, plain), words, comments, braces.
_TOKEN = re.compile(
    r"""[bB]?[rR][bB]?(?:'''.*?'''|\"\"\".*?\"\"\"|'[^'\n]*'|"[^"\n]*")
        | '''(?:\\.|[^\\])*?''' | \"\"\"(?:\\.|[^\\])*?\"\"\"
        | '(?:\\.|[^'\\\n])*' | "(?:\\.|[^"\\\n])*"
        | \w+ | //[^\n]* | (?P<open>\{) | (?P<close>\}) | .""",
    re.VERBOSE | re.DOTALL,
)
_HELD = 16
_NOTHING: frozenset[str] = frozenset()
_SCALAR = "12345678"
"""Stands for a number, or the frame of a list, where characters are counted."""


@dataclass(slots=True)
class _Room:
    """How many characters the texts of one rendering may still take, and what its expressions may cost."""

    cost: Cost
    left: int = MAX_TEXT
    values: int = 0
    """Lists and objects that were put in whole."""

    def take(self, text: str) -> str:
        self.left -= len(text)
        if self.left < 0:
            raise EvaluationError(
                f"the texts of the template come to more than {MAX_TEXT} characters",
                suggestion="put less into them, or pass the values on as they are",
            )
        return text

    def hold(self, value: Json) -> Json:
        """Bound what a template that repeats large values comes to: from the 16th list or object on, all count."""
        self.values += 1
        if self.values > _HELD:
            self._count(value)
        return value

    def _count(self, value: Json) -> None:
        waiting = [value]
        while waiting:
            value = waiting.pop()
            self.take(value if isinstance(value, str) else _SCALAR)
            if isinstance(value, list | dict):
                waiting += value if isinstance(value, list) else value.values()


_Fill = Callable[[Mapping[str, Json], Mapping[str, Json], _Room], Json]


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template. It holds no state and may be shared between threads."""

    keys: frozenset[str] | None
    """The context keys that it reads; None when it reads `context` as a whole."""
    names: frozenset[str]
    """The reserved roots that it uses."""
    required: frozenset[str]
    """The keys that it cannot do without: see `Expression.required`."""
    constant: bool
    """It has no holes and always renders to itself."""
    _holes: tuple[Expression, ...]
    _fill: _Fill

    @property
    def needs(self) -> frozenset[Path]:
        """The paths that must be there: see `Expression.needs`."""
        return frozenset().union(*(hole.needs for hole in self._holes))

    def render(self, data: Mapping[str, Json], roots: Mapping[str, Json], cost: Cost | None = None) -> Json:
        """The value with its holes filled in, all charged to one cost; EvaluationError naming what has no value.

        Shares structure with the template and the context: change neither.
        """
        return self._fill(data, roots, _Room(cost or Cost()))

    def text(self, data: Mapping[str, Json], roots: Mapping[str, Json], cost: Cost | None = None) -> str:
        """The value as text, where a field takes nothing else: nothing for null, as with text around the hole."""
        return text_of(self.render(data, roots, cost))

    def values(self, data: Mapping[str, Json], roots: Mapping[str, Json], cost: Cost | None = None) -> list[Json]:
        """The values of its holes in order, each of its own type. Raises as `render` does."""
        cost = cost or Cost()
        return [hole.evaluate(data, roots, cost) for hole in self._holes]


def compile_template(value: Json, roots: frozenset[str] = frozenset()) -> Template:
    """The template; `roots` are the names reserved in its expressions beside `context` and `run`.

    ExpressionError with `path` to the text inside `value`, `line` and `column` inside that text.
    """
    found: list[Expression] = []
    fill = _compile(value, roots, found, ())
    if fill is None:
        return Template(
            _NOTHING, _NOTHING, _NOTHING, constant=True, _holes=(), _fill=lambda _data, _roots, _room: value
        )
    if len(found) == 1:  # as in most, where to unite sets takes longer than to evaluate the hole
        only = found[0]
        return Template(only.keys, only.names, only.required, constant=False, _holes=(only,), _fill=fill)
    keys: set[str] | None = set()
    for expression in found:
        keys = None if keys is None or expression.keys is None else keys | expression.keys
    return Template(
        keys=None if keys is None else frozenset(keys),
        names=frozenset().union(*(expression.names for expression in found)),
        required=frozenset().union(*(expression.required for expression in found)),
        constant=False,
        _holes=tuple(found),
        _fill=fill,
    )


def _compile(value: Json, roots: frozenset[str], found: list[Expression], path: tuple[str | int, ...]) -> _Fill | None:
    """What fills `value`, or None where it has no holes."""
    if isinstance(value, str):
        try:
            parts = _parts(value, roots)
        except ExpressionError as error:
            raise _at(error, path) from None
        found += [part for part in parts if isinstance(part, Expression)]
        return _text(parts) if _HOLE in value else None
    if isinstance(value, list):
        items = [_compile(item, roots, found, (*path, index)) for index, item in enumerate(value)]
        return _list(value, items) if any(items) else None
    if isinstance(value, dict):
        entries = {key: _compile(item, roots, found, (*path, key)) for key, item in value.items()}
        return _object(value, entries) if any(entries.values()) else None
    return None


def _at(error: ExpressionError, path: tuple[str | int, ...]) -> ExpressionError:
    return ExpressionError(error.message, suggestion=error.suggestion, line=error.line, column=error.column, path=path)


def _list(values: list[Json], items: list[_Fill | None]) -> _Fill:
    pairs = list(zip(values, items, strict=True))
    return lambda data, roots, room: [value if fill is None else fill(data, roots, room) for value, fill in pairs]


def _object(values: dict[str, Json], entries: dict[str, _Fill | None]) -> _Fill:
    triples = [(key, values[key], fill) for key, fill in entries.items()]
    return lambda data, roots, room: {
        key: value if fill is None else fill(data, roots, room) for key, value, fill in triples
    }


def _text(parts: tuple[str | Expression, ...]) -> _Fill:
    def whole(data: Mapping[str, Json], roots: Mapping[str, Json], room: _Room) -> Json:
        value = cast("Expression", parts[0]).evaluate(data, roots, room.cost)
        if isinstance(value, str):
            return room.take(value)
        return room.hold(value) if isinstance(value, list | dict) else value

    def joined(data: Mapping[str, Json], roots: Mapping[str, Json], room: _Room) -> Json:
        return "".join(
            room.take(part if isinstance(part, str) else text_of(part.evaluate(data, roots, room.cost)))
            for part in parts
        )

    return whole if len(parts) == 1 and isinstance(parts[0], Expression) else joined


@lru_cache(maxsize=4096)
def _parts(text: str, roots: frozenset[str]) -> tuple[str | Expression, ...]:
    """Literal text and expressions, in order; a hole's expression compiled with its place in `text`."""
    parts: list[str | Expression] = []
    position = 0
    for start, end in _holes(text):
        if start > position:
            parts.append(text[position:start])
        parts.append(_expression(text, start + len(_HOLE), end, roots))
        position = end + len(_HOLE)
    if position < len(text):
        parts.append(text[position:])
    return tuple(parts)


def _holes(text: str) -> Iterator[tuple[int, int]]:
    """The offsets of each hole's `{{` and `}}`."""
    position = 0
    while (start := text.find(_HOLE, position)) >= 0:
        end = _end_of_hole(text, start + len(_HOLE))
        if end is None:
            line, column = _place(text, start)
            raise ExpressionError(
                "a {{ without its }}",
                suggestion="close it, or write {{ '{{' }} for the text {{",
                line=line,
                column=column,
            )
        yield start, end
        position = end + len(_HOLE)


def _end_of_hole(text: str, position: int) -> int | None:
    depth = 0
    for token in _TOKEN.finditer(text, position, position + MAX_SOURCE + len(_HOLE)):
        if token.lastgroup == "open":
            depth += 1
        elif token.lastgroup == "close" and depth:
            depth -= 1
        elif token.lastgroup == "close" and text.startswith("}}", token.start()):
            return token.start()
    return None


def _expression(text: str, start: int, end: int, roots: frozenset[str]) -> Expression:
    source = text[start:end]
    stripped = source.strip()
    offset = start + len(source) - len(source.lstrip())
    line, column = _place(text, offset)
    if not stripped:
        raise ExpressionError(
            "an empty {{ }}", suggestion="name a key, or write {{ '{{' }} for the text {{", line=line, column=column
        )
    try:
        return compile_expression(stripped, roots)
    except ExpressionError as error:
        raise ExpressionError(
            error.message,
            suggestion=error.suggestion,
            line=line + error.line - 1,
            column=error.column + (column - 1 if error.line == 1 else 0),
        ) from None


def _place(text: str, offset: int) -> tuple[int, int]:
    before = text[:offset]
    return before.count("\n") + 1, offset - before.rfind("\n")
