"""What is particular to `rule` nodes: a later rule sees what an earlier one wrote; tables and GRL show what is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from anabranch.context.nested import nested
from anabranch.context.values import Json, Path, parse_path
from anabranch.errors import InputError, Problem
from anabranch.graph.fields import JsonObject
from anabranch.graph.kinds.finder import Finder
from anabranch.graph.kinds.keys import (
    NO_KEYS,
    NO_PATHS,
    NOTHING,
    Keys,
    Paths,
    Reads,
    all_reads,
    expression_reads,
    template_reads,
    tested,
    tops,
    union,
)
from anabranch.graph.kinds.remembered import remembered
from anabranch.graph.model import BaseNode, RuleNode
from anabranch.graph.parts import Rule
from anabranch.graph.rules.decision_table import read_table

if TYPE_CHECKING:
    from anabranch.graph.rules.chained_rule import ChainedRule

APPENDED: Final[Json] = "{{ appended }}"
"""Stands for values that are added to a list, among those that a node may write."""
MAX_CELLS = 20
"""Problems of one table that are shown."""


def in_order(rules: Iterable[Rule]) -> list[Rule]:
    """The rules as they are tried: by salience, the highest first, then by position."""
    return sorted(rules, key=lambda rule: -rule.salience)


def rule_reads(node: RuleNode, roots: frozenset[str]) -> Reads:
    """What the rules read that none before them has surely written."""
    if node.grl is not None:
        # Its parser costs graphs without such rules a tenth of a second.
        from anabranch.graph.rules.rules_text import parse_rules

        return _grl_reads(parse_rules(node.grl, roots))
    if node.decision_table is not None:
        table = read_table(node.decision_table)
        return Reads(needs=frozenset((*(column.path for column in table.columns), *((name,) for name in table.names))))
    found, sure, maybe = NOTHING, NO_KEYS, NO_PATHS
    for rule in in_order(node.rules or ()):
        guarded = tested(rule.when, roots)
        sides = (rule.then or {}, rule.append or {}, rule.otherwise or {})
        written = all_reads(template_reads(side, roots) for side in sides)
        own = expression_reads(rule.when, roots) | written.without(NO_KEYS, guarded)
        found |= own.without(sure).allowing(maybe)
        maybe |= _writes(rule)
        sure |= {path[0] for path in _sure_writes(rule) if len(path) == 1} - (tops(_paths(rule.append)) or NO_KEYS)
    return found


def rule_writes(_id: str, node: RuleNode) -> Keys:
    """The keys of all rules."""
    return tops(rule_paths(node))


@remembered
def rule_paths(node: RuleNode) -> Paths:
    """The paths that the rules may write; of a GRL text whole keys."""
    if node.grl is not None:
        from anabranch.graph.rules.rules_text import parse_rules

        return frozenset((path[0],) for rule in parse_rules(node.grl) for path in rule.assigned)
    if node.decision_table is not None:
        table = read_table(node.decision_table)
        keys = table.writes
        return None if keys is None else frozenset(path for key in keys for path in table.parts.get(key, ((key,),)))
    return NO_PATHS.union(*map(_writes, node.rules or ()))


@remembered
def sure_writes(node: RuleNode) -> frozenset[Path]:
    """The paths that are written whatever the rules decide. Of a table or GRL text all of its keys count as sure."""
    if node.rules is None:
        return rule_paths(node) or NO_PATHS
    rules = in_order(node.rules)
    return _first_writes(rules) if node.hit == "first" else _all_writes(rules)


def _first_writes(rules: list[Rule]) -> frozenset[Path]:
    sure = NO_PATHS
    for rule in reversed(rules):
        passed = _paths(rule.otherwise) | sure
        if not _is_default(rule):
            passed = _held(rule) if rule.when is None else _held(rule) & passed
        sure = passed
    return sure


def _all_writes(rules: list[Rule]) -> frozenset[Path]:
    sure = NO_PATHS.union(*map(_sure_writes, rules))
    conditional: list[frozenset[Path]] = []
    for rule in rules:
        if rule.when is not None:
            conditional.append(_held(rule))
        elif _is_default(rule):  # it applies where none of the conditional ones before it did
            sure |= _paths(rule.otherwise).intersection(*conditional)
    return sure


def written_values(node: BaseNode, key: str) -> list[Json] | None:
    """The values that a node may write under a key, holes as they are written; None where they are not known."""
    if node.output is not None:
        return list(values_under(key, dict(node.output)))
    if not isinstance(node, RuleNode) or node.rules is None:
        return None
    found: list[Json] = []
    for rule in node.rules:
        for side in (rule.then or {}, rule.otherwise or {}, dict.fromkeys(rule.append or {}, APPENDED)):
            found += values_under(key, side)
    return found


def values_under(key: str, values: Mapping[str, Json]) -> Iterator[Json]:
    """Of values by path, each that stands under a key, as the object that it makes of it."""
    for text, value in values.items():
        if (path := parse_path(text))[0] == key:
            yield nested({path: value})[key]


def check_rule(node: RuleNode, finder: Finder) -> Iterator[Problem]:
    """One source of rules, and rules that can apply."""
    names = ("rules", "decision_table", "grl")
    yield from finder.exactly_one("RULE_SOURCE", [name for name in names if getattr(node, name) is not None], names)
    if node.rules == ():
        yield finder.problem("RULE_SOURCE", "has no rules", "rules")
    for index, rule in enumerate(node.rules or ()):
        yield from _check_rule(rule, index, finder)
    if node.decision_table is not None:
        yield from _check_table(node.decision_table, finder)


def rule_summary(node: RuleNode) -> str:
    """How many rules, or of what kind."""
    if node.rules is not None:
        return f"{len(node.rules)} rule{'s' * (len(node.rules) != 1)}"
    if node.grl is None:
        return "decision table"
    from anabranch.graph.rules.rules_text import is_drools

    return "Drools-like rules" if is_drools(node.grl) else "GRL"


def _grl_reads(rules: tuple[ChainedRule, ...]) -> Reads:
    # A condition on a missing key is false until a rule assigns it; a key that no rule assigns must exist.
    assigned = {path for rule in rules for path in rule.assigned}
    read = {path for rule in rules for path in rule.paths}
    outside = (path for path in read if not any(path[: index + 1] in assigned for index in range(len(path))))
    return Reads(union(*(rule.keys for rule in rules)), frozenset((path[0],) for path in outside))


def _paths(side: JsonObject | None) -> frozenset[Path]:
    return frozenset(map(parse_path, side or ()))


def _held(rule: Rule) -> frozenset[Path]:
    """What the rule writes where its condition holds."""
    return _paths(rule.then) | _paths(rule.append)


def _is_default(rule: Rule) -> bool:
    return rule.when is None and rule.then is None and rule.append is None


def _writes(rule: Rule) -> frozenset[Path]:
    return _held(rule) | _paths(rule.otherwise)


def _sure_writes(rule: Rule) -> frozenset[Path]:
    if _is_default(rule):
        return NO_PATHS
    return _held(rule) if rule.when is None else _held(rule) & _paths(rule.otherwise)


def _check_rule(rule: Rule, index: int, finder: Finder) -> Iterator[Problem]:
    if rule.then is None and rule.append is None and rule.otherwise is None:
        message = f"has the rule {index + 1}, which writes nothing"
        yield finder.problem("RULE_EMPTY", message, "rules", index, suggestion="give it `then: {key: value}`")
    if rule.when is None and not _is_default(rule) and rule.otherwise is not None:
        message = f"has the rule {index + 1}, whose `otherwise` never applies: it has no `when`"
        yield finder.problem("RULE_OTHERWISE", message, "rules", index, "otherwise", warning=True)


def _check_table(table: JsonObject | str, finder: Finder) -> Iterator[Problem]:
    from anabranch.graph.rules.table_cells import problems_of  # loads the engine

    try:
        found = list(problems_of(read_table(table)))
    except InputError as error:
        message = f"has a `decision_table` that is not evaluated: {error.message}"
        yield finder.problem("DECISION_TABLE", message, "decision_table", suggestion=error.suggestion)
        return
    for each in found[:MAX_CELLS]:
        steps = each.steps if isinstance(table, dict) else ()
        message = f"has a `decision_table` with {each.message}"
        yield finder.problem("DECISION_TABLE", message, "decision_table", *steps, suggestion=each.suggestion)
