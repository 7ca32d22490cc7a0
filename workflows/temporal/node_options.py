"""How a node's activity is scheduled: timeouts, retry policy, task queue and priority, from the YAML."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

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
_LAST_WAIT = timedelta(minutes=1)
"""How long the only attempt of a compensation past the deadline waits for a worker."""


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
    node: Node, defaults: Defaults, *, undo: bool, deadline: float | None, spent: float = 0.0
) -> dict[str, Any]:
    """Keyword arguments of `workflow.start_local_activity`. Past the saga's deadline there is one attempt.

    Of the node's `total_timeout` the seconds are gone that are `spent`.
    """
    own = node.retry or (_UNLIMITED if undo else defaults.retry)
    if deadline == 0:
        own = own.model_copy(update={"max_attempts": 1})
    return {
        "start_to_close_timeout": attempt_timeout(node, defaults),
        "schedule_to_close_timeout": _total(node, defaults, deadline, spent, undo=undo),
        "retry_policy": retry_policy(own),
    }


def remote_options(
    node: Node, defaults: Defaults, *, undo: bool, deadline: float | None, spent: float = 0.0
) -> dict[str, Any]:
    """Keyword arguments of `workflow.start_activity`."""
    options = local_options(node, defaults, undo=undo, deadline=deadline, spent=spent)
    options["schedule_to_start_timeout"] = node.queue_timeout or (None if undo else defaults.queue_timeout)
    options["heartbeat_timeout"] = _heartbeat(node, defaults)
    options["task_queue"] = node.task_queue or defaults.task_queue
    options["cancellation_type"] = workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
    if node.priority is not None:
        options["priority"] = _priority(node.priority)
    return options


def total_timeout(node: Node, defaults: Defaults, *, undo: bool) -> timedelta | None:
    """How long all attempts of a node may take. A compensation is tried for as long as the saga allows."""
    return node.total_timeout or (None if undo else defaults.total_timeout)


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
