"""The syntax tree of a CEL expression: what it reads, and the tree that is evaluated.

Before a tree is evaluated

- each read (`order.total`, `has(context.coupon)`) becomes one variable, so that only what is read is converted;
- `+` and `/` become those of `cel_functions.py`: one bounds what it builds, the other knows one number type;
- `map` and `filter` over an object go by its sorted keys: the runtime's own order changes with the process;
- what a loop builds is counted as it is built: `[x].map(a, [a, a]).map(b, [b, b])…` doubles at each step, and the
  runtime counts iterations, not sizes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from anabranch.graph.expressions.cel_tree import Expr, SyntaxRefused, Tree

TYPE_NAMES = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint", "google"})
"""Identifiers that CEL keeps for its types; a context key of such a name is reached as `context.NAME`."""
MATH_FUNCTIONS = frozenset({"abs", "ceil", "floor", "isFinite", "isInf", "isNaN", "round", "sign", "sqrt", "trunc"})
REPLACED = {"_+_": "@plus", "_/_": "@divide"}
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
CHUNK = 100
"""Elements that a list-building loop collects before it begins another list."""
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
    program: bytes
    """The serialized tree, in which the variable `@i` is `reads[i]`."""
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
    return Syntax(tuple(rewriter.reads), tree.serialized(), direct, "".join(rewriter.anonymous))


@dataclass(slots=True)
class _Rewriter:
    """Puts variables for reads, bounded functions for unbounded ones, and order into loops over objects."""

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
        if call.HasField("target") and not _is_math(call):
            self.visit(call.target, bound)
        accumulates = _accumulates(call)
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
            if bound and _copies(entry):
                entry.CopyFrom(_counted(entry))

    def _loop(self, loop: Any, bound: frozenset[str]) -> None:
        is_list = loop.iter_range.loop.accu_init.HasField("list")
        self.visit(loop.iter_range, bound)
        inner = bound | {loop.iter_var, loop.accu_var}
        if not loop.accu_init.HasField("list"):
            for part in (loop.loop_condition, loop.loop_step, loop.result):
                self.visit(part, inner)
            return
        condition, built = _parts(loop.loop_step)
        if condition is not None:
            self.visit(condition, inner)
        self.visit(built, inner)
        if _copies(built) and built.ident.name != loop.iter_var:
            built.CopyFrom(_counted(built))
        if not (loop.iter_range.HasField("list") or is_list):
            loop.iter_range.CopyFrom(_in_order(loop.iter_range))
        _chunk(loop, condition, built)


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


def _accumulates(call: Any) -> bool:
    """Whether this is the `accumulator + [element]` or `accumulator + 1` of a macro. Authors cannot write `@`."""
    return bool(call.function == "_+_" and call.args[0].ident.name.startswith("@"))


def _parts(step: Any) -> tuple[Any | None, Any]:
    """The condition, if any, and the element of a step `condition ? accumulator + [element] : accumulator`."""
    if step.call.function == "_?_:_":
        condition, then, _ = step.call.args
        return condition, then.call.args[1].list.elements[0]
    return None, step.call.args[1].list.elements[0]


def _chunk(loop: Any, condition: Any | None, built: Any) -> None:
    """Make the loop collect in chunks: the runtime copies a list to append to it, so that one list costs n² copies.

    The accumulator is `[full chunks, chunk]`. The loop ends where too much has been built; CEL goes on after an error.
    """
    name = loop.accu_var
    full, chunk = (_call("_[_]", _name(name), Expr(constant={"int64_value": index})) for index in (0, 1))
    has_room = _call("_<_", _call("size", chunk), Expr(constant={"int64_value": CHUNK}))
    chunks = _call("_?_:_", has_room, full, _call("_+_", full, _list(chunk)))
    step = _list(chunks, _call("_+_", _call("_?_:_", has_room, chunk, _list()), _list(built)))
    if condition is not None:
        step = _call("_?_:_", condition, step, _name(name))
    joined = _loop("@chunk", full, "@joined", _list(), _call("_+_", _name("@joined"), _name("@chunk")))
    joined.loop.loop_condition.constant.bool_value = True
    joined.loop.result.CopyFrom(_call("_+_", _name("@joined"), chunk))
    loop.accu_init.CopyFrom(_list(_list(), _list()))
    loop.loop_condition.CopyFrom(_call("@may_build"))
    loop.loop_step.CopyFrom(step)
    loop.result.CopyFrom(joined)


def _copies(expr: Any) -> bool:
    """Whether the value is another one's, of any size. Lists and objects count their entries, functions themselves."""
    if expr.HasField("call"):
        return expr.call.function in ("_?_:_", "_[_]", "dyn", "string")
    return not (expr.HasField("list") or expr.HasField("struct"))


def _counted(value: Any) -> Any:
    """`let built = value in @count(built) ? built : built`; `@count` fails where too much has been built."""
    built = _name("@built")
    return _let("@built", value, _call("_?_:_", _call("@count", built), built, built))


def _in_order(objects: Any) -> Any:
    """`let range = objects in type(range) == map ? @keys(range) : range`."""
    held = _name("@range")
    is_map = _call("_==_", _call("type", held), _name("map"))
    return _let("@range", objects, _call("_?_:_", is_map, _call("@keys", held), held))


def _let(name: str, value: Any, result: Any) -> Any:
    """A variable, evaluated once: as CEL's `cel.bind` has it, a loop over nothing."""
    let = _loop("@unused", _list(), name, value, _name(name))
    let.loop.loop_condition.constant.bool_value = False
    let.loop.result.CopyFrom(result)
    return let


def _loop(variable: str, objects: Any, accumulator: str, start: Any, step: Any) -> Any:
    return Expr(
        loop={
            "iter_var": variable,
            "iter_range": objects,
            "accu_var": accumulator,
            "accu_init": start,
            "loop_step": step,
        }
    )


def _call(function: str, *args: Any) -> Any:
    return Expr(call={"function": function, "args": args})


def _name(name: str) -> Any:
    return Expr(ident={"name": name})


def _list(*elements: Any) -> Any:
    return Expr(list={"elements": elements})
