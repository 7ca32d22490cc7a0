"""CEL, the Common Expression Language: compiled once, evaluated on plain JSON, the same on every machine.

What differs from CEL (https://cel.dev), because JSON has one number type and a workflow must decide the same way when
it is replayed:

- numbers mix freely: `4 * 2.5`, `size(items) * price`, `1 == 1.0`; `7 / 2` is `3.5` and `6 / 2` is the integer `3`;
- `null` is false as a condition; the sides of `? :` may be of different types;
- a timestamp comes out as RFC 3339 text, a duration as `"90s"`; bytes, types, NaN and infinities are refused;
- objects keep the order of their keys; `map` and `filter` go over an object's keys in order;
- no clock: the time is `run.time`, and `timestamp(run.time) + duration("24h")` calculates with it.

The functions are those of `functions/catalogue.py`. Limits: 8,192 characters of source, nesting of 32, 10,000
iterations, 2 MiB of text and elements built or returned, and a cost that grows with the size of what is touched
(`cost.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from google.protobuf.message import DecodeError

from anabranch.context.values import MISSING, Json, Path
from anabranch.errors import EvaluationError, ExpressionError, ExpressionTooCostly
from anabranch.graph.expressions import cel_checker, cel_hints, cel_runtime
from anabranch.graph.expressions.cel_program import Program
from anabranch.graph.expressions.cel_syntax import Read, Syntax, analyse
from anabranch.graph.expressions.cel_tree import SyntaxRefused
from anabranch.graph.expressions.cel_values import EvaluationFailed, Maybe, VariableMissing
from anabranch.graph.expressions.cost import Cost, OverCost
from anabranch.graph.expressions.functions.catalogue import CATALOGUE
from anabranch.graph.expressions.functions.optionals import NONE

ROOTS = frozenset({"context", "run"})
"""Reserved names of every expression; `item`, `index`, `error`, `result` and the like depend on its place."""
MAX_SOURCE = 8192
"""Characters of one expression."""

_SHOWN = 80


class ValueMissing(EvaluationError):
    """An expression needs a value that is not there: a key, a field, a root."""


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a read's value comes from: down `steps` from the context (`root` None) or from a root."""

    name: str
    root: str | None
    steps: tuple[str, ...]
    test: bool

    @property
    def keyed(self) -> bool:
        """Whether the value is that of a context key."""
        return self.root is None and len(self.steps) == 1 and not self.test

    def value(self, data: Mapping[str, Json], roots: Mapping[str, Json]) -> Any:
        """The value, or MISSING; with `test`, whether the last step is there."""
        holder: Any = data if self.root is None else roots.get(self.root, MISSING)
        steps = self.steps[:-1] if self.test else self.steps
        for step in steps:
            if not isinstance(holder, Mapping) or step not in holder:
                return MISSING
            holder = holder[step]
        if self.test:
            return self.steps[-1] in holder if isinstance(holder, Mapping) else MISSING
        return holder if steps or self.root else dict(holder)


