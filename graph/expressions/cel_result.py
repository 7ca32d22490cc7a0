"""CEL's values as plain JSON."""

from __future__ import annotations

import math
from typing import Any

from anabranch.context.values import Json
from anabranch.graph.expressions.cel_values import (
    ELEMENT,
    UNWRAP,
    CelType,
    EvaluationFailed,
    Instant,
    Maybe,
    Span,
    Uint,
)
from anabranch.graph.expressions.cost import MAX_BUILT, VALUE_SIZE, Cost, OverCost


def as_json(value: Any, cost: Cost) -> Json:
    """`value` as JSON, with instants as text. A value may hold another many times over: all count."""
    kind = type(value)
    if value is None or kind is bool or kind is int or kind is str:
        return value  # type: ignore[no-any-return]  # it is JSON by the line above
    return _Conversion(cost).json(value)


class _Conversion:
    """One result, and how much more it may hold."""

    __slots__ = ("_cost", "_left")

    def __init__(self, cost: Cost) -> None:
        self._cost = cost
        self._left = MAX_BUILT

    def json(self, value: Any) -> Json:
        kind = type(value)
        self._spend(len(value) if kind is str else VALUE_SIZE)
        if value is None or kind is bool or kind is int or kind is str:
            return value  # type: ignore[no-any-return]  # it is JSON by the line above
        if kind is float:
            return _finite(value)
        if kind is list:
            return [self.json(element) for element in value]
        if kind is dict:
            return self._object(value)
        if kind is Uint:
            return int(value)
        if kind is Instant or kind is Span:
            return str(value.json())
        if kind is Maybe:
            raise EvaluationFailed("the result is an optional value", UNWRAP)
        named = "a type" if kind is CelType else "bytes"
        raise EvaluationFailed(f"the result is {named}, which is not a JSON value")

    def _object(self, entries: dict[Any, Any]) -> Json:
        for key in entries:
            if type(key) is not str:
                raise EvaluationFailed(f"the key {key!r} of an object is not a text")
            self._spend(len(key))
        return {key: self.json(value) for key, value in entries.items()}

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise OverCost(f"the result holds more than {MAX_BUILT // 1024} KiB", "yield less: parts, or a reference")
        self._cost.spend(ELEMENT)


def _finite(number: float) -> float:
    if math.isfinite(number):
        return number
    raise EvaluationFailed(f"the result is {number}, which is not a JSON number")
