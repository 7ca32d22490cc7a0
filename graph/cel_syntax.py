"""The syntax tree of a CEL expression: what it reads, how far its values may grow, and the tree that is evaluated.

The runtime's parser hands its tree out as a serialized `cel.expr.ParsedExpr`
(https://github.com/google/cel-spec/blob/master/proto/cel/expr/syntax.proto). Before it is evaluated

- each read (`order.total`, `has(context.coupon)`) becomes one variable, so that only what is read is converted;
- `+` and `/` become those of `graph/cel_functions.py`: one bounds what it builds, the other knows one number type;
- `map` and `filter` over an object go by its sorted keys: the runtime's own order changes with the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory

TYPE_NAMES = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint", "google"})
"""Identifiers that CEL keeps for its types; a context key of such a name is reached as `context.NAME`."""
MATH_FUNCTIONS = frozenset({"abs", "ceil", "floor", "isFinite", "isInf", "isNaN", "round", "sign", "sqrt", "trunc"})
REPLACED = {"_+_": "@plus", "_/_": "@divide"}
MAX_NAME = 256
"""Characters of a free name."""
LOOP_GROWTH = 32
MAX_GROWTH = 100_000
MAX_ARGUMENT_GROWTH = 4_096

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _Field.TYPE_BOOL,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "string": _Field.TYPE_STRING,
}
# The part of syntax.proto that is looked at: message, field, (number, type); a star repeats. Protobuf keeps the rest.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "ParsedExpr": {"expr": (2, "Expr"), "source_info": (3, "SourceInfo")},
    "SourceInfo": {"positions": (4, "Position*")},
    "Position": {"key": (1, "int64"), "value": (2, "int32")},
    "Expr": {
        "id": (2, "int64"),
        "constant": (3, "Constant"),
        "ident": (4, "Ident"),
        "select": (5, "Select"),
        "call": (6, "Call"),
        "list": (7, "List"),
        "struct": (8, "Struct"),
        "loop": (9, "Comprehension"),
    },
    "Constant": {"bool_value": (2, "bool"), "string_value": (6, "string")},
    "Ident": {"name": (1, "string")},
    "Select": {"operand": (1, "Expr"), "field": (2, "string"), "test_only": (3, "bool")},
    "Call": {"target": (1, "Expr"), "function": (2, "string"), "args": (3, "Expr*")},
    "List": {"elements": (1, "Expr*")},
    "Struct": {"name": (1, "string"), "entries": (2, "Entry*")},
    "Entry": {"map_key": (3, "Expr"), "value": (4, "Expr")},
    "Comprehension": {
        "iter_var": (1, "string"),
        "iter_range": (2, "Expr"),
        "accu_var": (3, "string"),
        "accu_init": (4, "Expr"),
        "loop_condition": (5, "Expr"),
        "loop_step": (6, "Expr"),
        "result": (7, "Expr"),
    },
}


def _schema() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="cel_syntax.proto", package="cel", syntax="proto2")
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            label = _Field.LABEL_REPEATED if kind.endswith("*") else _Field.LABEL_OPTIONAL
            added = described.field.add(name=name, number=number, label=label)
            if scalar := _SCALARS.get(kind):
                added.type = scalar
            else:
                added.type, added.type_name = _Field.TYPE_MESSAGE, f".cel.{kind.rstrip('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


# Declared as proto2, where a constant `false` or `""` that was read is written again.
_POOL = _schema()
_ParsedExpr: Any = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("cel.ParsedExpr"))
_Expr: Any = message_factory.GetMessageClass(_POOL.FindMessageTypeByName("cel.Expr"))


class SyntaxRefused(ValueError):
    """The tree holds what Anabranch does not evaluate. `offset` counts the source's characters."""

    def __init__(self, message: str, offset: int, suggestion: str) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.suggestion = suggestion


@dataclass(frozen=True, slots=True)
class Read:
    """A value that an expression reads: `path` begins with a root or a context key.

    With `test` only whether the last step is there is asked (`has(…)`).
    """

    path: tuple[str, ...]
    test: bool = False

    @property
    def asks_for_key(self) -> bool:
        """Whether it is `has(context.KEY)`."""
        return self.test and len(self.path) == len(("context", "KEY")) and self.path[0] == "context"


@dataclass(frozen=True, slots=True)
class Syntax:
    """A parsed expression."""

    reads: tuple[Read, ...]
    program: bytes
    """The serialized tree in which the variable `@i` stands for `reads[i]`."""
    direct: bool
    """The whole expression is one read."""
    anonymous: str
    """The source with underscores for the letters of free names, so that one checker knows them all: `_`, `__`, …"""


