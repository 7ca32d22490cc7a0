"""Functions of lists: the names and meanings of CEL's list extension where it has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from anabranch.graph.expressions.cel_values import (
    ELEMENT,
    NUMBERS,
    EvaluationFailed,
    Instant,
    Maybe,
    NoOverload,
    Span,
    word_of,
)
from anabranch.graph.expressions.cost import VALUE_SIZE, Cost
from anabranch.graph.expressions.functions.function import Function
from anabranch.graph.expressions.functions.numbers import average, total

_DEEPEST = 64
_CHARACTERS = 128
"""Of a text that is compared, for one unit."""


def _list(function: str, *values: Any) -> list[Any]:
    if type(values[0]) is not list or any(type(value) is not int for value in values[1:]):
        raise NoOverload(function, *values)
    return values[0]


def _build(cost: Cost, elements: int) -> None:
    cost.build(VALUE_SIZE * elements)
    cost.spend(elements)


def counted(cost: Cost, end: Any) -> list[int]:
    """The whole numbers from 0, up to but without the end."""
    if type(end) is not int:
        raise NoOverload("lists.range", end)
    if end < 0:
        raise EvaluationFailed(f"lists.range counts up to {end}", "give it a number from 0 on")
    _build(cost, end)
    return list(range(end))


def sliced(cost: Cost, values: Any, start: Any, end: Any) -> list[Any]:
    """The elements from a position up to but without another."""
    elements = _list("slice", values, start, end)
    if not 0 <= start <= end <= len(elements):
        raise EvaluationFailed(f"slice {start} to {end} of a list of {len(elements)}")
    _build(cost, end - start)
    return elements[start:end]


def flattened(cost: Cost, values: Any, depth: Any = 1) -> list[Any]:
    """The elements of the lists in a list, so many levels deep."""
    elements = _list("flatten", values, depth)
    if not 0 <= depth <= _DEEPEST:
        raise EvaluationFailed(f"flatten takes a depth from 0 to {_DEEPEST}, not {depth}")
    for _ in range(depth):
        cost.spend(ELEMENT * len(elements))
        if all(type(each) is not list for each in elements):
            break
        _build(cost, sum(len(each) if type(each) is list else 1 for each in elements))
        flat: list[Any] = []
        for each in elements:
            flat.extend(each if type(each) is list else (each,))
        elements = flat
    return elements


def backwards(cost: Cost, value: Any) -> Any:
    """A list or text from its end to its start."""
    if type(value) is str:
        cost.build(len(value))
        return value[::-1]
    elements = _list("reverse", value)
    _build(cost, len(elements))
    return elements[::-1]


def distinct(cost: Cost, values: Any) -> list[Any]:
    """The elements of a list without those that equal an earlier one."""
    elements = _list("distinct", values)
    _build(cost, len(elements))
    found: dict[Any, Any] = {}
    for each in elements:
        found.setdefault(identity_of(cost, each), each)
    return list(found.values())


def identity_of(cost: Cost, value: Any) -> Any:
    """What two values have in common exactly when they are equal, and Python can find it by its hash."""
    cost.spend(2 * ELEMENT)
    kind = type(value)
    if kind is str:
        cost.spend(len(value) // _CHARACTERS)
        return value
    if kind in NUMBERS:
        return (value,) if value == value else object()  # noqa: PLR0124 - not so of NaN, which equals nothing
    if kind is list:
        return ("list", *[identity_of(cost, each) for each in value])
    if kind is dict:
        return frozenset((key, identity_of(cost, each)) for key, each in value.items())
    if kind is Maybe:
        return ("optional", value.present and identity_of(cost, value.value))
    return (kind, value)


def ordered(cost: Cost, values: Any) -> list[Any]:
    """The elements of a list in their order: numbers, texts, booleans, timestamps or durations, of one kind."""
    elements = _list("sort", values)
    return in_order("sort", cost, elements, elements)


def in_order(function: str, cost: Cost, values: list[Any], keys: list[Any]) -> list[Any]:
    """The values in the order of their keys; equal ones stay as they are."""
    comparable(function, cost, keys, passes=len(keys).bit_length())
    _build(cost, 2 * len(values))
    if keys is values:
        return sorted(keys)
    return [values[at] for at in sorted(range(len(keys)), key=keys.__getitem__)]


def comparable(function: str, cost: Cost, keys: list[Any], passes: int = 1) -> None:
    """Refuse what has no order among itself; charge so many comparisons of each."""
    cost.spend(ELEMENT * len(keys))
    first = _order_of(keys[0]) if keys else ""
    size = 0
    for key in keys:
        if not first or _order_of(key) != first or key != key:  # noqa: PLR0124 - so of NaN, which has no order
            raise _disordered(function, keys[0], key)
        size += len(key) // _CHARACTERS if type(key) is str else 0
    cost.spend(passes * (size + ELEMENT * len(keys)))


def _order_of(key: Any) -> str:
    kind = type(key)
    if kind in NUMBERS:
        return "numbers"
    return kind.__name__ if kind in (str, bool, Instant, Span) else ""


def _disordered(function: str, first: Any, key: Any) -> EvaluationFailed:
    if not _order_of(key) or _order_of(key) == _order_of(first):
        found = "NaN" if type(key) is float else word_of(key)
        return EvaluationFailed(f"{function} cannot order {found}", "order by numbers, texts, booleans or times")
    return EvaluationFailed(
        f"{function} cannot order {word_of(first)} and {word_of(key)}", "order by values of one kind"
    )


def chunked(cost: Cost, values: Any, length: Any) -> list[Any]:
    """A list as lists of a length; the last one holds the rest."""
    elements = _list("chunk", values, length)
    if length < 1:
        raise EvaluationFailed(f"chunk makes lists of {length} elements", "give it a number from 1 on")
    _build(cost, len(elements) + -(-len(elements) // length))
    return [elements[at : at + length] for at in range(0, len(elements), length)]


def zipped(cost: Cost, values: Any, others: Any) -> list[Any]:
    """Pairs of the elements of two lists that are as long as each other."""
    if type(values) is not list or type(others) is not list:
        raise NoOverload("zip", values, others)
    if len(values) != len(others):
        raise EvaluationFailed(
            f"zip pairs lists of one length; these have {len(values)} and {len(others)} elements",
            "cut the longer one with slice(…)",
        )
    _build(cost, 3 * len(values))
    return [list(pair) for pair in zip(values, others, strict=True)]


def _end(name: str, position: int) -> Callable[[Cost, Any], Maybe]:
    def apply(_cost: Cost, values: Any) -> Maybe:
        elements = _list(name, values)
        return Maybe(elements[position], present=True) if elements else Maybe()

    return apply


LISTS: Final = (
    Function(
        "sum",
        ("list.sum() -> number",),
        "The sum of a list of numbers.",
        ("lines.map(line, line.price * line.pieces).sum() => 19.5", "[].sum() => 0"),
        total,
        own=True,
    ),
    Function(
        "average",
        ("list.average() -> fraction",),
        "The mean of a list of numbers.",
        ("[1, 2, 6].average() => 3.0",),
        average,
        own=True,
    ),
    Function(
        "sort",
        ("list.sort() -> list",),
        "The elements in order. They are of one kind: numbers, texts, booleans, timestamps or durations.",
        ("[3, 1.5, 2].sort() => [1.5, 2, 3]", 'tags.sort() => ["gift", "new"]'),
        ordered,
    ),
    Function(
        "distinct",
        ("list.distinct() -> list",),
        "The elements without those that equal an earlier one.",
        ("[2, 1, 2.0, 1].distinct() => [2, 1]",),
        distinct,
    ),
    Function(
        "flatten",
        ("list.flatten() -> list", "list.flatten(depth: whole) -> list"),
        "The elements of the lists in a list, one level or so many levels deep.",
        ("[1, [2, [3]]].flatten() => [1, 2, [3]]", "[1, [2, [3]]].flatten(2) => [1, 2, 3]"),
        flattened,
    ),
    Function(
        "reverse",
        ("list.reverse() -> list", "text.reverse() -> text"),
        "A list or a text from its end to its start.",
        ("[1, 2, 3].reverse() => [3, 2, 1]", 'name.reverse() => "adA"'),
        backwards,
    ),
    Function(
        "slice",
        ("list.slice(start: whole, end: whole) -> list",),
        "The elements from a position up to but without another.",
        ("[1, 2, 3, 4].slice(1, 3) => [2, 3]",),
        sliced,
    ),
    Function(
        "chunk",
        ("list.chunk(length: whole) -> list",),
        "A list as lists of a length. The last one holds the rest.",
        ("[1, 2, 3, 4, 5].chunk(2) => [[1, 2], [3, 4], [5]]",),
        chunked,
        own=True,
    ),
    Function(
        "zip",
        ("list.zip(other: list) -> list",),
        "Pairs of the elements of two lists. They have the same length.",
        ('tags.zip([1, 2]) => [["new", 1], ["gift", 2]]',),
        zipped,
        own=True,
    ),
    Function(
        "lists.range",
        ("lists.range(end: whole) -> list",),
        "The whole numbers from 0 up to but without the end.",
        ("lists.range(3) => [0, 1, 2]", "lists.range(3).map(i, i + 1) => [1, 2, 3]"),
        counted,
    ),
    Function(
        "first",
        ("list.first() -> optional",),
        "The first element, as an optional value: none of an empty list.",
        ('tags.first().orValue("") => "new"', "[].first().orValue(0) => 0"),
        _end("first", 0),
        known=1,
    ),
    Function(
        "last",
        ("list.last() -> optional",),
        "The last element, as an optional value: none of an empty list.",
        ('tags.last().orValue("") => "gift"',),
        _end("last", -1),
        known=1,
    ),
)
