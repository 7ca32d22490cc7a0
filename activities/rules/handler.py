"""`rule` nodes: business rules over the context, as a list, a decision table (JDM), or a text (GRL, Drools-like).

What `output` sees as `result` are the keys that the rules wrote. Without `output` these are written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import cast

from anabranch.activities.evaluation import evaluated
from anabranch.activities.node_result import NodeResult
from anabranch.activities.rendering import visible_roots
from anabranch.activities.rules.chaining import Chained, evaluate_chain
from anabranch.activities.rules.decision_table import evaluate_table
from anabranch.activities.rules.table_process import PROCESSES
from anabranch.activities.rules.written import Written
from anabranch.context.values import Json
from anabranch.context.wire import measure
from anabranch.errors import AnabranchError, ExpressionTooCostly, NodeError
from anabranch.graph.expressions.cel_values import ELEMENT
from anabranch.graph.expressions.cost import Cost, OverCost
from anabranch.graph.expressions.expressions import compile_expression, evaluate_condition
from anabranch.graph.expressions.templates import compile_template
from anabranch.graph.fields import JsonObject
from anabranch.graph.kinds.rule import in_order
from anabranch.graph.model import RuleNode
from anabranch.graph.parts import Rule
from anabranch.transport.node_protocol import NodeTask

_SHORT = 1_000
"""Characters of rules that are parsed on the event loop: about ten milliseconds, once."""


class RuleActivity:
    """Runs `rule` nodes."""

    async def __call__(self, task: NodeTask, node: RuleNode) -> NodeResult:
        """Evaluate the rules; nothing else happens."""
        roots = visible_roots(task)
        if node.decision_table is not None:  # a thread waits for its process
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(_threads(), evaluate_rules, node, task.context.data, roots)
        else:
            short = node.grl is None or len(node.grl) < _SHORT
            found = await evaluated(lambda cost: evaluate_rules(node, task.context.data, roots, cost), at_once=short)
        return NodeResult(
            found.result, found.changes, warnings=found.warnings, parts=found.parts, appended=found.appended
        )


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(PROCESSES, thread_name_prefix="tables")


def evaluate_rules(
    node: RuleNode, data: Mapping[str, Json], roots: Mapping[str, Json], cost: Cost | None = None
) -> Chained:
    """What the node's rules write, charged to one cost. `data` is not changed.

    EvaluationError, placed at the rule, where an expression has no value; WriteRefused where a path leads through what
    is no object; NodeError if the node has none or several kinds of rules.
    """
    cost = cost or Cost()
    kinds = [kind for kind in (node.rules, node.decision_table, node.grl) if kind is not None]
    if len(kinds) != 1:
        raise NodeError(
            "a `rule` node has exactly one of `rules`, `decision_table` and `grl`", suggestion="remove all but one"
        )
    if node.grl is not None:
        found = evaluate_chain(node.grl, data, roots, cost)
    elif node.decision_table is not None:
        found = Chained.of(evaluate_table(node.decision_table, data))
    else:
        written = _evaluate_list(node, data, roots, cost)
        found = Chained(written.keys, parts=written.parts, appended=written.appended, fired=tuple(written.fired))
    _charge(found.result, cost)
    for key, value in found.result.items():
        measure(value, path=(key,))
    return found


def _charge(changes: dict[str, Json], cost: Cost) -> None:
    """Charge what is written, which is looked at again: one value may be written many times over."""
    waiting: list[Json] = [changes]
    try:
        while waiting:
            value = waiting.pop()
            cost.spend(ELEMENT + (len(value) // 256 if isinstance(value, str) else 0))
            if isinstance(value, list | dict):
                waiting += value if isinstance(value, list) else value.values()
    except OverCost as over:
        raise ExpressionTooCostly(
            f"what the rules write is too much: {over.message}", suggestion=over.suggestion
        ) from None


def _evaluate_list(node: RuleNode, data: Mapping[str, Json], roots: Mapping[str, Json], cost: Cost) -> Written:
    written = Written(data, cost)
    matched = False
    for rule in in_order(node.rules or ()):
        try:
            applies = _applies(rule, written.seen, roots, cost, matched=matched)
            default = _is_default(rule)
            chosen = rule.then if applies and not default else rule.otherwise if default == applies else None
            values = _rendered(chosen, written.seen, roots, cost)
            appended = _rendered(rule.append, written.seen, roots, cost) if applies and rule.append else None
            if values:
                written.add(values)
            if appended:
                written.append(appended)
            if values or appended:
                written.fired.append(_told(rule, node, applies=applies))
        except AnabranchError as error:
            error.place = error.place or _place(rule, node)
            raise
        except OverCost as over:
            raise ExpressionTooCostly(f"the rules: {over.message}", suggestion=over.suggestion) from None
        if applies and node.hit == "first":
            break
        matched = matched or (applies and rule.when is not None)
    return written


def _is_default(rule: Rule) -> bool:
    return rule.when is None and rule.then is None and rule.append is None


def _applies(rule: Rule, seen: Mapping[str, Json], roots: Mapping[str, Json], cost: Cost, *, matched: bool) -> bool:
    """Whether the rule's condition holds; a rule with `otherwise` alone applies where no condition before it held."""
    if rule.when is not None:
        return evaluate_condition(compile_expression(rule.when, frozenset(roots)), seen, roots, cost)
    return not (_is_default(rule) and matched)


def _rendered(
    values: JsonObject | None, seen: Mapping[str, Json], roots: Mapping[str, Json], cost: Cost
) -> dict[str, Json]:
    if not values:
        return {}
    template = compile_template(cast("Json", values), frozenset(roots))
    return cast("dict[str, Json]", template.render(seen, roots, cost))


def _told(rule: Rule, node: RuleNode, *, applies: bool) -> str:
    condition = "" if rule.when is None else f": when {rule.when}"
    return f"{_place(rule, node)}{condition}{'' if applies and not _is_default(rule) else ': otherwise'}"


def _place(rule: Rule, node: RuleNode) -> str:
    position = next(index for index, other in enumerate(node.rules or (), start=1) if other is rule)
    return f"rule {rule.name or position!r}"
