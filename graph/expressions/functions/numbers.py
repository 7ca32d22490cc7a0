"""Functions of numbers: CEL's mathematics, and decimal rounding as money is rounded."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Final

from anabranch.graph.expressions import cel_runtime
from anabranch.graph.expressions.cel_values import ELEMENT, NUMBERS, EvaluationFailed, NoOverload, checked
from anabranch.graph.expressions.cost import Cost
from anabranch.graph.expressions.functions.function import Function

_CALL, _DECIMAL = 40, 40
"""Units of a call of the runtime, and of calculating in decimals."""
_MOST_DIGITS = 15
_EXACT = Context(prec=400, rounding=ROUND_HALF_UP)
"""Holds each double with as many digits behind the point as may be asked for."""
_THOUSANDS = 3


def numbers_of(function: str, cost: Cost, numbers: Any) -> None:
    """Refuse what is not a list of numbers; charge for looking at them."""
    if type(numbers) is not list:
        raise NoOverload(function, numbers)
    cost.spend(ELEMENT * len(numbers))
    if not all(type(number) in NUMBERS for number in numbers):
        raise EvaluationFailed(f"{function} takes a list of numbers")


def total(cost: Cost, numbers: Any) -> Any:
    """The sum of a list."""
    numbers_of("sum", cost, numbers)
    if not any(type(number) is float for number in numbers):
        return checked(sum(map(int, numbers)))
    try:
        # Not sum(), which differs for floats between Python 3.11 and 3.12.
        return math.fsum(numbers)
    except (OverflowError, ValueError):
        raise EvaluationFailed("the sum is not a number") from None


def average(cost: Cost, numbers: Any) -> Any:
    """The mean of a list, as a float."""
    numbers_of("average", cost, numbers)
    if not numbers:
        raise EvaluationFailed("average takes at least one number", "ask `size(…) > 0` first")
    try:
        return math.fsum(numbers) / len(numbers)
    except (OverflowError, ValueError):
        raise EvaluationFailed("the average is not a number") from None


def _best(name: str, choose: Callable[[Any], Any]) -> Callable[..., Any]:
    def apply(cost: Cost, *values: Any) -> Any:
        numbers = values[0] if len(values) == 1 and type(values[0]) is list else list(values)
        numbers_of(name, cost, numbers)
        if not numbers:
            raise EvaluationFailed(f"{name} takes at least one number")
        return choose(numbers)

    return apply


def absolute(_cost: Cost, number: Any) -> Any:
    """A number without its sign."""
    if type(number) not in NUMBERS:
        raise NoOverload("math.abs", number)
    return abs(number) if type(number) is float else checked(abs(number))


def _asked(name: str, ask: Callable[[float], bool]) -> Callable[[Cost, Any], bool]:
    def apply(_cost: Cost, number: Any) -> bool:
        if type(number) not in NUMBERS:
            raise NoOverload(name, number)
        return ask(number)

    return apply


def _rounded(name: str) -> Callable[[Cost, Any], Any]:
    def apply(cost: Cost, number: Any) -> Any:
        if type(number) is float:
            cost.spend(_CALL)
            return cel_runtime.call(f"math.{name}(a)", number)
        if type(number) not in NUMBERS:
            raise NoOverload(f"math.{name}", number)
        return int(number)

    return apply


_whole_round = _rounded("round")


def rounded(cost: Cost, number: Any, digits: Any = None) -> Any:
    """A number rounded to a whole one, or to digits behind the point; halves away from zero."""
    if digits is None:
        return _whole_round(cost, number)
    decimal = _decimal("math.round", cost, number, digits)
    return float(decimal) if type(number) is float else int(number)


def fixed(cost: Cost, number: Any, digits: Any, point: Any = ".", thousands: Any = "") -> str:
    """A number as text with so many digits behind the point, and a separator between its thousands."""
    decimal = _decimal("fixed", cost, number, digits)
    if type(point) is not str or type(thousands) is not str:
        raise NoOverload("fixed", number, digits, point, thousands)
    if len(point) > 1 or len(thousands) > 1:
        raise EvaluationFailed("the decimal point and the separator of thousands are one character each")
    text = f"{decimal:.{int(digits)}f}"
    sign, whole = ("-" if text[0] == "-" and decimal else "", text.lstrip("-").partition("."))
    cost.build(2 * len(text))
    return sign + _grouped(whole[0], thousands) + (point + whole[2] if digits else "")


def _grouped(digits: str, separator: str) -> str:
    if not separator:
        return digits
    first = len(digits) % _THOUSANDS or _THOUSANDS
    return separator.join([digits[:first], *(digits[at : at + 3] for at in range(first, len(digits), _THOUSANDS))])


def _decimal(function: str, cost: Cost, number: Any, digits: Any) -> Decimal:
    """The number as it is written, rounded half up: 2.675 to two digits is 2.68, whatever it is in binary."""
    if type(number) not in NUMBERS or type(digits) is not int:
        raise NoOverload(function, number, digits)
    if not 0 <= digits <= _MOST_DIGITS:
        raise EvaluationFailed(f"{function} takes 0 to {_MOST_DIGITS} digits, not {digits}")
    if not math.isfinite(number):
        raise EvaluationFailed(f"{function} takes a finite number")
    cost.spend(_DECIMAL)
    return Decimal(repr(number) if type(number) is float else int(number)).quantize(
        Decimal(1).scaleb(-digits), context=_EXACT
    )


def sign(cost: Cost, number: Any) -> Any:
    """-1, 0 or 1."""
    if type(number) is float:
        cost.spend(_CALL)
        return cel_runtime.call("math.sign(a)", number)
    if type(number) not in NUMBERS:
        raise NoOverload("math.sign", number)
    return (number > 0) - (number < 0)


def root(cost: Cost, number: Any) -> Any:
    """The square root."""
    if type(number) not in NUMBERS:
        raise NoOverload("math.sqrt", number)
    cost.spend(_CALL)
    return cel_runtime.call("math.sqrt(a)", float(number))


def _to_whole(name: str, text: str, *examples: str) -> Function:
    forms = (f"math.{name}(number: fraction) -> fraction", f"math.{name}(number: whole) -> whole")
    text = f"{text} A whole number stays what it is."
    return Function(f"math.{name}", forms, text, examples, _rounded(name), known=1)


ARITHMETIC: Final = (
    Function(
        "math.round",
        (
            "math.round(number: fraction) -> fraction",
            "math.round(number: whole) -> whole",
            "math.round(number: number, digits: whole) -> number",
        ),
        "The nearest whole number, or the nearest with so many digits behind the point; halves away from zero. "
        "Digits are those that the number is written with.",
        ("math.round(weight) => 3.0", "math.round(total) => 120", "math.round(2.675, 2) => 2.68"),
        rounded,
        known=1,
    ),
    Function(
        "fixed",
        (
            "number.fixed(digits: whole) -> text",
            "number.fixed(digits: whole, point: text) -> text",
            "number.fixed(digits: whole, point: text, thousands: text) -> text",
        ),
        "A number as text with so many digits behind the point, as money is written; halves away from zero. "
        "Another decimal point and a separator of thousands may be given.",
        (
            'weight.fixed(2) => "2.50"',
            '2.675.fixed(2) => "2.68"',
            '1234567.5.fixed(2, ".", ",") => "1,234,567.50"',
            '(total * 100).fixed(2, ",", ".") + " €" => "12.000,00 €"',
        ),
        fixed,
        own=True,
    ),
    _to_whole("ceil", "The next whole number up.", "math.ceil(weight) => 3.0", "math.ceil(total) => 120"),
    _to_whole("floor", "The next whole number down.", "math.floor(weight) => 2.0"),
    _to_whole("trunc", "The whole part.", "math.trunc(-2.5) => -2.0"),
    Function(
        "math.abs",
        ("math.abs(number: number) -> number",),
        "A number without its sign.",
        ("math.abs(-5) => 5",),
        absolute,
        known=1,
    ),
    Function(
        "math.sign",
        ("math.sign(number: number) -> number",),
        "-1, 0 or 1.",
        ("math.sign(-5) => -1",),
        sign,
        known=1,
    ),
    Function(
        "math.sqrt",
        ("math.sqrt(number: number) -> fraction",),
        "The square root.",
        ("math.sqrt(9) => 3.0",),
        root,
        known=1,
    ),
    Function(
        "math.greatest",
        ("math.greatest(numbers: list) -> number", "math.greatest(…) -> number"),
        "The largest of a list of numbers, or of several.",
        ("math.greatest(total, 200) => 200", "math.greatest([3, 1, 2]) => 3"),
        _best("math.greatest", max),
        known=2,
    ),
    Function(
        "math.least",
        ("math.least(numbers: list) -> number", "math.least(…) -> number"),
        "The smallest of a list of numbers, or of several.",
        ("math.least([3, 1, 2]) => 1", "math.least(total, 200) => 120"),
        _best("math.least", min),
        known=2,
    ),
    Function(
        "math.isFinite",
        ("math.isFinite(number: fraction) -> boolean",),
        "Whether a number is neither infinite nor NaN.",
        ("math.isFinite(weight) => true",),
        _asked("math.isFinite", math.isfinite),
        known=1,
    ),
    Function(
        "math.isInf",
        ("math.isInf(number: fraction) -> boolean",),
        "Whether a number is infinite.",
        ("math.isInf(weight) => false",),
        _asked("math.isInf", math.isinf),
        known=1,
    ),
    Function(
        "math.isNaN",
        ("math.isNaN(number: fraction) -> boolean",),
        "Whether a number is NaN, as 0.0 / 0.0 is elsewhere.",
        ("math.isNaN(weight) => false",),
        _asked("math.isNaN", math.isnan),
        known=1,
    ),
)
