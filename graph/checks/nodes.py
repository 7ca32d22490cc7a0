"""What a node needs beyond the shape of its fields: what every type requires, then what its own type requires."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from anabranch.errors import Problem
from anabranch.graph.checks.misplaced import misplaced, misplaced_in_compensation, misplaced_in_notice
from anabranch.graph.kinds.finder import Finder
from anabranch.graph.kinds.kind import Runs
from anabranch.graph.kinds.kinds import kind_of, notices_of, types_that_run
from anabranch.graph.model import BaseNode
from anabranch.graph.source.yaml_source import Pointer, Source

_COMPENSATING = (Runs.HANDLER, Runs.ACTIVITY)


_TIMES = (
    *((name,) for name in ("timeout", "queue_timeout", "total_timeout", "heartbeat")),
    ("retry", "initial_interval"),
    ("retry", "max_interval"),
    ("circuit_breaker", "window"),
    ("circuit_breaker", "reset"),
    ("rate_limit", "per"),
    ("cache", "ttl"),
)


def check_node(path: Pointer, node: BaseNode, source: Source) -> Iterator[Problem]:
    """Problems of one node by itself."""
    finder = Finder(path, source)
    yield from _times(node, finder)
    yield from misplaced(node, finder)
    if path[-1] == "compensate":
        yield from misplaced_in_compensation(node, finder)
    yield from _compensation(node, finder)
    yield from _notices(node, finder)
    yield from _reused(node, finder)
    yield from _undone_locally(node, finder)
    if (check := kind_of(node).checks) is not None:
        yield from check(node, finder)


def _times(node: BaseNode, finder: Finder) -> Iterator[Problem]:
    zero = timedelta(0)
    for steps in _TIMES:
        value: Any = node
        for step in steps:
            value = None if value is None else getattr(value, step)
        if isinstance(value, timedelta) and value <= zero:
            yield finder.problem("DURATION_NOT_POSITIVE", f"has a `{'.'.join(steps)}` of zero", *steps)
    retry = node.retry
    if retry is not None and retry.max_interval is not None and zero < retry.max_interval < retry.initial_interval:
        message = "has a `retry.max_interval` below its `initial_interval`"
        yield finder.problem("RETRY_INTERVALS", message, "retry", "max_interval")
    timeout = None if isinstance(node.timeout, str) else node.timeout
    for name, value in (("timeout", timeout), ("queue_timeout", node.queue_timeout)):
        if value is not None and node.total_timeout is not None and value > node.total_timeout > zero:
            message = f"has a `{name}` above its `total_timeout`, which ends it before"
            yield finder.problem("TIMEOUT_TOO_LONG", message, name, warning=True)
    if node.heartbeat is not None and timeout is not None and node.heartbeat >= timeout:
        message = "has a `heartbeat` that is not shorter than its `timeout`: it never shows that a worker was lost"
        yield finder.problem("HEARTBEAT_TOO_LONG", message, "heartbeat", warning=True)


def _compensation(node: BaseNode, finder: Finder) -> Iterator[Problem]:
    """Compensations that cannot be one."""
    if node.compensate is not None and kind_of(node.compensate).runs not in _COMPENSATING:
        message = f"is undone by a `{node.compensate.type}` node"
        suggestion = f"a compensation is one of {', '.join(types_that_run(by=_COMPENSATING))}"
        yield finder.problem("COMPENSATION_TYPE", message, "compensate", "type", suggestion=suggestion)


def _notices(node: BaseNode, finder: Finder) -> Iterator[Problem]:
    """What reminds of a question, and cannot: it runs beside the graph, and writes nothing."""
    for (field, inner), notice in notices_of(node):
        kind = kind_of(notice)
        if kind.runs not in _COMPENSATING or kind.local_by_default:
            allowed = (name for name in types_that_run(by=_COMPENSATING) if name != "rule")
            message = f"tells people of its question by a `{notice.type}` node"
            suggestion = f"what tells them is one of {', '.join(allowed)}"
            yield finder.problem("NOTICE_TYPE", message, field, inner, "type", suggestion=suggestion)
        else:
            yield from misplaced_in_notice(notice, field, inner, finder)


def _reused(node: BaseNode, finder: Finder) -> Iterator[Problem]:
    """A run that takes another's result has done nothing itself: there is nothing for it to have done, or to undo."""
    if node.cache is None or kind_of(node).runs is not Runs.HANDLER:
        return
    if node.compensate is not None:
        message = "has a `cache` and a `compensate`: a run would undo what only another run has done"
        suggestion = "remove one; a look-up before it may have the `cache`"
        yield finder.problem("CACHE_COMPENSATED", message, "cache", suggestion=suggestion)
    elif kind_of(node).may_have_effect(node):
        message = "has a `cache` and an effect, which a run that takes another's result would not have"
        suggestion = "remove the `cache`, or say `effect: false` where it changes nothing outside of the context"
        yield finder.problem("CACHE_OF_EFFECT", message, "cache", suggestion=suggestion)


def _undone_locally(node: BaseNode, finder: Finder) -> Iterator[Problem]:
    """What a local node has done is known once its workflow task ends: one that is lost leaves nothing to undo."""
    if node.local and node.compensate is not None and kind_of(node).may_have_effect(node):
        message = "is `local` and has a `compensate`: cancelled while its workflow task is lost, nothing undoes it"
        suggestion = "remove `local`; it is for what only computes"
        yield finder.problem("LOCAL_COMPENSATED", message, "local", suggestion=suggestion, warning=True)
