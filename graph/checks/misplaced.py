"""Fields that would do nothing where they stand: they are refused, never accepted and ignored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from anabranch.errors import Problem
from anabranch.graph.dataflow.races import fires_at
from anabranch.graph.kinds.finder import Finder
from anabranch.graph.kinds.kind import Runs
from anabranch.graph.kinds.kinds import has_body, kind_of, types_that_run
from anabranch.graph.model import BaseNode, FailNode, ForeachNode, GraphNode, StopNode, WaitNode, WhileNode

_CODE = "FIELD_HAS_NO_EFFECT"
_LIMITS = ("rate_limit", "concurrency")
_OF_LEAVES = frozenset(
    {"heartbeat", "priority", "queue_timeout", "task_queue", "cache", "circuit_breaker", "local", *_LIMITS}
)
_BODIES = "block, foreach, while and graph nodes"


@dataclass(frozen=True, slots=True)
class _Use:
    """Which nodes a field is for, in code and in words."""

    by: Callable[[BaseNode], bool]
    only: str


def _in_handler(node: BaseNode) -> bool:
    return kind_of(node).runs is Runs.HANDLER


def _in_activity(node: BaseNode) -> bool:
    return kind_of(node).runs in (Runs.HANDLER, Runs.ACTIVITY)


def _in_child(node: BaseNode) -> bool:
    return isinstance(node, GraphNode) and node.mode == "child_workflow"


def _composite(node: BaseNode) -> bool:
    return has_body(node) or _in_child(node)


def _is_retried(node: BaseNode) -> bool:
    return _composite(node) and node.retry is not None


def _is_wait(node: BaseNode) -> bool:
    return isinstance(node, WaitNode)


def _takes_time(node: BaseNode) -> bool:
    return not isinstance(node, WaitNode | FailNode | StopNode)


def _does_something(node: BaseNode) -> bool:
    return not isinstance(node, FailNode | StopNode)


def _may_be_handled(node: BaseNode) -> bool:
    return _does_something(node) or (isinstance(node, FailNode) and node.on_failure == "pause")


def _uses() -> dict[str, _Use]:
    handlers = _Use(_in_handler, f"{', '.join(types_that_run(by=(Runs.HANDLER,)))} nodes")
    activities = _Use(_in_activity, f"{', '.join(types_that_run(by=(Runs.HANDLER, Runs.ACTIVITY)))} nodes")
    return {
        **dict.fromkeys(("cache", "circuit_breaker", "local", *_LIMITS), handlers),
        **dict.fromkeys(("heartbeat", "priority"), activities),
        "total_timeout": _Use(
            lambda node: _in_activity(node) or _is_retried(node), f"{activities.only}, and {_BODIES} with `retry`"
        ),
        "queue_timeout": _Use(lambda node: _in_activity(node) and not node.local, f"{activities.only}, unless `local`"),
        "task_queue": _Use(
            lambda node: _in_activity(node) or _in_child(node), f"{activities.only}, and graphs as child workflows"
        ),
        "retry": _Use(lambda node: _in_activity(node) or _composite(node), f"{activities.only}, and {_BODIES}"),
        **dict.fromkeys(("compensate", "effect", "pivot"), _Use(_does_something, "nodes that do something")),
        "on_failure": _Use(_may_be_handled, "nodes that may fail, and may go on"),
        "timeout": _Use(_takes_time, "nodes that do something, and do not wait for a time"),
        "output": _Use(
            lambda node: _does_something(node) and not isinstance(node, WaitNode | ForeachNode | WhileNode),
            "nodes that have a result of their own",
        ),
        "losers": _Use(lambda node: fires_at(node) is not None, "nodes with `join: first` or a number"),
    }


def misplaced(node: BaseNode, finder: Finder) -> Iterator[Problem]:
    """Fields that the node's work never looks at."""
    for name, use in _uses().items():
        if _says(node, name) and not use.by(node):
            article = "an" if name in ("output", "effect", "on_failure") else "" if name == "losers" else "a"
            message = f"has {article} `{name}`, which is only for {use.only}".replace("  ", " ")
            yield finder.problem(_CODE, message, name, suggestion=_instead(name, node))


def misplaced_in_compensation(node: BaseNode, finder: Finder) -> Iterator[Problem]:
    """Fields that only a node of the graph has: no edge leads to a compensation, and its failure is the saga's."""
    for name in ("when", "join", "on_failure", "pivot"):
        if _says(node, name):
            message = f"has `{name}`, which a compensation does not have: it runs whenever its node is undone"
            suggestion = "remove it; `saga.on_compensation_failure` says what becomes of one that fails"
            if name == "when":
                suggestion = "remove it, and let its parameters do nothing where nothing is to be undone"
            yield finder.problem(_CODE, message, name, suggestion=suggestion)


def misplaced_in_notice(node: BaseNode, field: str, inner: str, finder: Finder) -> Iterator[Problem]:
    """Fields that what reminds of a question does not have: it is no node of the graph, and writes nothing."""
    for name in ("when", "join", "losers", "on_failure", "pivot", "compensate", "output", "local", "cache"):
        if _says(node, name):
            message = f"has `{name}` in its `{field}.{inner}`, which tells people of a question and does nothing else"
            yield finder.problem(_CODE, message, field, inner, name, suggestion="remove it")


def _says(node: BaseNode, name: str) -> bool:
    """Whether a field is other than where it is left out: a definition with every default in it is the same graph."""
    defaults = _defaults(type(node))
    return name in defaults and getattr(node, name) not in (None, defaults[name])


@cache
def _defaults(model: type[BaseNode]) -> dict[str, Any]:
    return {name: field.get_default(call_default_factory=True) for name, field in model.model_fields.items()}


def _instead(name: str, node: BaseNode) -> str:
    if name == "losers":
        return "remove it, or write `join: first` or `join: 2`"
    if name == "output" and isinstance(node, ForeachNode | WhileNode):
        return f"write `collect`: a list of what each {'item' if isinstance(node, ForeachNode) else 'turn'} came to"
    if name == "timeout" and _is_wait(node):
        return "remove it: `for` or `until` says how long it waits"
    if name == "total_timeout" and not _is_wait(node):
        return "write `timeout`, or `retry` beside it" if _composite(node) else "write `timeout`"
    if _composite(node) and name in _OF_LEAVES:
        return "give it to the nodes inside"
    return "remove it"
