"""A rewritten CEL tree as Python functions: evaluated on plain JSON, charged as it goes.

Operations on small values are charged once for the whole expression, and those of a loop once for each iteration. What
takes longer charges itself (`cost.py`). An error is an `EvaluationFailed`, which `&&`, `||` and loops may do without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from anabranch.context.values import Json
from anabranch.errors import ExpressionError
from anabranch.graph.expressions import cel_loops
from anabranch.graph.expressions.cel_loops import COST, Environment, Evaluator
from anabranch.graph.expressions.cel_operators import OPERATORS, not_boolean
from anabranch.graph.expressions.cel_result import as_json
from anabranch.graph.expressions.cel_syntax import in_namespace, macro_of
from anabranch.graph.expressions.cel_values import (
    TYPES_BY_NAME,
    EvaluationFailed,
    Maybe,
    Uint,
    VariableMissing,
    key_of,
    word_of,
)
from anabranch.graph.expressions.cost import Cost
from anabranch.graph.expressions.functions.catalogue import EVALUATED
from anabranch.graph.expressions.functions.function import Macro
from anabranch.graph.expressions.functions.loops import Body
from anabranch.graph.expressions.functions.optionals import chosen

_UNUSED = "#unused"
"""The variable of a loop that the parser makes where nothing is looped over."""
_ABSORBED = 20
"""Units of an error that is caught."""
_IMPLEMENTED: dict[str, Callable[..., Any]] = {**OPERATORS, **EVALUATED}


class Program:
    """An evaluable tree. Evaluating changes nothing in it."""

    __slots__ = ("_evaluate", "_units")

    def __init__(self, root: Any) -> None:
        compiler = _Compiler()
        self._evaluate = compiler.compile(root, {})
        self._units = compiler.nodes

    def evaluate(self, variables: Environment, cost: Cost) -> Json:
        """The value as plain JSON. EvaluationFailed when there is none, OverCost when it takes too much.

        The evaluation keeps its cost and the variables of loops in `variables`, which no other may have.
        """
        cost.begin(self._units)
        variables[COST] = cost
        return as_json(self._evaluate(variables), cost)


class _Compiler:
    """Makes functions of a tree. `nodes` counts what it made, for the charge of an iteration."""

    def __init__(self) -> None:
        self.nodes = 0
        self._loops = 0

    def compile(self, expr: Any, bound: Mapping[str, str]) -> Evaluator:
        """What evaluates `expr`; `bound` says where the variables of the loops around it are."""
        self.nodes += 1
        kind = next(name for name in _PARTS if expr.HasField(name))
        return _PARTS[kind](self, expr, bound)

    def constant(self, expr: Any, _bound: Mapping[str, str]) -> Evaluator:
        """A literal."""
        return _constant(_literal(expr.constant))

    def ident(self, expr: Any, bound: Mapping[str, str]) -> Evaluator:
        """A variable or the name of a type."""
        name = expr.ident.name
        if name in bound:
            place = bound[name]
            return lambda env: env[place]
        if cel_type := TYPES_BY_NAME.get(name):
            return _constant(cel_type)
        return _variable(name)

    def select(self, expr: Any, bound: Mapping[str, str]) -> Evaluator:
        """`x.field`, and `has(x.field)`."""
        if cel_type := TYPES_BY_NAME.get(_dotted(expr)):
            return _constant(cel_type)
        field = expr.select.field
        operand = self.compile(expr.select.operand, bound)
        return _has(operand, field) if expr.select.test_only else _field(operand, field)

    def call(self, expr: Any, bound: Mapping[str, str]) -> Evaluator:
        """An operator or a function."""
        call = expr.call
        if macro := macro_of(call):
            return self._macro(call, macro, bound)
        name, parts = call.function, list(call.args)
        if call.HasField("target"):
            if in_namespace(call):
                name = f"{call.target.ident.name}.{name}"
            else:
                parts.insert(0, call.target)
        args = [self.compile(part, bound) for part in parts]
        if name in ("_&&_", "_||_"):
            return _either(args[0], args[1], decisive=name == "_||_")
        if name == "_?_:_":
            return _choice(*args)
        if name not in _IMPLEMENTED:
            raise ExpressionError(f"there is no function {name!r}")
        return _applied(_IMPLEMENTED[name], args)

    def list(self, expr: Any, bound: Mapping[str, str]) -> Evaluator:
        """`[…]`."""
        elements = [self.compile(element, bound) for element in expr.list.elements]
        if optional := frozenset(expr.list.optional_indices):
            return _list_of_some(elements, optional)
        return lambda env: [element(env) for element in elements]

    def struct(self, expr: Any, bound: Mapping[str, str]) -> Evaluator:
        """`{…}`."""
        entries = [
            (self.compile(entry.map_key, bound), self.compile(entry.value, bound), entry.optional_entry)
            for entry in expr.struct.entries
        ]
        return _object(entries)

    def loop(self, expr: Any, bound: Mapping[str, str]) -> Evaluator:
        """A macro that the parser expanded: over a list or object, or one that binds a value."""
        if expr.loop.iter_var == _UNUSED:
            return self._binding(expr.loop, bound)
        objects = self.compile(expr.loop.iter_range, bound)
        place = self._place()
        inner = {**bound, expr.loop.iter_var: place}
        before = self.nodes
        parts = cel_loops.parts_of(expr.loop)
        test = _constant(True) if parts.test is None else self.compile(parts.test, inner)
        element = _constant(None) if parts.element is None else self.compile(parts.element, inner)
        return parts.macro(cel_loops.Loop(objects, place, test, element, 2 + self.nodes - before))

    def _binding(self, loop: Any, bound: Mapping[str, str]) -> Evaluator:
        """`cel.bind` and `optMap`."""
        value, place = self.compile(loop.accu_init, bound), self._place()
        body = self.compile(loop.result, {**bound, loop.accu_var: place})

        def evaluate(env: Environment) -> Any:
            env[place] = value(env)
            return body(env)

        return evaluate

    def _macro(self, call: Any, macro: Macro, bound: Mapping[str, str]) -> Evaluator:
        """A macro that the parser does not know: `sortBy`, `transformMap`, …"""
        objects = self.compile(call.target, bound)
        names = [name.ident.name for name in call.args[: macro.names]]
        places = tuple(self._place() for _ in names)
        inner = {**bound, **dict(zip(names, places, strict=True))}
        before = self.nodes
        *tests, element = [self.compile(part, inner) for part in call.args[macro.names :]]
        return macro.make(Body(objects, places, tests[0] if tests else None, element, 2 + self.nodes - before))

    def _place(self) -> str:
        self._loops += 1
        return f"#{self._loops}"


_PARTS: dict[str, Callable[[_Compiler, Any, Mapping[str, str]], Evaluator]] = {
    "constant": _Compiler.constant,
    "ident": _Compiler.ident,
    "select": _Compiler.select,
    "call": _Compiler.call,
    "list": _Compiler.list,
    "struct": _Compiler.struct,
    "loop": _Compiler.loop,
}


def _constant(value: Any) -> Evaluator:
    return lambda _env: value


def _literal(constant: Any) -> Any:
    if constant.HasField("uint64_value"):
        return Uint(constant.uint64_value)
    for name in ("bool_value", "int64_value", "double_value", "string_value", "bytes_value"):
        if constant.HasField(name):
            return getattr(constant, name)
    return None


def _dotted(expr: Any) -> str:
    if expr.HasField("ident"):
        return str(expr.ident.name)
    if not expr.HasField("select"):
        return ""
    return f"{_dotted(expr.select.operand)}.{expr.select.field}"


def _variable(name: str) -> Evaluator:
    def evaluate(env: Environment) -> Any:
        try:
            return env[name]
        except KeyError:
            raise VariableMissing(name) from None

    return evaluate


def _field(operand: Evaluator, field: str) -> Evaluator:
    def evaluate(env: Environment) -> Any:
        holder = operand(env)
        if type(holder) is not dict:
            return _field_of_other(env[COST], holder, field)
        if field not in holder:
            raise EvaluationFailed(
                f"the object has no field {field!r}", f"where it may be absent, write .?{field} and .orValue(…)"
            )
        return holder[field]

    return evaluate


def _field_of_other(cost: Cost, holder: Any, field: str) -> Maybe:
    """What is behind an optional value is optional too; nothing else but objects has fields."""
    if type(holder) is not Maybe:
        raise EvaluationFailed(f"{word_of(holder)} has no field {field!r}", "only objects have fields")
    return chosen(cost, holder, field)


def _has(operand: Evaluator, field: str) -> Evaluator:
    def evaluate(env: Environment) -> bool:
        holder = operand(env)
        if type(holder) is not dict:
            return _field_of_other(env[COST], holder, field).present
        return field in holder

    return evaluate


def _applied(function: Callable[..., Any], args: list[Evaluator]) -> Evaluator:
    match args:
        case [only]:
            return lambda env: function(env[COST], only(env))
        case [first, second]:
            return lambda env: function(env[COST], first(env), second(env))
        case _:
            return lambda env: function(env[COST], *[arg(env) for arg in args])


def _either(left: Evaluator, right: Evaluator, *, decisive: bool) -> Evaluator:
    """`&&` and `||`: a side that decides makes up for an error of the other."""
    operator = "||" if decisive else "&&"

    def evaluate(env: Environment) -> Any:
        try:
            first = left(env)
        except EvaluationFailed as failure:
            return _unless(failure, env)
        if first is decisive:
            return decisive
        if first is not (not decisive):
            return _unless(not_boolean(operator), env)
        second = right(env)
        if second is True or second is False:
            return second
        raise not_boolean(operator)

    def _unless(failure: EvaluationFailed, env: Environment) -> Any:
        env[COST].spend(_ABSORBED)
        try:
            second = right(env)
        except EvaluationFailed:
            raise failure from None
        if second is decisive:
            return decisive
        raise failure

    return evaluate


def _choice(condition: Evaluator, then: Evaluator, otherwise: Evaluator) -> Evaluator:
    def evaluate(env: Environment) -> Any:
        chosen = condition(env)
        if chosen is True:
            return then(env)
        if chosen is False:
            return otherwise(env)
        raise cel_loops.no_condition()

    return evaluate


def _list_of_some(elements: list[Evaluator], optional: frozenset[int]) -> Evaluator:
    """`[a, ?b]`: an optional element only where it is there. The checker sees to it that it is one."""

    def evaluate(env: Environment) -> list[Any]:
        made = []
        for number, element in enumerate(elements):
            value = element(env)
            if number not in optional:
                made.append(value)
            elif value.present:
                made.append(value.value)
        return made

    return evaluate


def _object(entries: list[tuple[Evaluator, Evaluator, bool]]) -> Evaluator:
    def evaluate(env: Environment) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for key, value, optional in entries:
            name = key(env)
            if type(name) is float:
                raise EvaluationFailed("number with a fraction is no key of an object", "keys are texts")
            name = key_of(name)
            if name in made:
                raise EvaluationFailed(f"duplicate key {name!r} in an object")
            found = value(env)
            if not optional:
                made[name] = found
            elif found.present:
                made[name] = found.value
        return made

    return evaluate
