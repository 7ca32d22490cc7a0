"""The attempts of composites with `retry`: a failed one is undone, and after a pause the next one starts.

A failed item that its `foreach` goes on without is undone in the same way.

It starts from the context as it was before the first one, plus what compensations wrote and what was written from
outside. The last attempt is not undone by itself, but with the run; only that of a block is.
"""

from __future__ import annotations

from anabranch.context.changes import ChangeSet
from anabranch.context.merge.lineage import Line
from anabranch.graph.kinds.kinds import body_retry, has_body, is_undone_by_itself
from anabranch.graph.model import AiNode, BlockNode, ForeachNode
from anabranch.graph.policies import Retry
from anabranch.workflows.interpreter.address import inside_attempt
from anabranch.workflows.interpreter.commands import Failure, StartTimer
from anabranch.workflows.interpreter.failing import Rollback
from anabranch.workflows.interpreter.merging import Merging
from anabranch.workflows.interpreter.node_run import NodeRun, Status
from anabranch.workflows.interpreter.saga import COMPENSATION
from anabranch.workflows.interpreter.scope import Scope, Started
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.trail import Kind
from anabranch.workflows.interpreter.undo import Undo

_LONGEST = 100
"""How many times the first pause the longest one is, where `max_interval` does not say."""


class Attempts:
    """The attempts of the composites of one run."""

    def __init__(self, state: RunState, merging: Merging, undo: Undo) -> None:
        self._state = state
        self._merging = merging
        self._undo = undo

    def begin(self, scope: Scope, run: NodeRun) -> None:
        """A node starts: the first time, or again, by an operator or after a failed attempt."""
        if run.is_undone:
            run.attempt, run.is_undone = run.attempt + 1, False
        run.failure = None
        if _is_undone_apart(run):
            run.conflicts = ()
            self._state.saga.begin_attempt(scope.attempt_address(run))

    def end(self, scope: Scope, run: NodeRun) -> None:
        """A node is over: no other attempt of it starts by itself."""
        if _is_undone_apart(run):
            self._state.saga.end_attempt(scope.attempt_address(run))

    def is_undone_now(self, scope: Scope, run: NodeRun, failure: Failure) -> bool:
        """Whether an attempt that failed is undone before anything follows: it is a block's, or another may follow."""
        state = self._state
        if scope.attempt_address(run) not in state.saga.attempts:  # a pivot in it was passed, perhaps
            return False
        if (
            (state.failure is not None and not state.is_shielded(scope.address(run)))
            or state.is_aborting(scope.address(run))
            or has_lost(scope, run)
        ):
            return False
        return isinstance(run.planned.node, BlockNode) or self._may_follow(run, failure)

    def _may_follow(self, run: NodeRun, failure: Failure) -> bool:
        """Whether the node's `retry` asks for another attempt after one that failed."""
        if (retry := body_retry(run.planned.node)) is None:
            return False
        is_worth_it = failure.is_retryable and failure.code not in retry.non_retryable
        is_last = 0 < retry.max_attempts <= run.attempt
        return is_worth_it and not is_last and not _leaves_behind(run, failure) and self._is_in_time(run, retry)

    def undo(self, node: Started, failure: Failure) -> None:
        """Undo what a failed attempt did."""
        attempt = node.scope.attempt_address(node.run)
        node.scope.mark(node.run, Status.RUNNING)
        rollback = Rollback(node, attempt, failure)
        self._state.rollbacks[node.scope.address(node.run)] = rollback
        self._undo.undo_attempt(rollback)

    def undo_item(self, item: Scope, failure: Failure) -> None:
        """Undo what a failed item did."""
        if (body := item.body) is None:
            raise AssertionError(f"{item.prefix!r} is no item")
        address = item.prefix[:-1]
        rollback = Rollback(body.node, address, failure, item)
        self._state.rollbacks[address] = rollback
        self._undo.undo_attempt(rollback)

    def take_undone(self) -> Rollback | None:
        """An attempt, or an item, that has been undone, if there is one."""
        rollbacks = self._state.rollbacks
        for address, rollback in rollbacks.items():
            if rollback.is_over and self._state.budget.allows():
                del rollbacks[address]
                rollback.node.run.is_undone = rollback.item is None
                rollback.is_undone = self._state.saga.end_undo(rollback.attempt)
                self._state.saga.end_attempt(rollback.attempt)
                return rollback
        return None

    def wait(self, rollback: Rollback) -> bool:
        """Have the next attempt start after a pause. Returns False where none may: the node has failed for good."""
        node, attempt = rollback.node, rollback.attempt
        scope, run, retry = node.scope, node.run, node.run.planned.node.retry
        run.line = self._with_written(scope, run, node.line, attempt)
        if retry is None or not rollback.is_undone or not self._may_follow(run, rollback.failure):
            return False
        seconds = pause_after(run.attempt, retry)
        run.next_at = self._state.at + round(seconds * 1000)
        waiting = Started(scope, run, run.line, self._state.at)
        self._state.expect(waiting, StartTimer(scope.address(run), seconds, run.attempt + 1), Status.WAITING)
        return True

    def start_next(self, node: Started) -> None:
        """The pause before an attempt is over."""
        node.run.next_at, node.run.asked, node.run.rejoins = None, None, True
        self._state.queue(node.scope, (node.run,))

    def timed_out(self, node: Started) -> Failure:
        """Why a composite fails whose time is up."""
        run, definition, address = node.run, node.run.planned.node, node.scope.address(node.run)
        name, limit, total = "timeout", self._state.time_limit(node), definition.total_timeout
        if total is not None and (limit is None or self._left(run) <= 0):
            name, limit = "total_timeout", total
        within = "" if limit is None else f" of {limit.total_seconds():g} s"
        message = f"node {address!r} did not end within its `{name}`{within}"
        return Failure("timeout", "TIMEOUT", message, address, is_final=name == "total_timeout")

    def _is_in_time(self, run: NodeRun, retry: Retry) -> bool:
        total = run.planned.node.total_timeout
        return total is None or pause_after(run.attempt, retry) < self._left(run)

    def _left(self, run: NodeRun) -> float:
        """Seconds of the `total_timeout`."""
        total = run.planned.node.total_timeout
        started = self._state.at if run.started is None else run.started
        return 0.0 if total is None else total.total_seconds() - (self._state.at - started) / 1000

    def _with_written(self, scope: Scope, run: NodeRun, line: Line, attempt: str) -> Line:
        """The context before the attempt, with what its compensations wrote, and a `finally` in it: each a version."""
        state = self._state
        for address, changes in state.saga.written:
            if inside_attempt(address, attempt):
                line = self._version(scope, run, line, changes)
        return line

    def _version(self, scope: Scope, run: NodeRun, line: Line, changes: ChangeSet) -> Line:
        state, writer, by = self._state, self._merging.edit_writer(scope, run, line), changes.by
        line, refined = line.advance(changes, writer=writer, by=by, at=state.at)
        if refined:
            state.size.add(refined)
            kind: Kind = "compensation" if by.startswith(COMPENSATION) else "node"
            number = state.trail.record(kind, line, refined, by=by, at=state.at, parents=run.versions)
            run.versions = (number,)
            self._merging.note_version(scope, writer, number)
        return line


