"""Options of nodes that the graph gives as templates: where work goes, how long it may take, how much runs at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from anabranch.context.values import Json
from anabranch.errors import OptionInvalid
from anabranch.graph.dataflow.fields import route_fields
from anabranch.graph.expressions.cost import Cost
from anabranch.graph.expressions.templates import Template, compile_template
from anabranch.graph.fields import MAX_AT_ONCE, check_fairness_key, check_task_queue, parse_duration
from anabranch.graph.model import GraphNode, Node
from anabranch.graph.plan_node import PlanNode
from anabranch.graph.policies import Priority

_CHECKS: Mapping[str, Callable[[str], str]] = {"task_queue": check_task_queue, "fairness_key": check_fairness_key}


def routed(planned: PlanNode, data: Mapping[str, Json], roots: Mapping[str, Json], cost: Cost) -> PlanNode:
    """The node with what this run makes of its templates. Raises EvaluationError, OptionInvalid."""
    made: dict[str, str | float] = {}
    for field in route_fields(planned.node):
        name, place = str(field.path[-1]), f"node {planned.id!r}"
        template = compile_template(field.value, planned.roots)
        if name == "timeout":
            made[name] = time_of(template, data, roots, cost, place=place).total_seconds()
            continue
        text = template.text(data, roots, cost)
        if name == "graph":
            made[name] = _one_of(planned.node, text, place)
            continue
        try:
            made[name] = _CHECKS[name](text)
        except ValueError as error:
            message = f"`{'.'.join(map(str, field.path))}` {error}: {text[:80]!r}"
            raise OptionInvalid(message, place=place, suggestion="let its template make another text") from None
    return with_route(planned, made)


def _one_of(node: Node, name: str, place: str) -> str:
    allowed = node.named if isinstance(node, GraphNode) else ()
    if name not in allowed:
        message = f"`graph` is none of {', '.join(allowed)}: {name[:80]!r}"
        raise OptionInvalid(
            message, place=place, suggestion="let its template yield one of them, or add it to `one_of`"
        )
    return name


def time_of(
    template: Template, data: Mapping[str, Json], roots: Mapping[str, Json], cost: Cost, *, place: str
) -> timedelta:
    """The `timeout` that a template yields. Raises EvaluationError, OptionInvalid."""
    value = template.render(data, roots, cost)
    try:
        if (found := parse_duration(value)) > timedelta(0):
            return found
    except ValueError:
        pass
    message = f"`timeout` is not a duration above zero, of at most ten years: {str(value)[:80]!r}"
    suggestion = "let its template yield one, such as 30s, 5m, 24h or 250ms, or a number of seconds"
    raise OptionInvalid(message, place=place, suggestion=suggestion)


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


def with_route(planned: PlanNode, made: Mapping[str, str | float]) -> PlanNode:
    """The node with the task queue, the fairness key, the time and the graph that a run has made."""
    node, changed = planned.node, dict[str, Any]()
    if "task_queue" in made:
        changed["task_queue"] = made["task_queue"]
    if "fairness_key" in made and isinstance(node.priority, Priority):
        changed["priority"] = node.priority.model_copy(update={"fairness_key": made["fairness_key"]})
    if "graph" in made:
        changed["graph"] = made["graph"]
    if "timeout" in made:
        changed["timeout"] = timedelta(seconds=float(made["timeout"]))
    return replace(planned, node=node.model_copy(update=changed))


def route_of(planned: PlanNode) -> dict[str, str | float]:
    """What a run has made, of a node that is `routed`."""
    node, made = planned.node, dict[str, str | float]()
    if isinstance(node.timeout, timedelta):
        made["timeout"] = node.timeout.total_seconds()
    if node.task_queue is not None:
        made["task_queue"] = node.task_queue
    if isinstance(node.priority, Priority) and node.priority.fairness_key is not None:
        made["fairness_key"] = node.priority.fairness_key
    return made
