"""Options of nodes that the graph gives as templates: where activities go, and how many items run at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from anabranch.context.values import Json
from anabranch.errors import OptionInvalid
from anabranch.graph.dataflow.fields import route_fields
from anabranch.graph.expressions.cost import Cost
from anabranch.graph.expressions.templates import compile_template
from anabranch.graph.fields import MAX_AT_ONCE, check_fairness_key, check_task_queue
from anabranch.graph.plan import PlanNode
from anabranch.graph.policies import Priority

_CHECKS: Mapping[str, Callable[[str], str]] = {"task_queue": check_task_queue, "fairness_key": check_fairness_key}


def routed(planned: PlanNode, data: Mapping[str, Json], roots: Mapping[str, Json], cost: Cost) -> PlanNode:
    """The node with what this run makes of its templates. Raises EvaluationError, OptionInvalid."""
    made: dict[str, str] = {}
    for field in route_fields(planned.node):
        name = str(field.path[-1])
        text = compile_template(field.value, planned.roots).text(data, roots, cost)
        try:
            made[name] = _CHECKS[name](text)
        except ValueError as error:
            message = f"`{'.'.join(map(str, field.path))}` {error}: {text[:80]!r}"
            suggestion = "let its template make another text"
            raise OptionInvalid(message, place=f"node {planned.id!r}", suggestion=suggestion) from None
    return with_route(planned, made)


def number_at_once(
    planned: PlanNode, template: str, data: Mapping[str, Json], roots: Mapping[str, Json], cost: Cost
) -> int:
    """How many items of a `foreach` may run at once. Raises EvaluationError, OptionInvalid."""
    value = compile_template(template, planned.roots).render(data, roots, cost)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_AT_ONCE:
        message = f"`max_concurrency` is not a whole number from 1 to {MAX_AT_ONCE}: {str(value)[:80]!r}"
        suggestion = "let its template be one hole that yields such a number"
        raise OptionInvalid(message, place=f"node {planned.id!r}", suggestion=suggestion)
    return value


def with_route(planned: PlanNode, made: Mapping[str, str]) -> PlanNode:
    """The node with the task queue and the fairness key that a run has made."""
    node, changed = planned.node, dict[str, Any]()
    if "task_queue" in made:
        changed["task_queue"] = made["task_queue"]
    if "fairness_key" in made and isinstance(node.priority, Priority):
        changed["priority"] = node.priority.model_copy(update={"fairness_key": made["fairness_key"]})
    return replace(planned, node=node.model_copy(update=changed))


def route_of(planned: PlanNode) -> dict[str, str]:
    """What a run has made, of a node that is `routed`."""
    node, made = planned.node, dict[str, str]()
    if node.task_queue is not None:
        made["task_queue"] = node.task_queue
    if isinstance(node.priority, Priority) and node.priority.fairness_key is not None:
        made["fairness_key"] = node.priority.fairness_key
    return made
