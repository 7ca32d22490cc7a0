"""The syntax tree of a CEL expression: what it reads, and what it is refused for.

Each read (`order.total`, `has(context.coupon)`) becomes one variable, so that only what is read is looked up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from anabranch.graph.expressions.cel_runtime import MAX_NAME
from anabranch.graph.expressions.cel_tree import Expr, SyntaxRefused, Tree
from anabranch.graph.expressions.cel_values import TYPE_NAMES
from anabranch.graph.expressions.functions.catalogue import CATALOGUE, MACROS, NAMESPACED
from anabranch.graph.expressions.functions.function import Macro

Bound: TypeAlias = Mapping[str, bool]
"""Variables of loops; true for those that the checker does not know, and sees as free names."""
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


@dataclass(frozen=True, slots=True)
class Read:
    """A value that an expression reads: `path` begins with a root or a context key.

    With `test` it only asks whether the last step exists (`has(…)`).
    """

    path: tuple[str, ...]
    test: bool = False
    maybe: int = 0
    """The first step that may be absent (`order.?total`), and with it those behind it; 0 where there is none."""

    @property
    def asks_for_key(self) -> bool:
        """Whether it is `has(context.KEY)`, or reads `context.?KEY`."""
        if self.path[0] != "context":
            return False
        return self.maybe == 1 or (self.test and len(self.path) == len(("context", "KEY")))


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
    rewriter.visit(tree.root, {})
    reads = tuple(rewriter.reads)
    direct = tree.root.ident.name == "@0" and not reads[0].maybe
    return Syntax(reads, tree.root, direct, "".join(rewriter.anonymous))


@dataclass(slots=True)
class _Rewriter:
    """Puts variables for reads."""

    offsets: dict[int, int]
    anonymous: list[str]
    reads: dict[Read, str] = field(default_factory=dict)
    entries: int = 0

    def visit(self, expr: Any, bound: Bound) -> None:
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
        elif bound.get(expr.ident.name):
            self._hide(expr)

    def _hide(self, expr: Any) -> None:
        while not expr.HasField("ident"):
            expr = expr.select.operand if expr.HasField("select") else expr.call.args[0]
        name, offset = expr.ident.name.removeprefix("."), self.offsets[expr.id]
        if len(name) > MAX_NAME:
            raise SyntaxRefused(f"a name has at most {MAX_NAME} characters", offset, 'write context["…"]')
        if instead := LITERALS.get(name):
            raise SyntaxRefused(f"{name!r} is not a CEL literal", offset, f"write {instead}")
        self.anonymous[offset : offset + len(name)] = "_" * len(name)

    def _call(self, expr: Any, bound: Bound) -> None:
        call = expr.call
        if call.function == "bytes":
            raise SyntaxRefused("JSON has no bytes", self.offsets.get(expr.id, 0), "keep them as Base64 text")
        if macro := macro_of(call):
            self._macro(expr, macro, bound)
            return
        if call.HasField("target") and not in_namespace(call):
            self.visit(call.target, bound)
        for argument in call.args:
            self.visit(argument, bound)

    def _macro(self, expr: Any, macro: Macro, bound: Bound) -> None:
        call = expr.call
        self.visit(call.target, bound)
        names, parts = call.args[: macro.names], call.args[macro.names :]
        if len(parts) not in macro.parts or not all(_is_name(name) for name in names):
            form = CATALOGUE[call.function].forms[0].partition(" ->")[0]
            raise SyntaxRefused(f"{call.function} takes other arguments", self.offsets.get(expr.id, 0), f"write {form}")
        for name in names:
            self._hide(name)
        for part in parts:
            self.visit(part, {**bound, **dict.fromkeys((name.ident.name for name in names), True)})

    def _struct(self, expr: Any, bound: Bound) -> None:
        if expr.struct.name:
            raise SyntaxRefused(
                f"{expr.struct.name!r} is a message type; JSON has none",
                self.offsets.get(expr.id, 0),
                "write an object: {'key': value}",
            )
        self._entries(expr, [part for entry in expr.struct.entries for part in (entry.map_key, entry.value)], bound)

    def _entries(self, expr: Any, entries: list[Any], bound: Bound) -> None:
        self.entries += sum(not entry.HasField("constant") for entry in entries)
        if self.entries > MAX_ENTRIES:
            raise SyntaxRefused(
                f"the expression spells out more than {MAX_ENTRIES} elements and values",
                self.offsets.get(expr.id, 0),
                "write the list or object in the YAML, with a hole for each value",
            )
        for entry in entries:
            self.visit(entry, bound)

    def _loop(self, loop: Any, bound: Bound) -> None:
        self.visit(loop.iter_range, bound)
        self.visit(loop.accu_init, bound)
        inner = {**bound, loop.iter_var: False, loop.accu_var: False}
        for part in (loop.loop_condition, loop.loop_step, loop.result):
            self.visit(part, inner)


def _read(expr: Any, bound: Bound) -> Read | None:
    if expr.HasField("select") and expr.select.test_only:
        holder = _path(expr.select.operand, bound)
        return None if holder is None or holder.maybe else Read((*holder.path, expr.select.field), test=True)
    return _path(expr, bound)


def _path(expr: Any, bound: Bound) -> Read | None:
    """`order.total` and `order["total"]`, `order.?total` and `order[?"total"]`; None for anything else."""
    if expr.HasField("ident"):
        name = expr.ident.name
        return None if name in bound or name in TYPE_NAMES else Read((name.removeprefix("."),))
    if expr.HasField("select") and not expr.select.test_only:
        holder = _path(expr.select.operand, bound)
        return holder and Read((*holder.path, expr.select.field), maybe=holder.maybe)
    if expr.HasField("call") and expr.call.function in ("_[_]", "_?._", "_[?_]"):
        operand, index = expr.call.args
        holder = _path(operand, bound)
        if holder is None or not _is_text(index):
            return None
        first = 0 if expr.call.function == "_[_]" else len(holder.path)
        return Read((*holder.path, index.constant.string_value), maybe=holder.maybe or first)
    return None


def _is_text(expr: Any) -> bool:
    return bool(expr.HasField("constant") and expr.constant.HasField("string_value"))


def _is_name(expr: Any) -> bool:
    return bool(expr.HasField("ident") and not expr.ident.name.startswith("."))


def in_namespace(call: Any) -> bool:
    """Whether it is a function such as `math.floor`, and no member of a value."""
    return f"{call.target.ident.name}.{call.function}" in NAMESPACED


def macro_of(call: Any) -> Macro | None:
    """What binds names in the arguments of a call, if the parser did not know it."""
    return MACROS.get(call.function) if call.HasField("target") else None
