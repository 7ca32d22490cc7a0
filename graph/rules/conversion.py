"""Rules that chain as a list of `rules`, where a list comes to the same: `anabranch convert` writes it.

A list is gone through once. So it is the same only where no rule reads what it, or a rule after it, writes. A branch
becomes a rule of its own, and what may be absent is asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from anabranch.context.values import Json, Path, format_path
from anabranch.graph.expressions.expressions import Expression, compile_expression
from anabranch.graph.rules import names
from anabranch.graph.rules.chained_rule import Action, Assignment, Branch, ChainedRule, every
from anabranch.graph.rules.rules_text import parse_rules

_LITERAL = re.compile(r'-?\d+(?:\.\d+)?|true|false|null|"[^"\\]*"')
_CHOICE = re.compile(r"\|\||\?")
_DIRECT = re.compile(r"[\w.]+")


@dataclass(frozen=True, slots=True)
class Converted:
    """`rules` for a `rule` node; without them, `reasons` say why the text has no such list, and stays what it is."""

    rules: tuple[dict[str, Json], ...]
    reasons: tuple[str, ...] = ()


def to_rules(text: str, roots: frozenset[str] = frozenset()) -> Converted:
    """A text of rules as a list that writes the same from the same context. ExpressionError if it does not compile."""
    chained = parse_rules(text, roots)
    reasons = tuple(dict.fromkeys(_reasons(chained, roots)))
    return Converted((), reasons) if reasons else Converted(tuple(_listed(chained)))


def _reasons(rules: Sequence[ChainedRule], roots: frozenset[str]) -> Iterator[str]:
    for index, rule in enumerate(rules):
        place = f"rule {rule.name!r}"
        if any(not isinstance(action, Assignment | Branch) for action in every(rule.actions)):
            yield f"{place} ends rules by `Retract` or `Complete`: a list has nothing of the kind"
        for path in sorted(path for path in rule.assigned if len(path) > 1):
            yield f"{place} writes `{format_path(path)}`, and makes an object of null: a list refuses that"
        if rule.keys is None:
            yield f"{place} reads the whole context, and so what rules write"
        for later in rules[index:]:
            for key in sorted((rule.keys or frozenset()) & {path[0] for path in later.assigned}):
                yield f"{place} reads `{key}`, which {'it' if later is rule else repr(later.name)} writes"
        yield from (
            f"{place} has a choice that reads what may be absent: `{' '.join(expression.source.split())[:60]}`"
            for expression in _conditions(rule, roots)
            if _CHOICE.search(expression.source) and len(_absent(expression, frozenset())) > 1
        )


def _conditions(rule: ChainedRule, roots: frozenset[str]) -> Iterator[Expression]:
    yield from (compile_expression(part, roots) for part in rule.parts)
    for action in every(rule.actions):
        if isinstance(action, Branch):
            yield from (condition for condition, _ in action.cases)


def _listed(rules: Sequence[ChainedRule]) -> Iterator[dict[str, Json]]:
    for rule in rules:
        known = rule.when.paths
        held = [*_asked(rule.when, frozenset()), *([] if rule.when.source == "true" else [_own(rule.when)])]
        for index, (conditions, then) in enumerate(_steps(rule.actions, held, known), 1):
            named: dict[str, Json] = {"name": rule.name if index == 1 else f"{rule.name} {index}"}
            if conditions:
                named["when"] = " && ".join(dict.fromkeys(conditions))
            yield {**named, "then": then}


def _steps(
    actions: Sequence[Action], held: list[str], known: frozenset[Path]
) -> Iterator[tuple[list[str], dict[str, Json]]]:
    """What is written under which conditions, in order."""
    then: dict[str, Json] = {}
    for action in actions:
        if isinstance(action, Assignment):
            then[action.path[0]] = _value(action.value)
        elif isinstance(action, Branch):
            if then:
                yield held, then
                then = {}
            yield from _branches(action, held, known)
    if then:
        yield held, then


def _branches(branch: Branch, held: list[str], known: frozenset[Path]) -> Iterator[tuple[list[str], dict[str, Json]]]:
    passed = list(held)
    for condition, actions in branch.cases:
        asked, own = _asked(condition, known), _own(condition)
        yield from _steps(actions, [*passed, *asked, own], known | condition.paths)
        passed = [*passed, f"!({' && '.join([*asked, own])})"]
    yield from _steps(branch.otherwise, passed, known)


def _own(condition: Expression) -> str:
    """The condition where null counts as false, as it does at the top of a condition."""
    source = condition.source
    if _DIRECT.fullmatch(source) and source not in ("true", "false"):
        return f"{source} != null && {source}"
    return f"({source})" if _CHOICE.search(source) else source


def _asked(expression: Expression, known: frozenset[Path]) -> list[str]:
    """What asks for all that the expression reads: keys by `has(context.KEY)`, then fields."""
    return [_asks(path) for path in _absent(expression, known)]


def _absent(expression: Expression, known: frozenset[Path]) -> list[Path]:
    """The paths that may be absent, each after those above it."""
    paths = {path[:length] for path in expression.paths for length in range(1, len(path) + 1)}
    given = {path[:length] for path in known for length in range(1, len(path) + 1)}
    return sorted(paths - given)


def _asks(path: Path) -> str:
    if len(path) == 1:
        return f"has(context.{path[0]})"
    holder = path[0] + "".join(map(names.field, path[1:-1]))
    step = names.field(path[-1])
    asked = f"has({holder}{step})" if step.startswith(".") else f"{json.dumps(path[-1])} in {holder}"
    return f"type({holder}) == map && {asked}"


def _value(expression: Expression) -> Json:
    if _LITERAL.fullmatch(expression.source) and "{{" not in expression.source:
        value: Json = json.loads(expression.source)
        return value
    return f"{{{{ {expression.source} }}}}"