def pause_after(attempt: int, retry: Retry) -> float:
    """The pause after a failed attempt, in seconds, as Temporal has it between those of an activity."""
    first = retry.initial_interval.total_seconds()
    longest = first * _LONGEST if retry.max_interval is None else retry.max_interval.total_seconds()
    try:
        return min(longest, first * retry.backoff ** (attempt - 1))
    except OverflowError:
        return longest


def has_lost(scope: Scope, run: NodeRun) -> bool:
    """Whether nobody waits for the node any more, or for one around it: another branch has won."""
    while not scope.has_lost(run):
        if (body := scope.body) is None:
            return False
        scope, run = body.node.scope, body.node.run
    return True


def _is_undone_apart(run: NodeRun) -> bool:
    """Whether what a composite did may be undone without the run: by attempts, by items, or by a model's calls."""
    node = run.planned.node
    if isinstance(node, AiNode):
        return has_body(node)
    return is_undone_by_itself(node) or (isinstance(node, ForeachNode) and node.on_item_failure != "fail")


def _leaves_behind(run: NodeRun, failure: Failure) -> bool:
    """Whether a child workflow could not undo all of itself, or passed a pivot, and nothing here undoes it."""
    told = failure.details[0] if failure.details and isinstance(failure.details[0], dict) else {}
    is_child = not has_body(run.planned.node) and run.planned.compensation is None
    return is_child and bool(told.get("not_compensated") or told.get("pivoted"))
