"""What a node asks of the world (an activity, a timer, a person, a child workflow), and what its answer writes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import cast

from anabranch.context.changes import ChangeSet
from anabranch.context.merge.lineage import Line
from anabranch.context.nested import check_ways, nested
from anabranch.context.values import Json, parse_path
from anabranch.errors import EvaluationError, SizeLimitExceeded
from anabranch.graph.expressions.cost import Cost
from anabranch.graph.expressions.expressions import compile_expression
from anabranch.graph.expressions.templates import compile_template
from anabranch.graph.fields import MAX_SECONDS, JsonObject, parse_duration
from anabranch.graph.model import ApprovalNode, GraphNode, ReceiveNode, WaitNode
from anabranch.graph.plan import Plan
from anabranch.graph.plan_node import PlanNode
from anabranch.limits import ADDRESS_BYTES
from anabranch.workflows.interpreter.commands import AwaitEvent, Command, RunNode, StartChild, StartTimer
from anabranch.workflows.interpreter.event import data_of
from anabranch.workflows.interpreter.node_run import Status
from anabranch.workflows.interpreter.people import question_of
from anabranch.workflows.interpreter.routes import routed

_FIRST_MILLIS = 100_000_000_000
"""March 1973. A smaller number is one of seconds, until the year 5138."""


def command_of(
    address: str, planned: PlanNode, line: Line, roots: Mapping[str, Json], *, key: str, at: int, cost: Cost
) -> tuple[Command, Status]:
    """The command that starts a node, and the node's status then. Raises EvaluationError, SizeLimitExceeded."""
    node = planned.node
    if (size := len(address.encode())) > ADDRESS_BYTES:
        raise SizeLimitExceeded(
            f"the address of node {planned.id!r} has {size} bytes, over the limit of {ADDRESS_BYTES}",
            suggestion="give the nodes around it shorter ids, or run one of them as a child workflow",
        )
    if planned.is_routed:
        planned = routed(planned, line.data, roots, cost)
        node = planned.node
    if isinstance(node, WaitNode):
        return StartTimer(address, _seconds(node, planned, line, roots, cost, at=at)), Status.WAITING
    if isinstance(node, ApprovalNode):
        return question_of(node, planned, line, roots, address=address, cost=cost), Status.WAITING
    if isinstance(node, ReceiveNode):
        return AwaitEvent(address, node.names, node.mode == "all", _patience(node)), Status.WAITING
    if isinstance(node, GraphNode):
        given = line.data if node.input is None else graph_input(node, planned, line, roots, cost)
        return StartChild(address, planned, node.graph, given), Status.RUNNING
    return RunNode(address, planned, line, roots, key), Status.RUNNING


def _patience(node: ReceiveNode) -> float | None:
    return node.timeout.total_seconds() if isinstance(node.timeout, timedelta) else None


def _seconds(node: WaitNode, planned: PlanNode, line: Line, roots: Mapping[str, Json], cost: Cost, *, at: int) -> float:
    if isinstance(node.for_, timedelta):
        return node.for_.total_seconds()
    data = planned.seen(line.data, roots, cost)
    try:
        if node.for_ is not None:
            value = compile_template(node.for_, planned.roots).render(data, roots, cost)
            return parse_duration(value).total_seconds()
        until = planned.expression(node.until or "").evaluate(data, roots, cost)
        return _bounded(max(0.0, unix_seconds(until) - at / 1000), until)
    except ValueError as error:
        raise EvaluationError(
            str(error),
            place=f"node {planned.id!r}",
            suggestion="`for` takes a duration such as 30s; `until` yields an ISO 8601 time or Unix milliseconds",
        ) from None


def _bounded(seconds: float, until: Json) -> float:
    if seconds > MAX_SECONDS:
        raise ValueError(f"{until!r} is more than ten years away")
    return seconds


def unix_seconds(value: Json) -> float:
    """The time that a value says: ISO 8601 with a time zone, or Unix milliseconds. Raises ValueError."""
    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return moment.timestamp()
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value < _FIRST_MILLIS:
            raise ValueError(f"{value!r} is not a time in milliseconds since 1970: in seconds it needs `* 1000`")
        return value / 1000
    raise ValueError(f"{value!r} is not a time")


def graph_input(
    node: GraphNode, planned: PlanNode, line: Line, roots: Mapping[str, Json], cost: Cost
) -> dict[str, Json]:
    """The input of a graph whose node maps it."""
    rendered = compile_template(node.input, planned.roots).render(line.data, roots, cost)
    return cast("dict[str, Json]", rendered)  # a template keeps the shape of its value


def graph_result(plan: Plan, line: Line, roots: Mapping[str, Json], cost: Cost) -> dict[str, Json]:
    """What the `result` of a graph comes to at its end. Raises EvaluationError, naming the key."""
    given: dict[str, Json] = {}
    for key, source in (plan.graph.result or {}).items():
        try:
            given[key] = compile_expression(source, plan.roots).evaluate(line.data, roots, cost)
        except EvaluationError as error:
            error.place = f"`result.{key}` of graph {plan.graph.name!r}"
            raise
    if all(map(str.isidentifier, given)):
        return given
    return nested({parse_path(text): value for text, value in given.items()})


def fallback_changes(
    planned: PlanNode, values: JsonObject, line: Line, roots: Mapping[str, Json], cost: Cost
) -> ChangeSet:
    """What the run goes on with where a node has failed. Raises EvaluationError."""
    rendered = compile_template(values, planned.roots | {"error"}).render(line.data, roots, cost)
    written = cast("dict[str, Json]", rendered)  # a template keeps the shape of its value
    changes = ChangeSet(base_version=line.version, set={parse_path(text): value for text, value in written.items()})
    check_ways(line.data, changes.set)
    return changes


def mapped_output(
    planned: PlanNode,
    result: Json,
    line: Line,
    roots: Mapping[str, Json],
    cost: Cost,
    *,
    begun: Mapping[str, Json] | None = None,
) -> ChangeSet:
    """The change set of a node's `output` (path → expression over `result`). `begun` are the roots of its start.

    Without `output`, the properties of an object become keys, null writes nothing, and any other result is written
    under the node's id.
    """
    node = planned.node
    if node.output is not None:
        scope, data = {**roots, "result": result}, planned.seen(line.data, begun or roots, cost)
        return ChangeSet(
            base_version=line.version,
            set={
                (text,) if text.isidentifier() else parse_path(text): planned.expression(source, "result").evaluate(
                    data, scope, cost
                )
                for text, source in node.output.items()
            },
        )
    if isinstance(node, ReceiveNode):
        result = {planned.id: data_of(node, result)}
    written = {} if result is None else result if isinstance(result, dict) else {planned.id: result}
    return ChangeSet(base_version=line.version, set={(key,): value for key, value in written.items()})
