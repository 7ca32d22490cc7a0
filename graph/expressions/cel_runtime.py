"""Google's CEL runtime (`cel_expr_python`) and nothing else: parse, check, evaluate. No other module imports it.

Two environments, because the runtime registers its standard functions whatever is configured: one checks the author's
text, in which numbers mix, the other evaluates the rewritten tree (`graph/expressions/cel_syntax.py`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, cast

from cel_expr_python import cel
from cel_expr_python.ext.ext_math import ExtMath

from anabranch.context.values import Json
from anabranch.errors import ExpressionError
from anabranch.graph.expressions import cel_functions, cel_hints
from anabranch.graph.expressions.cel_functions import Function
from anabranch.graph.expressions.cel_syntax import MAX_NAME

MAX_RESULT = 2 * 1024 * 1024
"""Characters of one result; any other value counts as `cel_functions.VALUE_SIZE`."""

_ISSUE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_CONFIG = "name: checker\nstdlib:\n  exclude_functions:\n" + "".join(
    f'    - name: "{name}"\n' for name in cel_functions.CHECKER_EXCLUDES
)
_ERROR = cel.Type.ERROR


class EvaluationFailed(Exception):
    """The runtime's message on why there is no value."""


class Program:
    """An evaluable tree. Evaluating changes nothing in it."""

    __slots__ = ("_expression",)

    def __init__(self, tree: bytes) -> None:
        try:
            self._expression = _evaluator().deserialize(tree)
        except RuntimeError:
            # A tree that was parsed and checked fails here only if protobuf refuses its depth.
            raise ExpressionError("the expression nests too deeply", suggestion="split it into several rules") from None

    def evaluate(self, variables: Mapping[str, Json]) -> Json:
        """The value as plain JSON; EvaluationFailed when there is none."""
        cel_functions.reset_budget()
        try:
            result = self._expression.eval(data=variables)
            value = result.value()
        except (RuntimeError, ValueError, TypeError, OverflowError) as error:
            raise EvaluationFailed(str(error)) from None
        if value is True or value is False or type(value) is int:
            return value
        if isinstance(value, str) and result.type() == _ERROR:
            raise EvaluationFailed(value)
        return _Conversion().json(value)


def parse(source: str) -> bytes:
    """The serialized tree of `source`; ExpressionError if it is not CEL."""
    try:
        source.encode()
        tree: bytes = _evaluator().compile(source, disable_check=True).serialize()
    except UnicodeEncodeError as error:
        raise ExpressionError("a lone surrogate is not a character", column=error.start + 1) from None
    except RuntimeError as error:
        raise _not_compiled(error) from None
    return tree


def check(source: str) -> None:
    """Refuse types that do not fit and functions that do not exist. Free names must be of the form `_`, `__`, …"""
    try:
        _checker().compile(source)
    except RuntimeError as error:
        raise _not_compiled(error) from None


@cache
def _checker() -> Any:
    return cel.NewEnv(
        config=cel.NewEnvConfigFromYaml(_CONFIG),
        variables={"_" * length: cel.Type.DYN for length in range(1, MAX_NAME + 1)},
        extensions=[ExtMath(), _extension(cel_functions.CHECKED)],
    )


@cache
def _evaluator() -> Any:
    return cel.NewEnv(extensions=[ExtMath(), _extension(cel_functions.EVALUATED)])


def _extension(functions: Iterable[Function]) -> Any:
    overloads: dict[str, list[Any]] = {}
    for function in functions:
        same_name = overloads.setdefault(function.name, [])
        same_name.append(
            cel.Overload(
                f"anabranch_{function.name}_{len(same_name)}",
                cel.Type(function.result),
                [cel.Type(parameter) for parameter in function.parameters],
                function.member,
                cast("Callable[..., Any]", function.impl),  # None is a declaration only, which its stub does not say
            )
        )
    return cel.CelExtension("anabranch", [cel.FunctionDecl(name, found) for name, found in overloads.items()])


def _not_compiled(error: RuntimeError) -> ExpressionError:
    issue = _ISSUE.search(str(error))
    if issue is None:
        return ExpressionError(str(error).removesuffix("]").rpartition(" [")[0] or str(error))
    line, column, message = issue.groups()
    return ExpressionError(
        cel_hints.of_issue(message),
        line=max(1, int(line)),
        column=max(1, int(column)),
    )


@dataclass(slots=True)
class _Conversion:
    """CEL's values as plain JSON. A value may hold another many times over: `left` bounds what is written out."""

    left: int = MAX_RESULT

    def json(self, value: Any) -> Json:
        """`value` as JSON: keys sorted, instants as text."""
        self._spend(len(value) if isinstance(value, str) else cel_functions.VALUE_SIZE)
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return _finite(value)
        if isinstance(value, list):
            return [self.json(element.value()) for element in value]
        if isinstance(value, dict):
            return self._object(value)
        if isinstance(value, datetime | timedelta):
            return cel_functions.text_of_instant(value)
        raise EvaluationFailed(f"the result is {_kind(value)}, which is not a JSON value")

    def _object(self, entries: dict[Any, Any]) -> Json:
        for key in entries:
            if not isinstance(key, str):
                raise EvaluationFailed(f"the key {key!r} of an object is not a text")
            self._spend(len(key))
        return {key: self.json(entries[key].value()) for key in sorted(entries)}

    def _spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise EvaluationFailed(f"the result holds more than {MAX_RESULT // 1024} KiB")


def _finite(number: float) -> float:
    if math.isfinite(number):
        return number
    raise EvaluationFailed(f"the result is {number}, which is not a JSON number")


def _kind(value: object) -> str:
    return "bytes" if isinstance(value, bytes | bytearray) else "a type" if isinstance(value, cel.Type) else "a message"
