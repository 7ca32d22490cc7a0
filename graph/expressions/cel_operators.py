"""CEL's operators on JSON's one number type. Each takes the cost of the evaluation first, and charges it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from anabranch.graph.expressions.cel_values import (
    NUMBERS,
    EvaluationFailed,
    Instant,
    Maybe,
    NoOverload,
    Span,
    checked,
    contained,
    equal,
    key_of,
    ordered,
)
from anabranch.graph.expressions.cost import VALUE_SIZE, Cost
from anabranch.graph.expressions.functions.optionals import chosen


def _number(value: Any) -> Any:
    """A result of arithmetic: a float as it is, an integer if it is not too large."""
    return value if type(value) is float else checked(value)


def plus(cost: Cost, a: Any, b: Any) -> Any:
    """Adds numbers and times, joins texts and lists."""
    first, second = type(a), type(b)
    if first in NUMBERS and second in NUMBERS:
        return _number(a + b)
    if first is str and second is str:
        cost.build(len(a) + len(b))
        return a + b
    if first is list and second is list:
        cost.build(VALUE_SIZE * (len(a) + len(b)))
        return a + b
    if Span in (first, second) and {first, second} <= {Span, Instant}:
        return (Instant if Instant in (first, second) else Span)(a.nanos + b.nanos)
    raise NoOverload("+", a, b)


def minus(_cost: Cost, a: Any, b: Any) -> Any:
    """Subtracts numbers and times."""
    first, second = type(a), type(b)
    if first in NUMBERS and second in NUMBERS:
        return _number(a - b)
    if first in (Instant, Span) and second in (first, Span):
        return (Span if first is second else Instant)(a.nanos - b.nanos)
    raise NoOverload("-", a, b)


def times(_cost: Cost, a: Any, b: Any) -> Any:
    """Multiplies numbers."""
    if type(a) in NUMBERS and type(b) in NUMBERS:
        return _number(a * b)
    raise NoOverload("*", a, b)


def divide(_cost: Cost, a: Any, b: Any) -> Any:
    """Divides numbers: to an integer where it comes out even, else to a float."""
    if type(a) not in NUMBERS or type(b) not in NUMBERS:
        raise NoOverload("/", a, b)
    if b == 0:
        raise EvaluationFailed("divide by zero")
    if type(a) is not float and type(b) is not float and a % b == 0:
        return checked(a // b)
    return a / b


def modulo(_cost: Cost, a: Any, b: Any) -> Any:
    """The rest of a division, with the sign of the first."""
    if type(a) not in NUMBERS or type(b) not in NUMBERS:
        raise NoOverload("%", a, b)
    if b == 0:
        raise EvaluationFailed("modulus by zero")
    if type(a) is float or type(b) is float:
        return math.nan if math.isinf(a) else math.fmod(a, b)
    rest = abs(a) % abs(b)
    return -rest if a < 0 else rest


def negative(_cost: Cost, a: Any) -> Any:
    """The number with its sign changed."""
    if type(a) in NUMBERS:
        return _number(-a)
    raise NoOverload("-", a)


def negation(_cost: Cost, a: Any) -> Any:
    """`!`."""
    if a is True or a is False:
        return not a
    raise not_boolean("!")


def not_boolean(operator: str) -> EvaluationFailed:
    """The error for an operand of `&&`, `||` or `!` that is neither true nor false."""
    return EvaluationFailed(f"`{operator}` takes only true and false", "compare with something, as in `total > 0`")


def unequal(cost: Cost, a: Any, b: Any) -> bool:
    """`!=`."""
    return not equal(cost, a, b)


def less(cost: Cost, a: Any, b: Any) -> bool:
    """`<`."""
    ordered("<", cost, a, b)
    return bool(a < b)


def at_most(cost: Cost, a: Any, b: Any) -> bool:
    """`<=`."""
    ordered("<=", cost, a, b)
    return bool(a <= b)


def greater(cost: Cost, a: Any, b: Any) -> bool:
    """`>`."""
    ordered(">", cost, a, b)
    return bool(a > b)


def at_least(cost: Cost, a: Any, b: Any) -> bool:
    """`>=`."""
    ordered(">=", cost, a, b)
    return bool(a >= b)


def index(cost: Cost, holder: Any, key: Any) -> Any:
    """The element of a list at a position, or the value of an object under a key."""
    if type(holder) is dict:
        found = key_of(key)
        if found not in holder:
            raise EvaluationFailed(f"the object has no key {key!r}", "ask whether it is `in` the object first")
        return holder[found]
    if type(holder) is Maybe:
        return chosen(cost, holder, key)
    if type(holder) is not list:
        raise NoOverload("[]", holder, key)
    if type(key) not in NUMBERS or (type(key) is float and not key.is_integer()):
        raise NoOverload("[]", holder, key)
    if not 0 <= key < len(holder):
        raise EvaluationFailed(f"there is no element {int(key)} in a list of {len(holder)}")
    return holder[int(key)]


OPERATORS: dict[str, Callable[..., Any]] = {
    "_+_": plus,
    "_-_": minus,
    "_*_": times,
    "_/_": divide,
    "_%_": modulo,
    "-_": negative,
    "!_": negation,
    "_==_": equal,
    "_!=_": unequal,
    "_<_": less,
    "_<=_": at_most,
    "_>_": greater,
    "_>=_": at_least,
    "@in": contained,
    "_[_]": index,
}
"""By CEL's names; `&&`, `||` and `? :` do not evaluate all their operands and are not functions."""
