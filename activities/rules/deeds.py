"""Which rules of a node decided, found by evaluating them again on what it saw."""

from __future__ import annotations

from collections.abc import Iterator

from anabranch.activities.rules.decision_table import rows_that_decide
from anabranch.activities.rules.handler import evaluate_rules
from anabranch.errors import AnabranchError
from anabranch.graph.kinds.kind import Seen
from anabranch.graph.model import RuleNode


def rule_deeds(node: RuleNode, seen: Seen) -> Iterator[str]:
    """The rules, or the rows of a decision table, that decided, with their conditions."""
    try:
        if node.decision_table is not None:
            yield from rows_that_decide(node.decision_table, seen.data) or ("no row of its decision table",)
            return
        fired = evaluate_rules(node, seen.data, seen.roots).fired
    except AnabranchError as error:
        yield f"its rules, which cannot be evaluated again: {error}"
        return
    yield from fired
    if any(each.endswith("otherwise") for each in fired):
        yield from (f"{each} did not hold" for each in _conditions_of(node) if each not in fired)


def _conditions_of(node: RuleNode) -> Iterator[str]:
    """The rules that have a condition, as those that fire are named."""
    for position, rule in enumerate(node.rules or (), 1):
        if rule.when is not None:
            yield f"rule {rule.name or position!r}: when {rule.when}"
