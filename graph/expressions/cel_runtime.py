"""Google's CEL runtime (`cel_expr_python`): parse, check, and call a function. No other module imports it.

It does not evaluate expressions: it charges nothing by size, and each value that crosses to a function in Python is
never freed (0.1.3). `cel_program.py` does, and calls it for what is CEL's to the digit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from typing import Any, cast

from cel_expr_python import cel
from cel_expr_python.ext.ext_bindings import ExtBindings
from cel_expr_python.ext.ext_math import ExtMath
from cel_expr_python.ext.ext_optional import ExtOptional

from anabranch.errors import ExpressionError
from anabranch.graph.expressions import cel_hints
from anabranch.graph.expressions.cel_values import EvaluationFailed
from anabranch.graph.expressions.functions.function import Overload

MAX_NAME = 256
"""Characters of a free name."""
_ISSUE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_COPYING = re.compile(r"\boptMap\b|\boptFlatMap\b")
_MOST_COPIES = 4
_ERROR = cel.Type.ERROR


def parse(source: str) -> bytes:
    """The serialized tree of `source`; ExpressionError if it is not CEL."""
    if len(found := list(_COPYING.finditer(source))) > _MOST_COPIES:
        # The parser copies what is before each of them, so that each doubles the tree.
        raise ExpressionError(
            f"an expression has at most {_MOST_COPIES} optMap and optFlatMap",
            suggestion="write .?KEY or .orValue(…) for one of them",
            line=source.count("\n", 0, found[_MOST_COPIES].start()) + 1,
        )
    try:
        source.encode()
        tree: bytes = _standard().compile(source, disable_check=True).serialize()
    except UnicodeEncodeError as error:
        raise ExpressionError("a lone surrogate is not a character", column=error.start + 1) from None
    except RuntimeError as error:
        raise _not_compiled(error) from None
    return tree


class Checker:
    """Refuses types that do not fit and functions that do not exist.

    `overloads` are told to it, in place of those that CEL has of the names in `excluded`.
    """

    def __init__(self, overloads: Iterable[Overload], excluded: Iterable[str]) -> None:
        config = "name: checker\nstdlib:\n  exclude_functions:\n"
        config += "".join(f'    - name: "{name}"\n' for name in excluded)
        self._env = cel.NewEnv(
            config=cel.NewEnvConfigFromYaml(config),
            variables={"_" * length: cel.Type.DYN for length in range(1, MAX_NAME + 1)},
            extensions=[*_extensions(), _extension(overloads)],
        )

    def check(self, source: str) -> None:
        """ExpressionError for what does not fit. Free names must be of the form `_`, `__`, …"""
        try:
            self._env.compile(source)
        except RuntimeError as error:
            raise _not_compiled(error) from None


def call(source: str, *values: Any) -> Any:
    """The value of a call on texts and numbers, which `source` names `a` and `b`. EvaluationFailed without one."""
    try:
        result = _compiled(source).eval(data=dict(zip("ab", values, strict=False)))
        value = result.value()
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise EvaluationFailed(cel_hints.of_failure(str(error))) from None
    if type(value) is str and result.type() == _ERROR:
        raise EvaluationFailed(cel_hints.of_failure(value))
    return value


@lru_cache(maxsize=64)
def _compiled(source: str) -> Any:
    return _standard().compile(source, disable_check=True)


@cache
def _standard() -> Any:
    return cel.NewEnv(extensions=_extensions())


def _extensions() -> list[Any]:
    return [ExtMath(), ExtOptional(), ExtBindings()]


def _extension(functions: Iterable[Overload]) -> Any:
    overloads: dict[str, list[Any]] = {}
    for function in functions:
        same_name = overloads.setdefault(function.name, [])
        same_name.append(
            cel.Overload(
                f"anabranch_{function.name}_{len(same_name)}",
                cel.Type(function.result),
                [cel.Type(parameter) for parameter in function.parameters],
                function.member,
                cast("Callable[..., Any]", None),  # a declaration only, which its stub does not say
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
