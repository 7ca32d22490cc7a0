"""The items of `foreach` nodes, one by one or in batches: beside each other, each on a copy of the context.

What they changed comes together at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from anabranch.context.changes import ChangeSet, diff
from anabranch.context.merge.lineage import Line
from anabranch.context.values import Json, Missing, Path
from anabranch.errors import AnabranchError, EvaluationError
from anabranch.graph.model import ForeachNode
from anabranch.workflows.interpreter.batches import item_failures, items_of, values_of
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.endings import Endings
from anabranch.workflows.interpreter.merging import Merging
from anabranch.workflows.interpreter.progress import Progress
from anabranch.workflows.interpreter.routes import number_at_once
from anabranch.workflows.interpreter.scope import BodyRun, Scope
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.turn_context import (
    collect,
    collected,
    entered,
    free_path,
    fresh,
    names_around,
    seen,
)


class Items:
    """The `foreach` nodes of one run."""

    def __init__(self, state: RunState, merging: Merging, endings: Endings) -> None:
        self._state = state
        self._merging = merging
        self._endings = endings

    def begin(self, body: BodyRun, definition: ForeachNode) -> None:
        """Enter the first items. Raises EvaluationError."""
        run = body.node.run
        roots = self._state.roots(body.node.scope, run)
        with self._state.budget.evaluating() as cost:
            data = run.planned.seen(body.node.line.data, roots, cost)
            items = run.planned.expression(definition.items).evaluate(data, roots, cost)
            if isinstance(definition.max_concurrency, str):
                body.at_once = number_at_once(run.planned, definition.max_concurrency, data, roots, cost)
        if not isinstance(items, list):
            raise EvaluationError(
                f"`items` gave {type(items).__name__}, not a list",
                place=f"node {body.address!r}",
                suggestion="write an expression that yields a list",
            )
        body.items, run.progress = items, Progress(len(items))
        self.advance(body, definition)

    def advance(self, body: BodyRun, definition: ForeachNode) -> None:
        """Enter as many items as may run at once; complete the node when all have ended."""
        size, most = definition.batch or 1, definition.max_concurrency
        most = body.at_once if isinstance(most, str) else most
        while body.entered * size < len(body.items) and len(body.turns) < most:
            if (
                self._state.is_draining and not self._state.is_shielded(body.address)
            ) or not self._state.budget.allows():
                return
            self._enter(body, definition)
        is_asking = body.address in self._state.open_joins
        if not body.turns and body.entered * size >= len(body.items) and not is_asking:
            self.complete(body, definition, {})

    def end(self, body: BodyRun, definition: ForeachNode, scope: Scope, line: Line) -> None:
        """An item, or a batch, has ended with this context."""
        try:
            errors = definition.item_errors
            failures = {} if errors is None else self._failures(body, errors, scope, line)
            self._keep(body, definition, scope, line, failures)
        except AnabranchError as error:
            self._endings.abort_scope(scope, Failure("failure", error.code, str(error), body.address))
            return
        if failures and not self._endings.go_on_without(body, failures):
            return
        self._leave(body, definition, scope, len(failures))
        self.advance(body, definition)

    def failed(self, scope: Scope) -> None:
        """An item has failed, and what it did is undone: the node goes on without it."""
        if (body := scope.body) is None or not isinstance(definition := body.node.run.planned.node, ForeachNode):
            raise AssertionError(f"{scope.prefix!r} is no item")
        if definition.collect is None and (changes := self._written_by_undo(scope)):
            body.results[scope.turn] = changes
        self._state.leave_turn(body, scope)
        self.advance(body, definition)

    def complete(self, body: BodyRun, definition: ForeachNode, choices: Mapping[Path, Json | Missing]) -> None:
        """Complete the node with what its items came to, unless a person must settle a conflict between them first."""
        if (spec := definition.collect) is None:
            changes = self._merged(body, choices)
        else:
            changes = collected(body, spec.into, is_joined=definition.batch is not None)
        if changes is None:
            return
        if (failed := definition.failed) is not None:
            path = (failed,) if failed.isidentifier() else free_path(body, failed)
            changes = replace(changes, set={**changes.set, path: _told(body)})
        self._endings.complete_body(body, changes)

    def _enter(self, body: BodyRun, definition: ForeachNode) -> None:
        scope, run, line = body.node.scope, body.node.run, body.node.line
        index, body.entered = body.entered, body.entered + 1
        size = definition.batch or 1
        first = index * size
        each = body.items[first] if definition.batch is None else body.items[first : first + size]
        around = scope.roots
        if run.planned.knows_error or "error" in around:
            around = names_around(self._state, body, definition.body.graph)
        roots = {**around, definition.variable: each, "index": first}
        plan, prefix = scope.plan.body(run.planned.id), f"{body.attempt}[{index}]/"
        base = entered(plan, line.data, line, roots)
        turn = Scope(plan, prefix, base, body=body, versions=run.versions, roots=roots, turn=index)
        self._state.enter_turn(body, turn)

    def _failures(self, body: BodyRun, item_errors: str, scope: Scope, line: Line) -> dict[int, Failure]:
        """The items of a batch that failed, by what `item_errors` gives. Raises EvaluationError."""
        if scope.did_nothing:
            return {}
        planned = body.node.run.planned
        with self._state.budget.evaluating() as cost:
            data, roots = seen(self._state, body, line.data, cost), self._state.roots(scope)
            errors = planned.expression(item_errors, *scope.roots).evaluate(data, roots, cost)
        return item_failures(body, scope.turn, errors)

    def _keep(
        self, body: BodyRun, definition: ForeachNode, scope: Scope, line: Line, failures: dict[int, Failure]
    ) -> None:
        """Keep what an item, or a batch, came to until all have ended. Raises AnabranchError."""
        if definition.collect is not None:
            collect(self._state, body, definition.collect, scope, line)
            value = body.results.get(scope.turn)
            if definition.batch is not None and scope.turn in body.results and not isinstance(value, ChangeSet):
                body.results[scope.turn] = values_of(body, scope.turn, value, failures)
        elif changes := diff(scope.base.data, line.data, by=scope.prefix[:-1], at=self._state.at):
            body.results[scope.turn] = changes

    def _leave(self, body: BodyRun, definition: ForeachNode, scope: Scope, failed: int) -> None:
        self._state.leave_turn(body, scope)
        if (progress := body.node.run.progress) is not None:
            count = 1 if definition.batch is None else len(items_of(body, scope.turn))
            progress.done += count - failed
            progress.skipped += count * scope.did_nothing

    def _written_by_undo(self, scope: Scope) -> ChangeSet | None:
        """What the compensations of a failed item wrote: it outlives the item."""
        line, at = fresh(scope.base), self._state.at
        for address, changes in self._state.saga.written:
            if address.startswith(scope.prefix):
                line, _ = line.advance(changes, writer=0, by=scope.prefix[:-1], at=at)
        return diff(scope.base.data, line.data, by=scope.prefix[:-1], at=at)

    def _merged(self, body: BodyRun, choices: Mapping[Path, Json | Missing]) -> ChangeSet | None:
        """What the items changed, together; None while a person must settle a conflict between them."""
        base = fresh(body.node.line)
        lines = [
            base.advance(changes, writer=index, by=changes.by, at=changes.at)[0]
            for index, changes in sorted(body.results.items())  # in the order of the items, whichever ended first
            if isinstance(changes, ChangeSet)
        ]
        merged = self._merging.items(body.node, lines, choices, writer=len(body.items)) if lines else base
        return None if merged is None else diff(base.data, merged.data)


def _told(body: BodyRun) -> list[Json]:
    """The items that failed, each with its error."""
    return [
        {"index": index, "item": body.items[index], "error": failure.root()}
        for index, failure in sorted(body.failures.items())
    ]
