"""Macros over lists and objects: those that CEL's parser expands, and those that are evaluated here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from anabranch.graph.expressions.cel_loops import COST, Environment, Evaluator, no_condition
from anabranch.graph.expressions.cel_values import EvaluationFailed, NoOverload, key_of, sorted_keys, word_of
from anabranch.graph.expressions.cost import VALUE_SIZE, Cost
from anabranch.graph.expressions.functions.function import Function, Macro
from anabranch.graph.expressions.functions.lists import comparable, in_order


@dataclass(frozen=True, slots=True)
class Body:
    """A macro over `objects`, with its names at `places`; an iteration costs `units`."""

    objects: Evaluator
    places: tuple[str, ...]
    test: Evaluator | None
    element: Evaluator
    units: int


def _sorted_by(body: Body) -> Evaluator:
    def evaluate(env: Environment) -> list[Any]:
        values, keys = _keyed("sortBy", body, env)
        return in_order("sortBy", env[COST], values, keys)

    return evaluate


def _best_by(name: str, choose: Callable[..., int]) -> Callable[[Body], Evaluator]:
    def make(body: Body) -> Evaluator:
        def evaluate(env: Environment) -> Any:
            values, keys = _keyed(name, body, env)
            if not keys:
                raise EvaluationFailed(f"{name} takes at least one element", "ask `size(…) > 0` first")
            comparable(name, env[COST], keys)
            return values[choose(range(len(keys)), key=keys.__getitem__)]

        return evaluate

    return make


def _grouped_by(body: Body) -> Evaluator:
    def evaluate(env: Environment) -> dict[str, list[Any]]:
        values, keys = _keyed("groupBy", body, env)
        groups: dict[str, list[Any]] = {}
        for value, key in zip(values, keys, strict=True):
            groups.setdefault(_group(env[COST], key), []).append(value)
        env[COST].build(VALUE_SIZE * len(groups))
        return groups

    return evaluate


def _group(cost: Cost, key: Any) -> str:
    if type(key) is str:
        return key
    if key is True or key is False:
        return "true" if key else "false"
    if type(key) is not float and isinstance(key, int):
        text = str(int(key))
        cost.build(len(text))
        return text
    raise EvaluationFailed(
        f"groupBy makes keys of texts, whole numbers and booleans, not of {word_of(key)}", "convert with string(x)"
    )


def _keyed(name: str, body: Body, env: Environment) -> tuple[list[Any], list[Any]]:
    """The elements of the list, and what the macro's expression makes of each."""
    values, cost, (place,) = body.objects(env), env[COST], body.places
    if type(values) is not list:
        raise NoOverload(name, values)
    keys = []
    for value in values:
        env[place] = value
        cost.turn(body.units)
        cost.build(VALUE_SIZE)
        keys.append(body.element(env))
    return values, keys


def _transformed_list(body: Body) -> Evaluator:
    def evaluate(env: Environment) -> list[Any]:
        return [body.element(env) for _ in _kept("transformList", body, env)]

    return evaluate


def _transformed_object(body: Body) -> Evaluator:
    def evaluate(env: Environment) -> dict[Any, Any]:
        return {key_of(key): body.element(env) for key in _kept("transformMap", body, env)}

    return evaluate


def _transformed_entries(body: Body) -> Evaluator:
    def evaluate(env: Environment) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for _ in _kept("transformMapEntry", body, env):
            entry = body.element(env)
            if type(entry) is not dict:
                raise EvaluationFailed(
                    f"transformMapEntry makes an object of each element, this is {word_of(entry)}", "write {key: value}"
                )
            env[COST].build(VALUE_SIZE * len(entry))
            if twice := made.keys() & entry.keys():
                raise EvaluationFailed(f"duplicate key {min(map(str, twice))!r} in an object")
            made.update(entry)
        return made

    return evaluate


def _kept(name: str, body: Body, env: Environment) -> Iterator[Any]:
    """The keys or positions whose values meet the condition, each while the macro's names have their values."""
    objects, cost, (first, second) = body.objects(env), env[COST], body.places
    for key, value in _pairs(name, objects, cost):
        env[first], env[second] = key, value
        cost.turn(body.units)
        if body.test is None or _holds(body.test(env)):
            cost.build(VALUE_SIZE)
            yield key


def _pairs(name: str, objects: Any, cost: Cost) -> Iterator[tuple[Any, Any]]:
    if type(objects) is list:
        return enumerate(objects)
    if type(objects) is dict:
        return ((key, objects[key_of(key)]) for key in sorted_keys(objects, cost))
    raise NoOverload(name, objects)


def _holds(value: Any) -> bool:
    if value is True or value is False:
        return value
    raise no_condition()