def analyse(source: str, serialized: bytes) -> Syntax:
    """The syntax of a serialized `ParsedExpr`; SyntaxRefused when a value in it may grow without bound."""
    envelope = any_pb2.Any.FromString(serialized)
    parsed = _ParsedExpr.FromString(envelope.value)
    offsets = {position.key: position.value for position in parsed.source_info.positions}
    _Growth(offsets).of(parsed.expr, {})
    rewriter = _Rewriter(offsets, list(source))
    rewriter.visit(parsed.expr, frozenset())
    envelope.value = parsed.SerializeToString(deterministic=True)
    direct = parsed.expr.ident.name == "@0"
    program = envelope.SerializeToString(deterministic=True)
    return Syntax(tuple(rewriter.reads), program, direct, "".join(rewriter.anonymous))


@dataclass(slots=True)
class _Rewriter:
    """Puts variables for reads, bounded functions for unbounded ones, and order into loops over objects."""

    offsets: dict[int, int]
    anonymous: list[str]
    reads: dict[Read, str] = field(default_factory=dict)

    def visit(self, expr: Any, bound: frozenset[str]) -> None:
        if read := _read(expr, bound):
            self._hide(expr)
            name = self.reads.setdefault(read, f"@{len(self.reads)}")
            expr.CopyFrom(_Expr(id=expr.id, ident={"name": name}))
        elif expr.HasField("select"):
            self.visit(expr.select.operand, bound)
        elif expr.HasField("call"):
            self._call(expr, bound)
        elif expr.HasField("list"):
            for element in expr.list.elements:
                self.visit(element, bound)
        elif expr.HasField("struct"):
            self._struct(expr, bound)
        elif expr.HasField("loop"):
            self._loop(expr.loop, bound)

    def _hide(self, expr: Any) -> None:
        while not expr.HasField("ident"):
            expr = expr.select.operand if expr.HasField("select") else expr.call.args[0]
        name, offset = expr.ident.name.removeprefix("."), self.offsets[expr.id]
        if len(name) > MAX_NAME:
            raise SyntaxRefused(f"a name has at most {MAX_NAME} characters", offset, 'write context["…"]')
        self.anonymous[offset : offset + len(name)] = "_" * len(name)

    def _call(self, expr: Any, bound: frozenset[str]) -> None:
        call = expr.call
        if call.function == "bytes":
            raise SyntaxRefused("JSON has no bytes", self.offsets.get(expr.id, 0), "keep them as Base64 text")
        if call.HasField("target") and not _is_math(call):
            self.visit(call.target, bound)
        accumulates = call.function == "_+_" and call.args[0].ident.name.startswith("@")
        for argument in call.args:
            self.visit(argument, bound)
        if not accumulates:
            call.function = REPLACED.get(call.function, call.function)

    def _struct(self, expr: Any, bound: frozenset[str]) -> None:
        if expr.struct.name:
            raise SyntaxRefused(
                f"{expr.struct.name!r} is a message type; JSON has none",
                self.offsets.get(expr.id, 0),
                "write an object: {'key': value}",
            )
        for entry in expr.struct.entries:
            self.visit(entry.map_key, bound)
            self.visit(entry.value, bound)

    def _loop(self, loop: Any, bound: frozenset[str]) -> None:
        builds_list = loop.accu_init.HasField("list")
        self.visit(loop.iter_range, bound)
        self.visit(loop.accu_init, bound)
        inner = bound | {loop.iter_var, loop.accu_var}
        self.visit(loop.loop_condition, inner)
        self.visit(loop.loop_step, inner)
        self.visit(loop.result, inner)
        if builds_list and not loop.iter_range.HasField("list"):
            loop.iter_range.CopyFrom(_in_order(loop.iter_range))


def _read(expr: Any, bound: frozenset[str]) -> Read | None:
    if expr.HasField("select") and expr.select.test_only:
        path = _path(expr.select.operand, bound)
        return Read((*path, expr.select.field), test=True) if path else None
    path = _path(expr, bound)
    return Read(path) if path else None


def _path(expr: Any, bound: frozenset[str]) -> tuple[str, ...]:
    """`order.total` and `order["total"]` as `("order", "total")`; empty for anything else."""
    if expr.HasField("ident"):
        name = expr.ident.name
        return () if name in bound or name in TYPE_NAMES else (name.removeprefix("."),)
    if expr.HasField("select") and not expr.select.test_only:
        path = _path(expr.select.operand, bound)
        return (*path, expr.select.field) if path else ()
    if expr.HasField("call") and expr.call.function == "_[_]":
        operand, index = expr.call.args
        path = _path(operand, bound)
        return (*path, index.constant.string_value) if path and _is_text(index) else ()
    return ()


