"""Which model of several is asked: the next one where one has failed for good, or its budget is spent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from temporalio import activity

from anabranch.errors import AnabranchError, BudgetSpent, ConfigurationError, NodeError, Unavailable
from anabranch.graph.model import AiNode
from anabranch.transport.node_protocol import SPENT, NodeTask


def leads_on(error: AnabranchError) -> bool:
    """Whether another model is asked after an error: the key is refused, no answer fits, the budget is spent.

    A model that does not answer is tried again as the node's `retry` says; in the last attempt the next one is asked.
    """
    if isinstance(error, Unavailable):
        return _is_last_attempt()
    return isinstance(error, NodeError | ConfigurationError | BudgetSpent)


def check_budget(task: NodeTask, node: AiNode, model: str) -> None:
    """Raises BudgetSpent where the run has spent at a model what the node allows."""
    if node.budget is None:
        return
    by_model = cast("Mapping[str, int]", task.roots.get(SPENT) or {})
    if (spent := by_model.get(model, 0)) >= node.budget.tokens:
        raise BudgetSpent(
            f"the run has spent {spent} tokens at the model {model!r}, and the node's budget is {node.budget.tokens}",
            suggestion="raise `budget.tokens`, or name another model behind it",
        )


def _is_last_attempt() -> bool:
    """Whether the server starts no other attempt. Outside of an activity there is none."""
    if not activity.in_activity():
        return True
    info = activity.info()
    if (policy := info.retry_policy) is None:
        return False
    is_definite = Unavailable.code in (policy.non_retryable_error_types or ())
    return is_definite or 0 < policy.maximum_attempts <= info.attempt
