"""Forward chaining, as rust-rule-engine does it: rules see what rules before them wrote, until nothing changes.

In each cycle the rules are tried once, by salience, and each fires whose condition holds. A cycle in which nothing
changes is the last one; so is the hundredth, with a warning. A `no-loop` rule fires once. A rule is not tried again
before something changes that wakes it. A condition that reads a missing value is false.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self, cast

from anabranch.context.nested import nested
from anabranch.context.values import MISSING, Json, Path, value_at
from anabranch.errors import EvaluationError, ExpressionTooCostly
from anabranch.graph.expressions.cel_values import equal
from anabranch.graph.expressions.cost import Cost, OverCost
from anabranch.graph.expressions.expressions import Expression, ValueMissing, evaluate_condition, kind_of
from anabranch.graph.rules.chained_rule import Action, Assignment, Branch, ChainedRule, Retract
from anabranch.graph.rules.rules_text import parse_rules

MAX_CYCLES = 100
"""That of rust-rule-engine."""
_RULE = 8
"""Units of a look at a rule, to see whether it may fire."""
_SHOWN = 5
_SHOWN_NAME = 60


@dataclass(frozen=True, slots=True)
class Chained:
    """The top-level keys that rules wrote, with their values, and what their author should know."""

    changes: dict[str, Json]
    warnings: tuple[str, ...] = ()
    parts: Mapping[Path, Json] = field(default_factory=dict)
    """What they wrote inside of objects, by path."""
    appended: Mapping[Path, list[Json]] = field(default_factory=dict)
    """What they added to lists, by path."""
    fired: tuple[str, ...] = ()
    """The rules that wrote, in order, each with its condition; none are known of a decision table."""

    @classmethod
    def of(cls, values: Mapping[Path, Json]) -> Self:
        """Values by path, of which none leads through another."""
        whole = {path[0]: value for path, value in values.items() if len(path) == 1}
        return cls(whole, parts={path: value for path, value in values.items() if len(path) > 1})

    @property
    def result(self) -> dict[str, Json]:
        """All that was written, as one object; of lists what was added."""
        if not self.parts and not self.appended:
            return self.changes
        return nested({**{(key,): value for key, value in self.changes.items()}, **self.parts, **self.appended})


def evaluate_chain(text: str, data: Mapping[str, Json], roots: Mapping[str, Json], cost: Cost | None = None) -> Chained:
    """What the rules of a text come to, all charged to one cost. `data` is not changed.

    EvaluationError where an expression fails.
    """
    session = _Session(parse_rules(text, frozenset(roots)), dict(data), roots, cost or Cost())
    try:
        firing = session.run()
    except OverCost as over:
        raise ExpressionTooCostly(f"the rules: {over.message}", suggestion=over.suggestion) from None
    changes = {key: session.data[key] for key in session.changed}
    return Chained(changes, _warnings(firing), fired=tuple(session.fired.values()))


def _warnings(firing: list[str]) -> tuple[str, ...]:
    if not firing:
        return ()
    named = ", ".join(repr(name[:_SHOWN_NAME]) for name in firing[:_SHOWN])
    more = f" and {len(firing) - _SHOWN} more" if len(firing) > _SHOWN else ""
    advice = "give a rule that should fire once the attribute no-loop, or a condition that becomes false"
    return (f"the rules were stopped after {MAX_CYCLES} cycles while {named}{more} still fired; {advice}",)


@dataclass(slots=True)
class _Session:
    """An evaluation. `data` is a copy whose objects are replaced, never changed."""

    rules: tuple[ChainedRule, ...]
    data: dict[str, Json]
    roots: Mapping[str, Json]
    cost: Cost
    changed: dict[str, None] = field(default_factory=dict)
    """Keys in the order in which they first changed."""
    resting: set[str] = field(default_factory=set)
    """Rules that would do nothing until one of their keys changes."""
    ended: set[str] = field(default_factory=set)
    """Rules that do not fire again."""
    fired: dict[str, str] = field(default_factory=dict)
    """Those that changed something, with their conditions, by name."""

    def run(self) -> list[str]:
        """Cycle until nothing changes; the rules that fired in the last cycle that there may be."""
        fired: list[str] = []
        for _ in range(MAX_CYCLES):
            fired = self._cycle()
            if not fired:
                break
        return fired

    def _cycle(self) -> list[str]:
        """Try each rule once; those that changed something."""
        self.cost.spend(_RULE * len(self.rules))
        fired = []
        for rule in self.rules:
            if rule.name not in self.resting and rule.name not in self.ended:
                self.resting.add(rule.name)
                if self._holds(rule.when, rule) and self._fire(rule):
                    fired.append(rule.name)
                    self.fired.setdefault(rule.name, f"rule {rule.name!r}: when {rule.when.source}")
        return fired

    def _holds(self, condition: Expression, rule: ChainedRule) -> bool:
        try:
            return evaluate_condition(condition, self.data, self.roots, self.cost)
        except ValueMissing:
            return False
        except EvaluationError as error:
            error.place = f"rule {rule.name!r}"
            raise

    def _fire(self, rule: ChainedRule) -> bool:
        """Carry out the actions; whether they changed anything."""
        touched: set[str] = set()
        self._act(rule, rule.actions, touched)
        if rule.no_loop:
            self.ended.add(rule.name)
        self._wake(touched)
        return bool(touched)

    def _act(self, rule: ChainedRule, actions: tuple[Action, ...], touched: set[str]) -> None:
        for action in actions:
            if isinstance(action, Assignment):
                if self._assign(rule, action):
                    touched.add(action.path[0])
            elif isinstance(action, Branch):
                self._act(rule, self._chosen(rule, action), touched)
            elif isinstance(action, Retract):
                self.ended.add(action.rule)
            else:
                self.ended |= {other.name for other in self.rules}

    def _chosen(self, rule: ChainedRule, branch: Branch) -> tuple[Action, ...]:
        for condition, actions in branch.cases:
            self.cost.spend(_RULE)
            if self._holds(condition, rule):
                return actions
        return branch.otherwise

    def _assign(self, rule: ChainedRule, assignment: Assignment) -> bool:
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

    def _wake(self, touched: set[str]) -> None:
        if touched:
            self.resting = {
                rule.name
                for rule in self.rules
                if rule.name in self.resting and rule.wakes_on is not None and rule.wakes_on.isdisjoint(touched)
            }


def _same(before: object, after: Json, cost: Cost) -> bool:
    return before is after or (before is not MISSING and equal(cost, before, after))


@dataclass(frozen=True, slots=True)
class _Target:
    """What is assigned, and by which rule."""

    rule: str
    path: Path
    cost: Cost


def _replaced(holder: object, path: Path, value: Json, target: _Target) -> Json:
    """`holder` with `value` at `path`; objects on the way are copied, or made where there is none. Null is a value."""
    if not path:
        return value
    if holder is MISSING:
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
