"""Forward chaining over GRL rules: the rules see what rules before them wrote, until nothing changes.

Of the rules that may fire, the one with the highest salience does, and then all are looked at again. A rule that would
change nothing does not fire; so a rule needs no `Retract` to end, and one that has it behaves as under Grule.
A condition that reads a missing value is false.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from anabranch.context.values import MISSING, Json, Path, value_at
from anabranch.errors import EvaluationError, ExpressionTooCostly, NodeError
from anabranch.graph.expressions.cel_values import equal
from anabranch.graph.expressions.cost import Cost, OverCost
from anabranch.graph.expressions.expressions import ValueMissing, evaluate_condition, kind_of
from anabranch.graph.rules.grl import Assignment, Complete, GrlRule, Retract, parse_grl

MAX_FIRINGS = 5_000
MAX_TRIALS = 100_000
"""How often conditions may be evaluated."""


_RULE = 8
"""Units of a look at a rule, to see whether it may fire."""


def evaluate_grl(
    text: str, data: Mapping[str, Json], roots: Mapping[str, Json], cost: Cost | None = None
) -> dict[str, Json]:
    """The top-level keys that the rules changed, with their values, all charged to one cost. `data` is not changed.

    EvaluationError where an expression fails; NodeError if the rules still fire after `MAX_FIRINGS`.
    """
    session = _Session(parse_grl(text, frozenset(roots)), dict(data), roots, cost or Cost())
    try:
        while session.step():
            pass
    except OverCost as over:
        raise ExpressionTooCostly(f"the rules: {over.message}", suggestion=over.suggestion) from None
    return {key: session.data[key] for key in session.changed}


@dataclass(slots=True)
class _Session:
    """An evaluation. `data` is a copy whose objects are replaced, never changed."""

    rules: tuple[GrlRule, ...]
    data: dict[str, Json]
    roots: Mapping[str, Json]
    cost: Cost
    changed: dict[str, None] = field(default_factory=dict)
    """Keys in the order in which they first changed."""
    resting: set[str] = field(default_factory=set)
    """Rules that would do nothing until one of their keys changes."""
    retracted: set[str] = field(default_factory=set)
    firings: int = 0
    trials: int = 0

    def step(self) -> bool:
        """Fire the first rule that has something to do; False if there is none."""
        self.cost.spend(_RULE * len(self.rules))
        for rule in self.rules:
            if rule.name not in self.resting and rule.name not in self.retracted:
                self.resting.add(rule.name)
                if self._holds(rule) and self._fire(rule):
                    return True
        return False

    def _holds(self, rule: GrlRule) -> bool:
        self.trials += 1
        self._check_budget(rule)
        try:
            return evaluate_condition(rule.when, self.data, self.roots, self.cost)
        except ValueMissing:
            return False
        except EvaluationError as error:
            error.place = f"rule {rule.name!r}"
            raise

    def _fire(self, rule: GrlRule) -> bool:
        """Carry out the actions; whether they did anything."""
        before = len(self.retracted)
        touched = [
            action.path[0] for action in rule.actions if isinstance(action, Assignment) and self._assign(rule, action)
        ]
        self.retracted |= {action.rule for action in rule.actions if isinstance(action, Retract)}
        if any(isinstance(action, Complete) for action in rule.actions):
            self.retracted |= {other.name for other in self.rules}
        self._wake(rule, frozenset(touched))
        self.firings += bool(touched)
        return bool(touched) or len(self.retracted) > before

    def _assign(self, rule: GrlRule, assignment: Assignment) -> bool:
        try:
            value = assignment.value.evaluate(self.data, self.roots, self.cost)
        except EvaluationError as error:
            error.place = f"rule {rule.name!r}"
            raise
        if _same(value_at(self.data, assignment.path), value, self.cost):
            return False
        key, *rest = assignment.path
        self.data[key] = _replaced(
            self.data.get(key, MISSING), tuple(rest), value, _Target(rule.name, assignment.path, self.cost)
        )
        self.changed[key] = None
        return True

    def _wake(self, fired: GrlRule, touched: frozenset[str]) -> None:
        for rule in self.rules:
            concerned = rule.keys is None or not touched.isdisjoint(rule.keys | {path[0] for path in rule.assigned})
            if touched and concerned and not (rule is fired and fired.no_loop):
                self.resting.discard(rule.name)

    def _check_budget(self, rule: GrlRule) -> None:
        if self.firings > MAX_FIRINGS or self.trials > MAX_TRIALS:
            raise NodeError(
                f"the rules do not end: {self.firings} have fired",
                place=f"rule {rule.name!r}",
                suggestion="give a rule that changes what it reads a condition that becomes false, or Retract it",
            )


def _same(before: object, after: Json, cost: Cost) -> bool:
    return before is after or (before is not MISSING and equal(cost, before, after))


@dataclass(frozen=True, slots=True)
class _Target:
    """What is assigned, and by which rule."""

    rule: str
    path: Path
    cost: Cost


def _replaced(holder: object, path: Path, value: Json, target: _Target) -> Json:
    """`holder` with `value` at `path`; objects on the way are copied, or made where there is nothing."""
    if not path:
        return value
    if holder is MISSING or holder is None:
        holder = {}
    if not isinstance(holder, dict):
        raise EvaluationError(
            f"`{'.'.join(target.path)}` cannot be assigned: there is {kind_of(holder)} where an object should be",
            place=f"rule {target.rule!r}",
            suggestion="assign to a field of an object, or to another name",
        )
    objects = cast("dict[str, Json]", holder)
    target.cost.spend(len(objects))
    key, *rest = path
    return {**objects, key: _replaced(objects.get(key, MISSING), tuple(rest), value, target)}
