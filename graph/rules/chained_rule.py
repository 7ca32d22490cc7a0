"""A rule that fires forward: what GRL and Drools-like texts are translated to, and what is evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from anabranch.context.values import Path
from anabranch.graph.expressions.expressions import Expression


@dataclass(frozen=True, slots=True)
class Assignment:
    """Write a value at a path of the context."""

    path: Path
    value: Expression


@dataclass(frozen=True, slots=True)
class Branch:
    """Carry out the actions of the first case whose condition holds, or `otherwise`."""

    cases: tuple[tuple[Expression, tuple[Action, ...]], ...]
    otherwise: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True)
class Retract:
    """The rule of that name does not fire again."""

    rule: str


@dataclass(frozen=True, slots=True)
class Complete:
    """No rule fires again."""


Action: TypeAlias = Assignment | Branch | Retract | Complete


@dataclass(frozen=True, slots=True)
class ChainedRule:
    """One rule. It may fire again when one of the keys in `wakes_on` changes (None: when any key does).

    `parts` are the conditions that `when` joins by `&&`, as CEL.
    """

    name: str
    salience: int
    no_loop: bool
    when: Expression
    actions: tuple[Action, ...]
    wakes_on: frozenset[str] | None
    parts: tuple[str, ...]

    @property
    def keys(self) -> frozenset[str] | None:
        """The context keys that it reads; None: all of them."""
        return keys_of(self.expressions)

    @property
    def paths(self) -> frozenset[Path]:
        """The paths of the context that it reads by their bare names."""
        return frozenset().union(*(expression.paths for expression in self.expressions))

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """Its condition, and all that its actions compute."""
        return self.when, *expressions_of(self.actions)

    @property
    def assigned(self) -> frozenset[Path]:
        """The paths that it assigns, on any branch."""
        return frozenset(action.path for action in every(self.actions) if isinstance(action, Assignment))


def every(actions: Iterable[Action]) -> Iterator[Action]:
    """The actions, and those of all their branches."""
    for action in actions:
        yield action
        if isinstance(action, Branch):
            for _, inner in action.cases:
                yield from every(inner)
            yield from every(action.otherwise)


def expressions_of(actions: Iterable[Action]) -> Iterator[Expression]:
    """What the actions compute, the conditions of their branches among it."""
    for action in every(actions):
        if isinstance(action, Assignment):
            yield action.value
        elif isinstance(action, Branch):
            yield from (condition for condition, _ in action.cases)


def keys_of(expressions: Iterable[Expression]) -> frozenset[str] | None:
    """The context keys that expressions read together; None: all of them."""
    found: set[str] = set()
    for expression in expressions:
        if expression.keys is None:
            return None
        found |= expression.keys
    return frozenset(found)
