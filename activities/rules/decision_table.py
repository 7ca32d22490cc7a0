"""Decision tables (JDM), evaluated by the ZEN engine on inputs of the right types.

The engine skips a row with a cell that it cannot read or evaluate, and takes the default row for a missing or wrongly
typed input; here these are errors. (One stays hidden: an output cell that fails on the types of its operands.
Expression nodes report theirs.)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import zen

from anabranch.context.values import MISSING, Json, same, value_at
from anabranch.errors import EvaluationError, InputError
from anabranch.graph.expressions.expressions import kind_of
from anabranch.graph.model import JsonObject
from anabranch.graph.rules.decision_table import Column, DecisionTable, read_table

_ENGINE = zen.ZenEngine()


def evaluate_table(jdm: JsonObject | str, data: Mapping[str, Json]) -> dict[str, Json]:
    """The top-level keys that the table decides, with their values; nothing if no row matches.

    InputError for a table that cannot be evaluated, EvaluationError for inputs that do not fit it.
    """
    table, decision = _decision(jdm if isinstance(jdm, str) else json.dumps(jdm))
    inputs = dict(data)
    for column in table.columns:
        _check_input(column, inputs)
    for name in table.names:
        if name not in inputs:
            raise _absent(name)
    try:
        result = decision.evaluate(inputs)["result"]
    except BaseException as error:  # the engine raises plain exceptions, and panics, which derive from BaseException
        if not _is_of_engine(error):
            raise
        raise EvaluationError(f"the decision table failed: {_reason(error)}") from None
    if not isinstance(result, dict):
        raise EvaluationError(
            f"the decision table gave {kind_of(result)}, not an object",
            suggestion="use the hit policy `first`, or an `outputPath` for a list of hits",
        )
    return {key: value for key, value in result.items() if not same(inputs.get(key, MISSING), value)}


@lru_cache(maxsize=256)
def _decision(text: str) -> tuple[DecisionTable, Any]:
    table = read_table(text)
    for test in table.tests:
        _compile(zen.compile_unary_expression, test)
    for expression in table.expressions:
        _compile(zen.compile_expression, expression)
    try:
        decision = _ENGINE.create_decision(table.content)
        decision.validate()
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"the decision table is not JDM: {_reason(error)}", suggestion="use a JDM file, as the editor saves it"
        ) from None
    return table, decision


def _compile(compiler: Callable[[str], object], text: str) -> None:
    try:
        compiler(text)
    except RuntimeError as error:
        raise InputError(f"{text!r} in the decision table cannot be read: {_reason(error)}") from None


def _check_input(column: Column, inputs: dict[str, Json]) -> None:
    name = ".".join(column.path)
    value = value_at(inputs, column.path)
    if value is MISSING:
        raise _absent(name)
    fits = (value is None and column.nullable) or column.kind in (None, kind_of(value))
    if not fits:
        raise EvaluationError(
            f"the decision table compares `{name}` with {column.kind}, this is {kind_of(value)}",
            suggestion="convert it before this node",
        )


def _absent(name: str) -> EvaluationError:
    return EvaluationError(
        f"the decision table needs `{name}`, which is not there",
        suggestion="write it before this node, or give a default",
    )


def _is_of_engine(error: BaseException) -> bool:
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def _reason(error: BaseException) -> str:
    """The engine's message without its stack backtrace."""
    return " ".join(str(error).partition("Stack backtrace")[0].split())[:500]
