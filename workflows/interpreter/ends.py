"""Nodes that end the graph or the body in which they stand: `fail` with an error, `stop` as completed.

The interpreter carries them out itself: no command waits for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json
from anabranch.graph.expressions.json_text import text_of
from anabranch.graph.expressions.templates import compile_template
from anabranch.graph.model import FailNode
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.endings import Endings
from anabranch.workflows.interpreter.scope import Started
from anabranch.workflows.interpreter.settling import abandon
from anabranch.workflows.interpreter.state import RunState

ENDS: Final = frozenset({"fail", "stop"})
"""The types of these nodes."""
LONGEST_MESSAGE: Final = 2000
"""Characters of the message of a `fail` node: it is in the run's failure, which the server bounds."""
_NOTHING = ChangeSet(base_version=0, set={})


class Ends:
    """The `fail` and `stop` nodes of one run."""

    def __init__(self, state: RunState, endings: Endings) -> None:
        self._state = state
        self._endings = endings

    def carry_out(self, node: Started, roots: Mapping[str, Json]) -> None:
        """End the scope of such a node. Raises EvaluationError for a message that cannot be rendered."""
        definition = node.run.planned.node
        if isinstance(definition, FailNode):
            self._fail(node, definition, roots)
        else:
            self._stop(node)

    def _fail(self, node: Started, definition: FailNode, roots: Mapping[str, Json]) -> None:
        planned, data = node.run.planned, node.line.data
        with self._state.budget.evaluating() as cost:
            seen = planned.seen(data, roots, cost)
            message = text_of(compile_template(definition.message, planned.roots).render(seen, roots, cost))
        message = message or f"failed with {definition.code}"
        if len(message) > LONGEST_MESSAGE:
            message = f"{message[:LONGEST_MESSAGE]}…"
        self._endings.fail(node.scope, node.run, Failure("failure", definition.code, message))

    def _stop(self, node: Started) -> None:
        """What the scope has so far is what it comes to. In a branch that lost a race, there is nothing to end."""
        state, scope, run = self._state, node.scope, node.run
        if not scope.has_lost(run):
            before = scope.open
            scope.lose_all_but(run)
            abandon(state, scope, scope.lost)
            state.budget.spend(before - scope.open)
        self._endings.complete(node, _NOTHING)