def _is_text(expr: Any) -> bool:
    return bool(expr.HasField("constant") and expr.constant.HasField("string_value"))


def _is_math(call: Any) -> bool:
    return call.target.ident.name == "math" and call.function in MATH_FUNCTIONS


def _call(function: str, *args: Any) -> Any:
    return _Expr(call={"function": function, "args": args})


def _name(name: str) -> Any:
    return _Expr(ident={"name": name})


def _in_order(objects: Any) -> Any:
    """`let range = objects in type(range) == map ? @keys(range) : range`, where a loop over nothing is the `let`."""
    held = _name("@range")
    is_map = _call("_==_", _call("type", held), _name("map"))
    return _Expr(
        loop={
            "iter_var": "@unused",
            "iter_range": _Expr(list={}),
            "accu_var": "@range",
            "accu_init": objects,
            "loop_condition": _Expr(constant={"bool_value": False}),
            "loop_step": held,
            "result": _call("_?_:_", is_map, _call("@keys", held), held),
        }
    )


@dataclass(frozen=True, slots=True)
class _Size:
    """How many copies of one input a value may hold: in all, and in one element of it."""

    whole: int = 1
    element: int = 1


_ONE = _Size()


@dataclass(frozen=True, slots=True)
class _Growth:
    """Bounds what an expression may build out of copies: `[x].map(a, [a, a]).map(b, [b, b])…` doubles at each step.

    The runtime counts iterations, not sizes. A loop counts as `LOOP_GROWTH` copies, whatever it goes over.
    """

    offsets: dict[int, int]

    def of(self, expr: Any, scope: Mapping[str, _Size]) -> _Size:
        size = self._of(expr, scope)
        self._limit(expr, size, MAX_GROWTH)
        return size

    def _of(self, expr: Any, scope: Mapping[str, _Size]) -> _Size:
        if expr.HasField("ident"):
            return scope.get(expr.ident.name, _ONE)
        if expr.HasField("select"):
            element = self.of(expr.select.operand, scope).element
            return _Size(element, element)
        if expr.HasField("call"):
            return self._call(expr, scope)
        if expr.HasField("list"):
            return _total([self.of(element, scope) for element in expr.list.elements])
        if expr.HasField("struct"):
            return _total([self.of(part, scope) for e in expr.struct.entries for part in (e.map_key, e.value)])
        return self._loop(expr.loop, scope) if expr.HasField("loop") else _ONE

    def _call(self, expr: Any, scope: Mapping[str, _Size]) -> _Size:
        call = expr.call
        sizes = [self.of(arg, scope) for arg in ([call.target] if call.HasField("target") else []) + list(call.args)]
        if call.function == "_?_:_":
            return _largest(sizes[1:])
        for size in sizes:
            self._limit(expr, size, MAX_ARGUMENT_GROWTH)
        if call.function == "_[_]":
            return _Size(sizes[0].element, sizes[0].element)
        if call.function == "_+_":
            return _Size(sum(size.whole for size in sizes), max(size.element for size in sizes))
        return _ONE if call.function.startswith(("_", "@", "!", "size")) else _largest(sizes)

    def _loop(self, loop: Any, scope: Mapping[str, _Size]) -> _Size:
        range_size = self.of(loop.iter_range, scope)
        item = _Size(range_size.element, range_size.element)
        inner = {**scope, loop.iter_var: item, loop.accu_var: _ONE}
        if not loop.accu_init.HasField("list"):
            self.of(loop.loop_step, inner)
            return _ONE
        step = loop.loop_step
        if step.call.function == "_?_:_":
            self.of(step.call.args[0], inner)
            step = step.call.args[1]
        (built,) = step.call.args[1].list.elements
        size = self.of(built, inner)
        kept = built.ident.name == loop.iter_var
        return range_size if kept else _Size(LOOP_GROWTH * size.whole, size.whole)

    def _limit(self, expr: Any, size: _Size, limit: int) -> None:
        if size.whole > limit:
            raise SyntaxRefused(
                f"this may build {size.whole} copies of its inputs, over the limit of {limit}",
                self.offsets.get(expr.id, 0),
                "loop less deeply, or repeat whole values less often",
            )


def _total(sizes: list[_Size]) -> _Size:
    return _Size(sum((size.whole for size in sizes), 1), _largest(sizes).whole)


def _largest(sizes: list[_Size]) -> _Size:
    whole = max((size.whole for size in sizes), default=1)
    return _Size(whole, max((size.element for size in sizes), default=1))
