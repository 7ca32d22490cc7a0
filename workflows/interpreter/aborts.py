"""What follows once nothing runs any more in what failed, and once an attempt or an item is undone."""

from __future__ import annotations

from collections import deque
from functools import partial

from anabranch.workflows.interpreter.address import inside
from anabranch.workflows.interpreter.attempts import has_lost
from anabranch.workflows.interpreter.bodies import Bodies
from anabranch.workflows.interpreter.endings import Endings
from anabranch.workflows.interpreter.failing import Abort, Rollback
from anabranch.workflows.interpreter.last import begin, begin_cancelled, last_of, to_begin
from anabranch.workflows.interpreter.node_run import Status
from anabranch.workflows.interpreter.scope import BlockEnd, Scope
from anabranch.workflows.interpreter.settling import settle
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.undo import Undo


class Aborts:
    """The ends of the aborts and rollbacks of one run."""

    def __init__(self, state: RunState, undo: Undo, endings: Endings, bodies: Bodies) -> None:
        self._state = state
        self._undo = undo
        self._endings = endings
        self._bodies = bodies

    def end_abort(self) -> bool:
        """End an abort inside which no work is left, if there is one."""
        state = self._state
        for prefix, abort in state.aborts.items():
            if any(inside(address, prefix) for address in (*state.work, *state.rollbacks)) or (
                state.lasts and any(inside(last, prefix) and last != prefix for last in state.lasts)
            ):
                continue
            if (due := to_begin(state, prefix, _owner(abort))) != []:
                for node in due:
                    begin_cancelled(state, node)
                return True
            del state.aborts[prefix]
            self._aborted(prefix, abort)
            return True
        return False

    def _aborted(self, prefix: str, abort: Abort) -> None:
        state = self._state
        if (node := abort.node) is None:
            state.cancel_bodies()
            self._undo.proceed()
            return
        # Nodes that were held back while the run was paused or drained never start.
        state.ready = deque((scope, run) for scope, run in state.ready if not inside(scope.address(run), prefix))
        if abort.item is not None and abort.item.body is not None and abort.item.body.end is not None:
            state.close_inside(abort.item)
            self._endings.end_last(abort.item.body, None, abort.failure)
        elif abort.item is None:
            self._endings.fail(node.scope, node.run, abort.failure)
        else:
            state.close_inside(abort.item)
            self._endings.attempts.undo_item(abort.item, abort.failure)

    def end_rollback(self) -> bool:
        """Go on after what has been undone, if there is one: with an attempt, with other items, or the node fails."""
        if (rollback := self._endings.attempts.take_undone()) is None:
            return False
        scope, run = rollback.node.scope, rollback.node.run
        if rollback.item is not None:
            self._item_undone(rollback, rollback.item)
        elif last_of(run) is not None and (has_lost(scope, run) or self._state.is_aborting(scope.address(run))):
            line = run.line or rollback.node.line
            begin(self._state, rollback.node, BlockEnd(line, line, rollback.failure))
        elif has_lost(scope, run):  # nobody waits for it, but the run may have waited with its end
            if not run.status.final:
                scope.close(run, Status.CANCELLED)
            settle(self._state, self._state.root, ())
        elif self._state.is_aborting(scope.address(run)):
            scope.close(run, Status.CANCELLED)
        elif not self._endings.attempts.wait(rollback):
            self._endings.fail_for_good(scope, run, run.line or rollback.node.line, rollback.failure)
        return True

    def _item_undone(self, rollback: Rollback, item: Scope) -> None:
        """The node around goes on, unless it was given up meanwhile."""
        node, state = rollback.node, self._state
        address = node.scope.address(node.run)
        if state.bodies.get(address) is item.body and not state.is_aborting(address):
            self._endings.guarded(node.scope, node.run, partial(self._bodies.item_failed, item))
        settle(state, state.root, ())  # the run may have waited with its end


def _owner(abort: Abort) -> str | None:
    """The address of the node that fails when the abort ends."""
    return None if abort.node is None or abort.item is not None else abort.node.scope.address(abort.node.run)
