"""CEL's macros over lists and objects. They go over an object by its keys, in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from anabranch.errors import ExpressionError
from anabranch.graph.expressions.cel_operators import not_boolean
from anabranch.graph.expressions.cel_values import EvaluationFailed, sorted_keys
from anabranch.graph.expressions.cost import VALUE_SIZE, Cost

Environment: TypeAlias = dict[str, Any]
"""The values of an evaluation's variables; under `COST`, what it costs."""
Evaluator: TypeAlias = Callable[[Environment], Any]
COST = "cost"
"""No variable has this name: those of reads begin with `@`, those of loops with `#`."""
_ABSORBED = 20


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop over `objects`, with its variable at `place`; an iteration costs `units`."""

    objects: Evaluator
    place: str
    test: Evaluator
    """Of `map` without a condition: always true."""
    element: Evaluator
    """Of a macro that builds no list: nothing."""
    units: int


@dataclass(frozen=True, slots=True)
class LoopParts:
    """What a macro was written with: its test, if any, and what it makes of an element, if anything."""

    macro: Callable[[Loop], Evaluator]
    test: Any
    element: Any


def parts_of(loop: Any) -> LoopParts:
    """The macro that the parser expanded to this comprehension. Authors cannot write one themselves."""
    start, step = loop.accu_init, loop.loop_step.call
    if start.HasField("list"):
        if step.function == "_?_:_":
            return LoopParts(build, step.args[0], step.args[1].call.args[1].list.elements[0])
        return LoopParts(build, None, step.args[1].list.elements[0])
    if start.constant.HasField("bool_value"):
        return LoopParts(every if start.constant.bool_value else some, step.args[1], None)
    if start.constant.HasField("int64_value"):
        return LoopParts(exactly_one, step.args[0], None)
    raise ExpressionError("this loop is not one of all, exists, exists_one, map and filter")


def no_condition() -> EvaluationFailed:
    """The error for a condition that is neither true nor false."""
    return EvaluationFailed(
        "the condition of ? : is neither true nor false", "compare it with something, as in `total > 0`"
    )


def every(loop: Loop) -> Evaluator:
    """`all`."""
    return _decided(loop, decisive=False)


def some(loop: Loop) -> Evaluator:
    """`exists`."""
    return _decided(loop, decisive=True)


def _decided(loop: Loop, *, decisive: bool) -> Evaluator:
    """One element that decides makes up for the errors of others."""
    objects, place, units, test = loop.objects, loop.place, loop.units, loop.test
    operator = "||" if decisive else "&&"

    def evaluate(env: Environment) -> Any:
        cost, failure = env[COST], None
        for value in _elements(objects(env), cost):
            env[place] = value
            cost.turn(units)
            try:
                found = test(env)
            except EvaluationFailed as error:
                cost.spend(_ABSORBED)
                failure = failure or error
                continue
            if found is decisive:
                return decisive
            if found is not (not decisive):
                failure = failure or not_boolean(operator)
        if failure is not None:
            raise failure
        return not decisive

    return evaluate


def exactly_one(loop: Loop) -> Evaluator:
    """`exists_one`."""
    objects, place, units, test = loop.objects, loop.place, loop.units, loop.test

    def evaluate(env: Environment) -> bool:
        cost, found = env[COST], 0
        for value in _elements(objects(env), cost):
            env[place] = value
            cost.turn(units)
            found += _condition(test(env))
        return found == 1

    return evaluate


def build(loop: Loop) -> Evaluator:
    """`map` and `filter`."""
    objects, place, units, test, element = loop.objects, loop.place, loop.units, loop.test, loop.element

    def evaluate(env: Environment) -> list[Any]:
        cost, made = env[COST], []
        for value in _elements(objects(env), cost):
            env[place] = value
            cost.turn(units)
            if _condition(test(env)):
                cost.build(VALUE_SIZE)
                made.append(element(env))
        return made

    return evaluate


def _condition(value: Any) -> bool:
    if value is True or value is False:
        return value
    raise no_condition()


def _elements(objects: Any, cost: Cost) -> list[Any]:
    if type(objects) is list:
        return objects
    if type(objects) is dict:
        return sorted_keys(objects, cost)
    raise EvaluationFailed("only lists and objects can be looped over")
