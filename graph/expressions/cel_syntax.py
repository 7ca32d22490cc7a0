"""The syntax tree of a CEL expression: what it reads, and what it is refused for.

Each read (`order.total`, `has(context.coupon)`) becomes one variable, so that only what is read is looked up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from anabranch.graph.expressions.cel_tree import Expr, SyntaxRefused, Tree

TYPE_NAMES = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint", "google"})
"""Identifiers that CEL keeps for its types; a context key of such a name is reached as `context.NAME`."""
MATH_FUNCTIONS = frozenset({"abs", "ceil", "floor", "isFinite", "isInf", "isNaN", "round", "sign", "sqrt", "trunc"})
LITERALS = {
    "True": "true",
    "False": "false",
    "None": "null",
    "TRUE": "true",
    "FALSE": "false",
    "NULL": "null",
    "nil": "null",
    "undefined": "null",
}
"""What other languages call CEL's literals; a context key of such a name is reached as `context.NAME`."""
MAX_ENTRIES = 256
"""Elements of lists and values of objects that an expression spells out, constants apart."""
MAX_NAME = 256
"""Characters of a free name."""


@dataclass(frozen=True, slots=True)
class Read:
    """A value that an expression reads: `path` begins with a root or a context key.

    With `test` it only asks whether the last step exists (`has(…)`).
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
    root: Any
    """The tree, in which the variable `@i` is `reads[i]`."""
    direct: bool
    """The whole expression is one read."""
    anonymous: str
    """The source with underscores for the letters of free names, so that one checker knows them all: `_`, `__`, …"""


def analyse(source: str, serialized: bytes) -> Syntax:
    """The syntax of a serialized `ParsedExpr`; SyntaxRefused for what Anabranch does not evaluate."""
    tree = Tree(serialized)
    rewriter = _Rewriter(tree.offsets, list(source))
    rewriter.visit(tree.root, frozenset())
    direct = tree.root.ident.name == "@0"
    return Syntax(tuple(rewriter.reads), tree.root, direct, "".join(rewriter.anonymous))


@dataclass(slots=True)
class _Rewriter:
    """Puts variables for reads."""

    offsets: dict[int, int]
    anonymous: list[str]
    reads: dict[Read, str] = field(default_factory=dict)
    entries: int = 0

    def visit(self, expr: Any, bound: frozenset[str]) -> None:
        """Rewrite `expr`; `bound` are the variables of the loops around it."""
        if read := _read(expr, bound):
            self._hide(expr)
            name = self.reads.setdefault(read, f"@{len(self.reads)}")
            expr.CopyFrom(Expr(id=expr.id, ident={"name": name}))
        elif expr.HasField("select"):
            self.visit(expr.select.operand, bound)
        elif expr.HasField("call"):
            self._call(expr, bound)
        elif expr.HasField("list"):
            self._entries(expr, list(expr.list.elements), bound)
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
        if instead := LITERALS.get(name):
            raise SyntaxRefused(f"{name!r} is not a CEL literal", offset, f"write {instead}")
        self.anonymous[offset : offset + len(name)] = "_" * len(name)

    def _call(self, expr: Any, bound: frozenset[str]) -> None:
        call = expr.call
        if call.function == "bytes":
            raise SyntaxRefused("JSON has no bytes", self.offsets.get(expr.id, 0), "keep them as Base64 text")
        if call.HasField("target") and not is_math(call):
            self.visit(call.target, bound)
        for argument in call.args:
            self.visit(argument, bound)

    def _struct(self, expr: Any, bound: frozenset[str]) -> None:
        if expr.struct.name:
            raise SyntaxRefused(
                f"{expr.struct.name!r} is a message type; JSON has none",
                self.offsets.get(expr.id, 0),
                "write an object: {'key': value}",
            )
        self._entries(expr, [part for entry in expr.struct.entries for part in (entry.map_key, entry.value)], bound)

    def _entries(self, expr: Any, entries: list[Any], bound: frozenset[str]) -> None:
        self.entries += sum(not entry.HasField("constant") for entry in entries)
        if self.entries > MAX_ENTRIES:
            raise SyntaxRefused(
                f"the expression spells out more than {MAX_ENTRIES} elements and values",
                self.offsets.get(expr.id, 0),
                "write the list or object in the YAML, with a hole for each value",
            )
        for entry in entries:
            self.visit(entry, bound)

    def _loop(self, loop: Any, bound: frozenset[str]) -> None:
        self.visit(loop.iter_range, bound)
        inner = bound | {loop.iter_var, loop.accu_var}
        for part in (loop.loop_condition, loop.loop_step, loop.result):
            self.visit(part, inner)


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


def is_math(call: Any) -> bool:
    """Whether it is a function such as `math.floor`, and no member of a value."""
    return call.target.ident.name == "math" and call.function in MATH_FUNCTIONS
