"""How much the machine does before its driver must end the workflow task.

The SDK gives up on a workflow task after two seconds, and tries it again in vain. Mostly the machine waits for an
answer after a few nodes, but 40,000 items that are all skipped are one event. The budget counts nodes and not time, so
that a replay yields at the same places.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Final

from anabranch.graph.expressions.cost import Cost
from anabranch.limits import RUN_LIMITS

_UNITS: Final = 300
"""So many units of cost of expressions are spent in the time in which one node starts."""
_RECORDS: Final = 16
"""So many records of nodes are created in the time in which one node starts."""


class _Evaluating:
    """Not a `contextmanager`: that would cost a node's step more than most expressions do."""

    __slots__ = ("_budget", "_cost")

    def __init__(self, budget: NodeBudget, cost: Cost) -> None:
        self._budget = budget
        self._cost = cost

    def __enter__(self) -> Cost:
        return self._cost

    def __exit__(self, *_: object) -> None:
        self._budget.evaluated(self._cost)


class NodeBudget:
    """The nodes that may still be started, skipped, cancelled or compensated before the next yield."""

    def __init__(self, nodes: int = RUN_LIMITS.task_nodes, units: int = RUN_LIMITS.step_units) -> None:
        self._nodes = nodes
        self._units = units
        self._left = nodes
        self._evaluated = 0
        self._refused = False
        self._yielded = False

    @property
    def must_yield(self) -> bool:
        """Whether something was held back since the last refill, and no yield is under way yet."""
        return self._refused and not self._yielded

    @property
    def is_short(self) -> bool:
        """Whether something was held back since the last refill: it has its turn after a yield."""
        return self._refused

    @property
    def is_used_up(self) -> bool:
        """Whether expressions alone have used it up: what comes next has to wait for the refill, even an answer."""
        return self._evaluated >= self._nodes

    def allows(self) -> bool:
        """Whether there is budget left. Whoever is refused has to continue after the next refill."""
        self._refused = self._refused or self._left <= 0
        return self._left > 0

    def spend(self, nodes: int = 1) -> None:
        """Count nodes. What cannot be divided may overdraw the budget."""
        self._left -= nodes

    def spend_scope(self, nodes: int) -> None:
        """Count the entry into a scope of so many nodes."""
        self.spend(1 + nodes // _RECORDS)

    def evaluating(self) -> AbstractContextManager[Cost]:
        """The cost of all expressions of one step: the start of a node, or its end."""
        return _Evaluating(self, Cost(self._units, self._units))

    def evaluated(self, cost: Cost) -> None:
        """Count what the expressions of one step have cost."""
        nodes = (cost.limit - cost.left) // _UNITS
        self._left -= nodes
        self._evaluated += nodes
        self._refused = self._refused or self._evaluated >= self._nodes

    def yielded(self) -> None:
        """A yield is under way."""
        self._yielded = True

    def refill(self) -> None:
        """The yield is over."""
        self._left, self._evaluated, self._refused, self._yielded = self._nodes, 0, False, False
