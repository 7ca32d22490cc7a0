"""Functions of objects. Values are found by keys, and keys go in their order."""

from __future__ import annotations

from typing import Any, Final

from anabranch.graph.expressions.cel_values import ELEMENT, NoOverload, key_of, sorted_keys
from anabranch.graph.expressions.cost import VALUE_SIZE, Cost
from anabranch.graph.expressions.functions.function import Function


def size(_cost: Cost, value: Any) -> int:
    """The characters of a text, or the elements of a list or object."""
    if type(value) in (str, list, dict, bytes):
        return len(value)
    raise NoOverload("size", value)


def keys(cost: Cost, entries: Any) -> list[Any]:
    """The keys of an object, in their order."""
    if type(entries) is not dict:
        raise NoOverload("keys", entries)
    return sorted_keys(entries, cost)


def values(cost: Cost, entries: Any) -> list[Any]:
    """The values of an object, in the order of their keys."""
    if type(entries) is not dict:
        raise NoOverload("values", entries)
    return [entries[key_of(key)] for key in sorted_keys(entries, cost)]


def merged(cost: Cost, entries: Any, others: Any) -> dict[Any, Any]:
    """An object with the keys of two; where both have one, with the value of the second."""
    if type(entries) is not dict or type(others) is not dict:
        raise NoOverload("merge", entries, others)
    _build(cost, len(entries) + len(others))
    return {**entries, **others}


def picked(cost: Cost, entries: Any, names: Any) -> dict[Any, Any]:
    """An object with only these keys, those of them that it has."""
    wanted = _wanted("pick", cost, entries, names)
    return {key: value for key, value in entries.items() if key in wanted}


def omitted(cost: Cost, entries: Any, names: Any) -> dict[Any, Any]:
    """An object without these keys."""
    unwanted = _wanted("omit", cost, entries, names)
    return {key: value for key, value in entries.items() if key not in unwanted}


def _wanted(function: str, cost: Cost, entries: Any, names: Any) -> set[Any]:
    if type(entries) is not dict or type(names) is not list:
        raise NoOverload(function, entries, names)
    _build(cost, len(entries) + len(names))
    return {key_of(name) for name in names}


def _build(cost: Cost, entries: int) -> None:
    cost.build(VALUE_SIZE * entries)
    cost.spend(ELEMENT * entries)


OBJECTS: Final = (
    Function(
        "size",
        ("size(value: any) -> whole", "text.size() -> whole", "list.size() -> whole", "object.size() -> whole"),
        "The characters of a text, or the elements of a list or object.",
        ("size(name) => 3", "lines.size() => 2", "size(stock) => 2"),
        size,
        known=4,
    ),
    Function(
        "has",
        ("has(object.key) -> boolean",),
        "Whether an object has a key. `has(context.KEY)` asks whether the context has one.",
        ("has(context.coupon) => true", "has(context.voucher) => false", "has(stock.tea) => true"),
        known=1,
    ),
    Function(
        "keys",
        ("object.keys() -> list",),
        "The keys of an object, in their order.",
        ('stock.keys() => ["cup", "tea"]',),
        keys,
        own=True,
    ),
    Function(
        "values",
        ("object.values() -> list",),
        "The values of an object, in the order of their keys.",
        ("stock.values() => [0, 10]",),
        values,
        own=True,
    ),
    Function(
        "merge",
        ("object.merge(other: object) -> object",),
        "An object with the keys of two. Where both have one, the value is that of the second.",
        ('stock.merge({"cup": 5, "pot": 1}) => {"tea": 10, "cup": 5, "pot": 1}',),
        merged,
        own=True,
    ),
    Function(
        "pick",
        ("object.pick(keys: list) -> object",),
        "An object with only these keys, those of them that it has.",
        ('stock.pick(["tea", "pot"]) => {"tea": 10}',),
        picked,
        own=True,
    ),
    Function(
        "omit",
        ("object.omit(keys: list) -> object",),
        "An object without these keys.",
        ('stock.omit(["tea"]) => {"cup": 0}',),
        omitted,
        own=True,
    ),
)
