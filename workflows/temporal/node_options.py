"""How a node's activity is scheduled: timeouts, retry policy, task queue and priority, from the YAML."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy

from anabranch.graph.kinds.kinds import kind_of
from anabranch.graph.model import ActivityNode, Node
from anabranch.graph.policies import Defaults, Retry
from anabranch.graph.policies import Priority as NodePriority
from anabranch.transport.node_protocol import WAITING_FACTOR
from anabranch.workflows.temporal.failures import RESULT_TOO_LARGE

_UNLIMITED = Retry(max_attempts=0)
"""A compensation is tried until the saga's deadline."""
_SHORTEST = timedelta(milliseconds=1)
_ASKING = timedelta(seconds=10)
_ASKED_AGAIN = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))
"""Where a worker dies that asks, or says no pause."""
_LONGEST_PAUSE = 100
"""How many times the first pause the longest one is, where the policy does not say it: as the server has it."""
_MANY = 64
"""Attempts after which every back-off has come to its longest pause, or is none."""
_LAST_WAIT = timedelta(minutes=1)
"""How long the only attempt of a compensation past the deadline waits for a worker."""


@dataclass(frozen=True, slots=True)
class Before:
    """What has gone before the activity that is to do a node's work, where that had to wait for its turn."""

    attempts: int = 0
    """Those that began."""
    seconds: float = 0.0


FIRST: Final = Before()


def is_limited(node: Node) -> bool:
    """Whether a limit of rate or concurrency may have the node wait for its turn."""
    return node.rate_limit is not None or node.concurrency is not None


def retry_policy(retry: Retry) -> RetryPolicy:
    """The policy that Temporal follows."""
    return RetryPolicy(
        initial_interval=retry.initial_interval,
        backoff_coefficient=retry.backoff,
        maximum_interval=retry.max_interval,
        maximum_attempts=retry.max_attempts,
        non_retryable_error_types=[*retry.non_retryable, RESULT_TOO_LARGE],
    )


def runs_locally(node: Node, defaults: Defaults) -> bool:
    """Whether the node runs as a local activity, inside the workflow's task."""
    if isinstance(node, ActivityNode):
        return False
    if node.local is not None:
        return node.local
    return defaults.local and kind_of(node).local_by_default


def local_options(
    node: Node, defaults: Defaults, *, undo: bool, deadline: float | None, before: Before = FIRST
) -> dict[str, Any]:
    """Keyword arguments of `workflow.start_local_activity`. Past the saga's deadline there is one attempt.

    Of the node's `total_timeout` and its attempts those are gone that were `before`.
    """
    own = node.retry or (_UNLIMITED if undo else defaults.retry)
    if deadline == 0:
        own = own.model_copy(update={"max_attempts": 1})
    elif before.attempts:
        own = _rest_of(own, before.attempts)
    return {
        "start_to_close_timeout": attempt_timeout(node, defaults),
        "schedule_to_close_timeout": _total(node, defaults, deadline, before.seconds, undo=undo),
        "retry_policy": retry_policy(own),
    }


def remote_options(
    node: Node, defaults: Defaults, *, undo: bool, deadline: float | None, before: Before = FIRST
) -> dict[str, Any]:
    """Keyword arguments of `workflow.start_activity`."""
    options = local_options(node, defaults, undo=undo, deadline=deadline, before=before)
    options["schedule_to_start_timeout"] = _queue_timeout(node, defaults, undo=undo)
    options["heartbeat_timeout"] = _heartbeat(node, defaults)
    options["task_queue"] = node.task_queue or defaults.task_queue
    options["cancellation_type"] = workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
    if node.priority is not None:
        options["priority"] = _priority(node.priority)
    return options


def turn_options(
    node: Node, defaults: Defaults, *, undo: bool, deadline: float | None, before: Before
) -> dict[str, Any]:
    """Those of the activity that waits for the node's turn: it is asked for as long as the node may take to begin."""
    total, queue = (
        _total(node, defaults, deadline, before.seconds, undo=undo),
        _queue_timeout(node, defaults, undo=undo),
    )
    return {
        "start_to_close_timeout": _ASKING,
        "schedule_to_close_timeout": min((each for each in (total, queue) if each is not None), default=None),
        "retry_policy": _ASKED_AGAIN,
        "task_queue": None if runs_locally(node, defaults) else node.task_queue or defaults.task_queue,
    }


def total_timeout(node: Node, defaults: Defaults, *, undo: bool) -> timedelta | None:
    """How long all attempts of a node may take. A compensation is tried for as long as the saga allows."""
    return node.total_timeout or (None if undo else defaults.total_timeout)


def _queue_timeout(node: Node, defaults: Defaults, *, undo: bool) -> timedelta | None:
    return node.queue_timeout or (None if undo else defaults.queue_timeout)


def _rest_of(retry: Retry, attempts: int) -> Retry:
    """The policy for the attempts after so many."""
    longest = retry.max_interval or retry.initial_interval * _LONGEST_PAUSE
    factor = min(retry.backoff ** min(attempts, _MANY), longest / max(retry.initial_interval, _SHORTEST))
    changed: dict[str, Any] = {"initial_interval": max(_SHORTEST, retry.initial_interval * max(1.0, factor))}
    changed["max_interval"] = max(longest, changed["initial_interval"])
    if retry.max_attempts:
        changed["max_attempts"] = max(1, retry.max_attempts - attempts)
    return retry.model_copy(update=changed)


def _total(node: Node, defaults: Defaults, deadline: float | None, spent: float, *, undo: bool) -> timedelta | None:
    """How long all attempts may take, with their waiting."""
    bounds: list[timedelta] = []
    if (total := total_timeout(node, defaults, undo=undo)) is not None:
        bounds.append(max(_SHORTEST, total - timedelta(seconds=spent)))
    if deadline:
        bounds.append(timedelta(seconds=deadline))
    elif deadline is not None:  # else a queue that nobody serves would keep the run open for ever
        bounds.append(attempt_timeout(node, defaults) + _LAST_WAIT)
    return min(bounds, default=None)


def attempt_timeout(node: Node, defaults: Defaults) -> timedelta:
    """How long one attempt of a node may take."""
    timeout = node.timeout if isinstance(node.timeout, timedelta) else defaults.timeout  # of a template a run made one
    return timeout if node.cache is None else timeout * WAITING_FACTOR


def _heartbeat(node: Node, defaults: Defaults) -> timedelta | None:
    """A worker that dies is noticed by the end of `timeout`, also where an attempt may take longer."""
    if node.cache is None or node.heartbeat is not None:
        return node.heartbeat
    return node.timeout if isinstance(node.timeout, timedelta) else defaults.timeout


def _priority(priority: NodePriority | int) -> Priority:
    if isinstance(priority, int):
        return Priority(priority_key=priority)
    return Priority(
        priority_key=priority.key,
        fairness_key=priority.fairness_key,
        fairness_weight=priority.fairness_weight,
    )
