"""Optional values, as CEL's extension has them: what may be absent, and what there is instead."""

from __future__ import annotations

from typing import Any, Final

from anabranch.graph.expressions.cel_values import EvaluationFailed, Maybe, NoOverload, Uint, key_of, word_of
from anabranch.graph.expressions.cost import Cost
from anabranch.graph.expressions.functions.function import Function

NONE: Final = Maybe()
_ZEROS = (str, list, dict, bool, int, float, Uint)


def chosen(_cost: Cost, holder: Any, key: Any) -> Maybe:
    """`holder.?key` and `holder[?key]`: none where the holder is null or none, or has no such key or position."""
    if type(holder) is Maybe:
        holder = holder.value
    if holder is None:
        return NONE
    if type(holder) is dict:
        found = key_of(key)
        return Maybe(holder[found], present=True) if found in holder else NONE
    if type(holder) is list and type(key) in (int, Uint):
        return Maybe(holder[key], present=True) if 0 <= key < len(holder) else NONE
    if type(key) is str:
        raise EvaluationFailed(f"{word_of(holder)} has no field {key!r}", "only objects have fields")
    raise NoOverload("[?]", holder, key)


def of(_cost: Cost, value: Any) -> Maybe:
    """A value as an optional one."""
    return Maybe(value, present=True)


def none(_cost: Cost) -> Maybe:
    """No value."""
    return NONE


def of_non_zero(_cost: Cost, value: Any) -> Maybe:
    """A value as an optional one; none of null, false, 0 and what is empty."""
    return NONE if value is None or (type(value) in _ZEROS and not value) else Maybe(value, present=True)


def has_value(_cost: Cost, optional: Any) -> bool:
    """Whether there is a value."""
    return _optional("hasValue", optional).present


def value(_cost: Cost, optional: Any) -> Any:
    """The value; an error if there is none."""
    if _optional("value", optional).present:
        return optional.value
    raise EvaluationFailed("the optional value is not there", "write .orValue(…) for .value()")


def or_value(_cost: Cost, optional: Any, instead: Any) -> Any:
    """The value, or another one if there is none."""
    return optional.value if _optional("orValue", optional).present else instead


def either(_cost: Cost, optional: Any, other: Any) -> Maybe:
    """The first optional that has a value."""
    first, second = _optional("or", optional), _optional("or", other)
    return first if first.present else second


def _optional(function: str, candidate: Any) -> Maybe:
    if type(candidate) is Maybe:
        return candidate
    raise EvaluationFailed(
        f"`{function}` takes an optional value, this is {word_of(candidate)}", "write .?KEY for what may be absent"
    )


OPTIONALS: Final = (
    Function(
        ".?",
        ("object.?key -> optional", "object[?key] -> optional", "list[?position] -> optional"),
        "What an object or list has there: none where it has nothing, or where the object itself is null or none. "
        "What follows, as `.size` in `order.?parcel.size`, is optional too. "
        "A key that has null is there, and its value is null.",
        (
            "stock.?tea.orValue(0) => 10",
            "stock.?pot.orValue(0) => 0",
            'context.?voucher.?code.orValue("") => ""',
            "lines[?5].price.orValue(0) => 0",
            "context.?coupon.orValue(0) => null",
        ),
        chosen,
        known=3,
    ),
    Function(
        "orValue",
        ("optional.orValue(instead: any) -> any",),
        "The value, or another one if there is none.",
        ("stock.?pot.orValue(0) => 0",),
        or_value,
        known=1,
    ),
    Function(
        "or",
        ("optional.or(other: optional) -> optional",),
        "The first of two optional values that is there.",
        ("stock.?pot.or(stock.?tea).orValue(0) => 10",),
        either,
        known=1,
    ),
    Function(
        "hasValue",
        ("optional.hasValue() -> boolean",),
        "Whether there is a value.",
        ("stock.?pot.hasValue() => false",),
        has_value,
        known=1,
    ),
    Function(
        "value",
        ("optional.value() -> any",),
        "The value. It is an error if there is none.",
        ("stock.?tea.value() => 10",),
        value,
        known=1,
    ),
    Function(
        "optional.of",
        ("optional.of(value: any) -> optional",),
        "A value as an optional one.",
        ("optional.of(total).orValue(0) => 120",),
        of,
        known=1,
    ),
    Function(
        "optional.ofNonZeroValue",
        ("optional.ofNonZeroValue(value: any) -> optional",),
        "A value as an optional one; none of null, false, 0 and what is empty.",
        ('optional.ofNonZeroValue(coupon).orValue("no coupon") => "no coupon"',),
        of_non_zero,
        known=1,
    ),
    Function(
        "optional.none",
        ("optional.none() -> optional",),
        "No value.",
        ("optional.none().orValue(1) => 1",),
        none,
        known=1,
    ),
    Function(
        "optMap",
        ("optional.optMap(x, expression) -> optional",),
        "What an expression makes of the value, if there is one. An expression has at most four of them.",
        ("stock.?tea.optMap(n, n * 2).orValue(0) => 20",),
        known=1,
    ),
    Function(
        "optFlatMap",
        ("optional.optFlatMap(x, expression) -> optional",),
        "The optional value that an expression makes of the value, if there is one.",
        ('context.?stock.optFlatMap(s, s.?pot).orValue("none") => "none"',),
        known=1,
    ),
    Function(
        "[?…], {?…}",
        ("[?optional] -> list", "{?key: optional} -> object"),
        "An element or entry only where its optional value is there.",
        ("[1, ?stock.?pot, ?stock.?tea] => [1, 10]", '{"tea": 1, ?"pot": stock.?pot} => {"tea": 1}'),
        known=2,
    ),
)
