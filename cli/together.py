"""Options that several commands have together: as the fields of one class, which a command takes as its first value."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

Own = ParamSpec("Own")
Shared = TypeVar("Shared")


def together(shared: type[Shared]) -> Callable[[Callable[Concatenate[Shared, Own], None]], Callable[..., None]]:
    """Give a command the fields of `shared` as arguments and options, beside its own.

    Those without a default are arguments, and come first; the others come last.
    """

    def decorate(command: Callable[Concatenate[Shared, Own], None]) -> Callable[..., None]:
        given = _parameters(shared)
        _, *own = _parameters(command)

        @wraps(command)
        def called(**options: Any) -> None:
            values: dict[str, Any] = {each.name: options.pop(each.name) for each in given}
            _call(command, shared(**values), options)

        first = [each for each in given if each.default is inspect.Parameter.empty]
        ordered = [*first, *own, *(each for each in given if each not in first)]
        vars(called)["__signature__"] = inspect.Signature(ordered)
        called.__annotations__ = {each.name: each.annotation for each in ordered}
        return called

    return decorate


def _parameters(called: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters, each to be given by its name."""
    found = inspect.signature(called, eval_str=True).parameters.values()
    return [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in found]


def _call(command: Callable[..., None], first: object, options: dict[str, Any]) -> None:
    command(first, **options)
