"""Templates of a node's fields, rendered with what the node may see."""

from __future__ import annotations

from dataclasses import replace
from typing import cast
from urllib.parse import quote

from anabranch.activities.evaluation import evaluated
from anabranch.context.distributed import DistributedContext
from anabranch.context.values import Json
from anabranch.errors import NodeError
from anabranch.graph.expressions.expressions import compile_expression, evaluate_condition
from anabranch.graph.expressions.templates import compile_template
from anabranch.graph.kinds.kinds import own_names
from anabranch.graph.kinds.tools import ARGS, FROM_MODEL, TALK
from anabranch.graph.model import Node
from anabranch.transport.node_protocol import SPENT, NodeTask

FORWARD_KEY = "forward_key"
"""The root that holds, for a compensation, the key of the node that it undoes (see `db`). No expression sees it."""

_HIDDEN = frozenset({FORWARD_KEY, FROM_MODEL, SPENT, TALK})


def visible_roots(task: NodeTask) -> dict[str, Json]:
    """The names beside the context's keys: `run`, and `item`, `index`, `error` where they exist."""
    roots = {name: value for name, value in task.roots.items() if name not in _HIDDEN}
    roots["run"] = task.run.root()
    return roots


def in_address(task: NodeTask) -> NodeTask:
    """The task as the templates of an address see it: what a model chose is one part of a path, or of a query.

    Raises NodeError for what would lead out of its part all the same.
    """
    if FROM_MODEL not in task.roots:
        return task
    return replace(task, roots={**task.roots, ARGS: _quoted(task.roots[ARGS])})


def _quoted(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _quoted(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_quoted(inner) for inner in value]
    if not isinstance(value, str):
        return value
    if value in (".", ".."):
        raise NodeError(f"the model gave {value!r} for a part of an address", suggestion="give it another value")
    return quote(value, safe="")


async def render(value: Json, task: NodeTask) -> Json:
    """The value with every `{{ }}` hole filled in, at any depth."""
    roots = visible_roots(task)
    template = compile_template(value, frozenset(roots))
    if template.constant:
        return value
    return await evaluated(lambda cost: template.render(task.context.data, roots, cost))


async def value_of(source: str, task: NodeTask, **names: Json) -> Json:
    """The value of an expression, which sees `names` beside what the node may see."""
    roots = {**visible_roots(task), **names}
    compiled = compile_expression(source, frozenset(roots))
    return await evaluated(lambda cost: compiled.evaluate(task.context.data, roots, cost))


async def holds(source: str, task: NodeTask, **names: Json) -> bool:
    """Whether a condition holds, which sees `names` beside what the node may see."""
    roots = {**visible_roots(task), **names}
    compiled = compile_expression(source, frozenset(roots))
    return await evaluated(lambda cost: evaluate_condition(compiled, task.context.data, roots, cost))


async def with_own_names(task: NodeTask, node: Node) -> NodeTask:
    """The task as the node's own fields see it: with the names of its `input` over the keys of the context."""
    if (templates := own_names(node)) is None:
        return task
    names = cast("dict[str, Json]", await render(templates, task))  # a template keeps its shape
    given = task.context
    context = DistributedContext(given.session_id, {**given.data, **names}, given.metadata, reads=given.reads)
    return replace(task, context=context, reads=None if task.reads is None else (*task.reads, *names))


async def values_of(template: Json, task: NodeTask) -> list[Json]:
    """The values of the holes of a template, each of its own type."""
    roots = visible_roots(task)
    compiled = compile_template(template, frozenset(roots))
    return await evaluated(lambda cost: compiled.values(task.context.data, roots, cost))