_ONE, _WITH_CONDITION = frozenset({1}), frozenset({1, 2})
LOOPS: Final = (
    Function(
        "map",
        ("list.map(x, expression) -> list", "list.map(x, condition, expression) -> list"),
        "What an expression makes of each element, or of those that meet a condition. Over an object it goes by keys.",
        (
            "lines.map(line, line.price * line.pieces) => [12, 7.5]",
            'lines.map(line, line.pieces > 1, line.sku) => ["tea"]',
            "stock.map(sku, stock[sku]) => [0, 10]",
        ),
        known=2,
    ),
    Function(
        "filter",
        ("list.filter(x, condition) -> list",),
        "The elements, or the keys of an object, that meet a condition.",
        (
            'lines.filter(line, line.price > 5).map(line, line.sku) => ["cup"]',
            'stock.filter(sku, stock[sku] > 0) => ["tea"]',
        ),
        known=1,
    ),
    Function(
        "all",
        ("list.all(x, condition) -> boolean",),
        "Whether all elements, or keys of an object, meet a condition.",
        ("lines.all(line, line.pieces > 0) => true",),
        known=1,
    ),
    Function(
        "exists",
        ("list.exists(x, condition) -> boolean",),
        "Whether one or more do.",
        ("lines.exists(line, line.price > 5) => true",),
        known=1,
    ),
    Function(
        "exists_one",
        ("list.exists_one(x, condition) -> boolean",),
        "Whether exactly one does.",
        ('lines.exists_one(line, line.sku == "tea") => true',),
        known=1,
    ),
    Function(
        "sortBy",
        ("list.sortBy(x, key) -> list",),
        "The elements in the order of what an expression makes of each. Equal ones stay as they are.",
        ('lines.sortBy(line, line.pieces).map(line, line.sku) => ["cup", "tea"]',),
        macro=Macro(1, _ONE, _sorted_by),
    ),
    Function(
        "minBy",
        ("list.minBy(x, key) -> any",),
        "The first element for which an expression is smallest.",
        ('lines.minBy(line, line.price).sku => "tea"',),
        macro=Macro(1, _ONE, _best_by("minBy", min)),
        own=True,
    ),
    Function(
        "maxBy",
        ("list.maxBy(x, key) -> any",),
        "The first element for which an expression is largest.",
        ('lines.maxBy(line, line.price).sku => "cup"',),
        macro=Macro(1, _ONE, _best_by("maxBy", max)),
        own=True,
    ),
    Function(
        "groupBy",
        ("list.groupBy(x, key) -> object",),
        "The elements by what an expression makes of each: an object of lists. "
        "Its keys are texts, those of numbers and booleans too.",
        ('[1, 2, 3, 4].groupBy(n, n % 2 == 0 ? "even" : "odd") => {"odd": [1, 3], "even": [2, 4]}',),
        macro=Macro(1, _ONE, _grouped_by),
        own=True,
    ),
    Function(
        "transformList",
        ("any.transformList(k, v, expression) -> list", "object.transformList(k, v, condition, expression) -> list"),
        "What an expression makes of each key and value of an object, or of each position and element of a list.",
        (
            'stock.transformList(sku, n, "%s: %d".format([sku, n])) => ["cup: 0", "tea: 10"]',
            'tags.transformList(i, tag, i > 0, tag) => ["gift"]',
        ),
        macro=Macro(2, _WITH_CONDITION, _transformed_list),
    ),
    Function(
        "transformMap",
        (
            "any.transformMap(k, v, expression) -> object",
            "any.transformMap(k, v, condition, expression) -> object",
        ),
        "An object with the same keys, and for values what an expression makes of each.",
        (
            'stock.transformMap(sku, n, n + 1) => {"cup": 1, "tea": 11}',
            'stock.transformMap(sku, n, n > 0, n * 2) => {"tea": 20}',
        ),
        macro=Macro(2, _WITH_CONDITION, _transformed_object),
    ),
    Function(
        "transformMapEntry",
        (
            "any.transformMapEntry(k, v, object) -> object",
            "any.transformMapEntry(k, v, condition, object) -> object",
        ),
        "An object of the entries that an expression makes of each. A key that is made twice is an error.",
        ('lines.transformMapEntry(i, line, {line.sku: line.price}) => {"tea": 4, "cup": 7.5}',),
        macro=Macro(2, _WITH_CONDITION, _transformed_entries),
    ),
    Function(
        "cel.bind",
        ("cel.bind(x, value, expression) -> any",),
        "An expression in which a name stands for a value, so that it is evaluated once.",
        ("cel.bind(sum, lines.map(line, line.price).sum(), sum > 10 ? sum - 1.5 : sum) => 10.0",),
        known=1,
    ),
)