@dataclass(frozen=True, slots=True)
class _OptionalSource(_Source):
    """Where the optional value of a read comes from."""

    needed: int
    """The first steps that must be there; those behind them may be absent."""

    @property
    def keyed(self) -> bool:
        """Whether the value is that of a context key: it is what says whether there is one."""
        return False

    def value(self, data: Mapping[str, Json], roots: Mapping[str, Json]) -> Any:
        """The optional value, or MISSING for what must be there, or cannot have fields."""
        holder: Any = data if self.root is None else roots.get(self.root, MISSING)
        for number, step in enumerate(self.steps):
            if number >= self.needed and holder is None:
                return NONE
            if not isinstance(holder, Mapping):
                return MISSING
            if step not in holder:
                return NONE if number >= self.needed else MISSING
            holder = holder[step]
        return Maybe(holder, present=True)


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A compiled CEL expression. It holds no state and may be shared between threads."""

    source: str
    keys: frozenset[str] | None
    """The context keys that it reads; None when it reads `context` as a whole."""
    names: frozenset[str]
    """The reserved roots that it uses."""
    required: frozenset[str]
    """The keys that it reads by their bare name: not by `context.KEY`, and without asking `has(context.KEY)`."""
    paths: frozenset[Path]
    """The paths below context keys that it reads by their bare name: `("order", "total")`."""
    needs: frozenset[Path]
    """The paths that must be there: those of `required` keys, without what is asked for by `has`."""
    tested: frozenset[str]
    """The keys of which it asks `has(context.KEY)`."""
    _keyed: tuple[tuple[str, str], ...] = field(repr=False)
    """Variable and context key of each read that goes no deeper."""
    _sources: tuple[_Source, ...] = field(repr=False)
    _program: Program | None = field(repr=False)

    def evaluate(self, data: Mapping[str, Json], roots: Mapping[str, Json], cost: Cost | None = None) -> Json:
        """The value on this context and these roots, charged to `cost`, or to one of its own.

        EvaluationError when there is none: ValueMissing, or ExpressionTooCostly. Nothing is changed. What the context
        already holds comes back as the same object, not as a copy.
        """
        variables = {name: data[key] for name, key in self._keyed if key in data}
        for source in self._sources:
            value = source.value(data, roots)
            if value is not MISSING:
                variables[source.name] = value
        try:
            if self._program is not None:
                return self._program.evaluate(variables, cost or Cost())
            if "@0" in variables:
                return variables["@0"]
            missing = "@0"
        except VariableMissing as failure:
            missing = failure.message
        except EvaluationFailed as failure:
            raise EvaluationError(f"{_short(self.source)}: {failure.message}", suggestion=failure.suggestion) from None
        except OverCost as over:
            raise ExpressionTooCostly(f"{_short(self.source)}: {over.message}", suggestion=over.suggestion) from None
        message, suggestion = self._missing(missing, data, roots)
        raise ValueMissing(f"{_short(self.source)}: {message}", suggestion=suggestion)

    def _missing(self, name: str, data: Mapping[str, Json], roots: Mapping[str, Json]) -> tuple[str, str | None]:
        for variable, key in self._keyed:
            if variable == name:
                return _what_is_missing(_Source(name, None, (key,), test=False), data, roots)
        return next(_what_is_missing(source, data, roots) for source in self._sources if source.name == name)


@lru_cache(maxsize=4096)
def compile_expression(source: str, roots: frozenset[str] = frozenset()) -> Expression:
    """The expression, checked. `roots` are the names reserved beside `ROOTS`; any other free name is a context key.

    ExpressionError, with line and column inside `source`, where it does not compile.
    """
    if len(source) > MAX_SOURCE:
        raise ExpressionError(
            f"the expression has {len(source)} characters, over the limit of {MAX_SOURCE}",
            suggestion="split it into several rules",
        )
    try:
        syntax = _syntax(source)
        cel_checker.check(syntax.anonymous)
        program = None if syntax.direct else Program(syntax.root)
    except ExpressionError as error:
        error.suggestion = error.suggestion or cel_hints.of_source(source, error.message, CATALOGUE)
        raise
    reserved = ROOTS | roots
    keys = {_key(read, reserved) for read in syntax.reads if read.path[0] == "context" or read.path[0] not in reserved}
    sources = [_source(index, read, reserved) for index, read in enumerate(syntax.reads)]
    tested = frozenset(read.path[1] for read in syntax.reads if read.asks_for_key)
    needs = _needs(syntax.reads, reserved | tested)
    return Expression(
        source=source,
        keys=None if None in keys else frozenset(key for key in keys if key is not None),
        names=frozenset(read.path[0] for read in syntax.reads) & reserved,
        required=frozenset(path[0] for path in needs),
        paths=frozenset(read.path[: read.maybe or None] for read in syntax.reads if read.path[0] not in reserved),
        needs=needs,
        tested=tested,
        _keyed=tuple((source.name, source.steps[0]) for source in sources if source.keyed),
        _sources=tuple(source for source in sources if not source.keyed),
        _program=program,
    )


def evaluate_condition(
    expression: Expression, data: Mapping[str, Json], roots: Mapping[str, Json], cost: Cost | None = None
) -> bool:
    """Whether the condition holds; null counts as false, any other value than a boolean is an EvaluationError."""
    value = expression.evaluate(data, roots, cost)
    if isinstance(value, bool):
        return value
    if value is None:
        return False
    raise EvaluationError(
        f"{_short(expression.source)}: a condition must be true or false, this is {kind_of(value)}",
        suggestion="compare it with something, as in `total > 0`",
    )


def kind_of(value: object) -> str:
    """What a JSON value is, in words: `a text`, `a number`, `null`, …"""
    if value is None:
        return "null"
    kinds = ((bool, "a boolean"), (int | float, "a number"), (str, "a text"), (list, "a list"), (Mapping, "an object"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "no JSON value")


def _syntax(source: str) -> Syntax:
    try:
        return analyse(source, cel_runtime.parse(source))
    except SyntaxRefused as refused:
        before = source[: refused.offset]
        line, column = before.count("\n") + 1, refused.offset - before.rfind("\n")
        raise ExpressionError(refused.message, suggestion=refused.suggestion, line=line, column=column) from None
    except (DecodeError, RecursionError):
        raise ExpressionError("the expression nests too deeply", suggestion="split it into several rules") from None


def _key(read: Read, reserved: frozenset[str]) -> str | None:
    """The context key of a read that is not of another root; None for the whole context."""
    if read.path[0] not in reserved:
        return read.path[0]
    return read.path[1] if len(read.path) > 1 else None


def _needs(reads: tuple[Read, ...], given: frozenset[str]) -> frozenset[Path]:
    """The paths that must be there: of `has(order.total)` the object alone, and so beside it of `order.total` too."""
    asked = [read.path[: read.maybe + 1] if read.maybe else read.path for read in reads if read.test or read.maybe]
    outside = (read for read in reads if read.path[0] not in given)
    paths = {read.path[:-1] if read.test else read.path[: read.maybe or None] for read in outside}
    return frozenset(path for path in paths if not any(path[: len(each)] == each for each in asked))


def _source(index: int, read: Read, reserved: frozenset[str]) -> _Source:
    first, *rest = read.path
    root = first if first in reserved and first != "context" else None
    steps = read.path if first not in reserved else tuple(rest)
    if read.maybe:
        return _OptionalSource(f"@{index}", root, steps, test=False, needed=read.maybe - len(read.path) + len(steps))
    return _Source(f"@{index}", root, steps, read.test)


def _what_is_missing(source: _Source, data: Mapping[str, Json], roots: Mapping[str, Json]) -> tuple[str, str | None]:
    """The message and the suggestion for a read that found nothing."""
    if source.root is not None and source.root not in roots:
        return f"{source.root!r} is not known here", "it has a value only where the graph provides it"
    holder: Any = data if source.root is None else roots[source.root]
    path = [source.root] if source.root else []
    for step in source.steps:
        if not isinstance(holder, Mapping):
            return f"`{_dotted(path)}` is {kind_of(holder)} and has no field {step!r}", "only objects have fields"
        path.append(step)
        if step not in holder:
            break
        holder = holder[step]
    if len(path) == 1:
        return f"the context has no key {path[0]!r}", f"where it may be absent, write {_instead(['context', *path])}"
    return f"`{_dotted(path)}` is not there", f"where it may be absent, write {_instead(path)}"


def _instead(path: list[str]) -> str:
    last = f".?{path[-1]}" if path[-1].isidentifier() else f"[?{json.dumps(path[-1])}]"
    return f"{_dotted(path[:-1])}{last}.orValue(…)"


def _dotted(path: list[str]) -> str:
    rest = (f".{step}" if step.isidentifier() else f"[{json.dumps(step)}]" for step in path[1:])
    return path[0] + "".join(rest)


def _short(source: str) -> str:
    line = " ".join(source.split())
    return f"`{line}`" if len(line) <= _SHOWN else f"`{line[:_SHOWN]}…`"
