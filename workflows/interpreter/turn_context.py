"""What the turns of a body see of the context, and what is collected of them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from anabranch.context.changes import ChangeSet
from anabranch.context.merge.lineage import Line
from anabranch.context.nested import check_ways
from anabranch.context.values import Json, Path, parse_path
from anabranch.graph.dataflow.handlers import ERRORS
from anabranch.graph.expressions.cost import Cost
from anabranch.graph.expressions.expressions import evaluate_condition
from anabranch.graph.parts import Collect
from anabranch.graph.plan import Plan
from anabranch.workflows.interpreter.input import with_inputs
from anabranch.workflows.interpreter.scope import BodyRun, Scope
from anabranch.workflows.interpreter.state import RunState


def fresh(line: Line) -> Line:
    """A separate line with the same data, since the writers of a body have numbers of their own."""
    return Line.start(line.data, line.version)


def names_around(state: RunState, body: BodyRun, graph: str | None = None) -> Mapping[str, Json]:
    """What the nodes of a body see beside the context: the names around it, and what a handler knows of its error.

    A `graph` that the body names is written without the handler in mind.
    """
    scope, run = body.node.scope, body.node.run
    if graph is not None and "error" in scope.roots:
        return {name: value for name, value in scope.roots.items() if name not in ERRORS}
    if graph is not None or not run.planned.knows_error:
        return scope.roots
    known = state.roots(scope, run)
    return {**scope.roots, "error": known["error"], "errors": known["errors"]}


def entered(plan: Plan, data: dict[str, Json], line: Line, around: Mapping[str, Json] = {}) -> Line:
    """A separate line with which a turn begins. The `inputs` of a graph are checked, and their defaults filled in."""
    if (inputs := plan.graph.inputs) is not None:
        data = with_inputs(plan.graph, inputs, data, around)
    return Line.start(data, line.version)


def seen(state: RunState, body: BodyRun, data: Mapping[str, Json], cost: Cost) -> Mapping[str, Json]:
    """`data` with the names of the node's `input`, which have the values of when it started in each turn."""
    node, planned = body.node, body.node.run.planned
    if not planned.gives_names:
        return data
    roots = state.roots(node.scope, node.run, at=node.at)
    return {**data, **planned.own_names(node.line.data, roots, cost)}


def collected(body: BodyRun, into: str, *, is_joined: bool = False) -> ChangeSet:
    """The list of the values that were kept, in the order of the turns; `is_joined` says that each is a part of it."""
    values = [value for _, value in sorted(body.results.items()) if not isinstance(value, ChangeSet)]
    if is_joined:
        values = [*chain.from_iterable(part for part in values if isinstance(part, list))]
    path = (into,) if into.isidentifier() else free_path(body, into)
    return ChangeSet(base_version=body.node.line.version, set={path: values})


def free_path(body: BodyRun, text: str) -> Path:
    """The path at which the node writes one of its lists. Raises WriteRefused."""
    path = parse_path(text)
    check_ways(body.node.line.data, (path,))
    return path


def collect(state: RunState, body: BodyRun, spec: Collect, scope: Scope, line: Line) -> None:
    """Keep the value of a turn that has ended, if it has one. Raises EvaluationError."""
    if scope.did_nothing:
        return
    planned = body.node.run.planned
    with state.budget.evaluating() as cost:
        data, roots = seen(state, body, line.data, cost), state.roots(scope)
        if spec.when is None or evaluate_condition(planned.expression(spec.when, *scope.roots), data, roots, cost):
            body.results[scope.turn] = planned.expression(spec.value, *scope.roots).evaluate(data, roots, cost)
