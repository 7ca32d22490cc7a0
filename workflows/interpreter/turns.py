"""The turns of `while` nodes: one after the other, each on the context that the last one left."""

from __future__ import annotations

from dataclasses import replace

from anabranch.context.changes import ChangeSet, diff
from anabranch.context.merge.lineage import Line
from anabranch.errors import NodeError
from anabranch.graph.expressions.expressions import evaluate_condition
from anabranch.graph.model import WhileNode
from anabranch.workflows.interpreter.endings import Endings
from anabranch.workflows.interpreter.scope import BodyRun, Scope
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.turn_context import collect, collected, entered, names_around, seen


class Turns:
    """The `while` nodes of one run."""

    def __init__(self, state: RunState, endings: Endings) -> None:
        self._state = state
        self._endings = endings

    def advance(self, body: BodyRun, definition: WhileNode) -> None:
        """Enter the next turn, or complete the node where its condition asks for none."""
        if self._is_over(body, definition):
            self._endings.complete_body(body, _changes(body, definition))
        elif body.entered < definition.max_iterations:
            self._enter(body, definition)
        elif definition.on_limit == "continue":
            changes = _changes(body, definition)
            self._endings.complete_body(body, replace(changes, warnings=(_limit_of(definition),)))
        else:
            raise NodeError(
                _limit_of(definition),
                place=f"node {body.address!r}",
                suggestion="let the body change what the condition asks, raise max_iterations, or write "
                "`on_limit: continue`",
            )

    def end(self, body: BodyRun, definition: WhileNode, scope: Scope, line: Line) -> None:
        """A turn has ended with this context."""
        changes = diff(scope.base.data, line.data)
        body.line, _ = body.line.advance(changes, writer=0, by=scope.prefix, at=self._state.at)
        if definition.collect is not None:
            collect(self._state, body, definition.collect, scope, line)
        self.advance(body, definition)

    def _is_over(self, body: BodyRun, definition: WhileNode) -> bool:
        """Whether no other turn follows. `while` is asked of the turn that would, `until` of the one that has ended."""
        if definition.until is None:
            return not self._holds(body, definition.while_ or "", body.entered)
        return body.entered > 0 and self._holds(body, definition.until, body.entered - 1)

    def _holds(self, body: BodyRun, source: str, index: int) -> bool:
        run = body.node.run
        condition = run.planned.expression(source, "index", "turn")
        roots = {**self._state.roots(body.node.scope, run), "index": index, "turn": index + 1}
        with self._state.budget.evaluating() as cost:
            return evaluate_condition(condition, seen(self._state, body, body.line.data, cost), roots, cost)

    def _enter(self, body: BodyRun, definition: WhileNode) -> None:
        scope, run = body.node.scope, body.node.run
        index, body.entered = body.entered, body.entered + 1
        around = scope.roots
        if run.planned.knows_error or "error" in around:
            around = names_around(self._state, body, definition.body.graph)
        roots = {**around, "index": index, "turn": index + 1}
        plan, prefix = scope.plan.body(run.planned.id), f"{body.attempt}[{index}]/"
        base = entered(plan, body.line.data, body.line, roots)
        turn = Scope(plan, prefix, base, body=body, versions=run.versions, roots=roots, turn=index, name=body.attempt)
        self._state.enter_turn(body, turn)


def _changes(body: BodyRun, definition: WhileNode) -> ChangeSet:
    """What the node writes: what its turns changed, or with `collect` the list alone."""
    if definition.collect is None:
        return diff(body.node.line.data, body.line.data)
    return collected(body, definition.collect.into)


def _limit_of(definition: WhileNode) -> str:
    asks = "the condition still holds" if definition.until is None else "`until` does not hold"
    return f"{asks} after max_iterations = {definition.max_iterations} turns"
