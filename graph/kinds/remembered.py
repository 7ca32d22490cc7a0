"""What was found out of a node, kept for as long as the node is there: it never changes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from functools import wraps
from typing import Any, TypeVar, cast
from weakref import ref

from anabranch.errors import Problem
from anabranch.graph.model import BaseNode

F = TypeVar("F", bound=Callable[..., Any])


class _Answers:
    """Answers by nodes and what was asked of them.

    Nodes are known by their identity: to compare two costs as much as to ask again.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, tuple[Hashable, ...]], tuple[ref[BaseNode], Any]] = {}

    def of(self, node: BaseNode, asked: tuple[Hashable, ...]) -> tuple[Any] | None:
        found = self._known.get((id(node), asked))
        return None if found is None or found[0]() is not node else (found[1],)

    def keep(self, node: BaseNode, asked: tuple[Hashable, ...], answer: object) -> None:
        key = (id(node), asked)
        self._known[key] = (ref(node, lambda _: self._known.pop(key, None)), answer)


_fine = _Answers()


def remembered(function: F) -> F:
    """Ask a function of a node once; what it is given beside is hashable."""
    answers = _Answers()

    @wraps(function)
    def asked(node: BaseNode, *more: Hashable) -> Any:
        if (found := answers.of(node, more)) is not None:
            return found[0]
        answer = function(node, *more)
        answers.keep(node, more, answer)
        return answer

    return cast("F", asked)


def unless_fine(node: BaseNode, about: Hashable, look: Callable[[], Iterable[Problem]]) -> list[Problem]:
    """What is wrong with a node; one with which nothing was is not looked at again. `about` names what is looked at."""
    if _fine.of(node, (about,)) is not None:
        return []
    if not (found := list(look())):
        _fine.keep(node, (about,), None)
    return found
