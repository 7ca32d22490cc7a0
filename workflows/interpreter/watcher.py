"""What a run tells of itself while it is played: to logs, traces and metrics. The interpreter never depends on them."""

from __future__ import annotations

from collections.abc import Sequence

from anabranch.context.merge.union import Conflict
from anabranch.errors import AnabranchError
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.event import Event
from anabranch.workflows.interpreter.node_run import NodeRun
from anabranch.workflows.interpreter.saga import Step
from anabranch.workflows.interpreter.scope import Scope
from anabranch.workflows.interpreter.trail import Version


class Watcher:
    """Hears of nothing; a subclass of what it wants to hear.

    What it is told of is the same on every replay, in the same order. It must not change anything.
    """

    def node_started(self, scope: Scope, run: NodeRun) -> None:
        """A node has passed its join and its condition. One that an operator retries starts again."""

    def node_ended(self, scope: Scope, run: NodeRun, failure: Failure | None) -> None:
        """A node has succeeded, or failed; where it is paused then, an operator may retry it.

        A node inside a body that is aborted may end unheard, and so may one that lost a race.
        """

    def context_updated(self, version: Version) -> None:
        """The audit trail has a new version."""

    def conflicts_found(self, address: str, conflicts: Sequence[Conflict]) -> None:
        """Lines that meet at a node disagree. Those that a person is to settle are found once."""

    def finally_failed(self, address: str, failure: Failure) -> None:
        """The `finally` of the block at an address failed. That of the run is told with the run's end."""

    def finally_ended(self, scope: Scope, run: NodeRun, failure: Failure) -> None:
        """The `finally` of a block is over that had failed, or was cancelled: the block is over too.

        Its failure was told before; that it was cancelled was not. One that succeeded is told of by `node_ended` alone.
        """

    def event_taken(self, address: str, event: Event) -> None:
        """A node takes an event."""

    def event_repeated(self, event: Event) -> None:
        """An event came whose id is known: it is not taken again."""

    def event_refused(self, error: AnabranchError) -> None:
        """Something was sent that is no event for the run, or that its mailbox has no room for."""

    def answer_given(self, address: str, by: str, count: int, needed: int) -> None:
        """One of the `needed` people has answered an approval: `count` have by now."""

    def people_told(self, address: str, notice: str) -> None:
        """People are told of the approval at an address: by `reminder 2`, or by its `escalation`."""

    def approval_escalated(self, address: str) -> None:
        """The approval at an address is for others from now on."""

    def undo_started(self, step: Step) -> None:
        """A compensation starts, or starts again for an operator."""

    def undo_ended(self, step: Step, failure: Failure | None) -> None:
        """A compensation has succeeded, or failed for good."""


class Watchers(Watcher):
    """Tells each of several watchers."""

    def __init__(self, *watchers: Watcher) -> None:
        self._watchers = watchers

    def node_started(self, scope: Scope, run: NodeRun) -> None:
        """See Watcher."""
        for each in self._watchers:
            each.node_started(scope, run)

    def node_ended(self, scope: Scope, run: NodeRun, failure: Failure | None) -> None:
        """See Watcher."""
        for each in self._watchers:
            each.node_ended(scope, run, failure)

    def context_updated(self, version: Version) -> None:
        """See Watcher."""
        for each in self._watchers:
            each.context_updated(version)

    def conflicts_found(self, address: str, conflicts: Sequence[Conflict]) -> None:
        """See Watcher."""
        for each in self._watchers:
            each.conflicts_found(address, conflicts)

    def finally_failed(self, address: str, failure: Failure) -> None:
        """See Watcher."""
        for each in self._watchers:
            each.finally_failed(address, failure)

    def finally_ended(self, scope: Scope, run: NodeRun, failure: Failure) -> None:
        """See Watcher."""
        for each in self._watchers:
            each.finally_ended(scope, run, failure)

    def event_taken(self, address: str, event: Event) -> None:
        """See Watcher."""
        for each in self._watchers:
            each.event_taken(address, event)

    def event_repeated(self, event: Event) -> None:
        """See Watcher."""
        for each in self._watchers:
            each.event_repeated(event)

    def event_refused(self, error: AnabranchError) -> None:
        """See Watcher."""
        for each in self._watchers:
            each.event_refused(error)

    def answer_given(self, address: str, by: str, count: int, needed: int) -> None:
        """See Watcher."""
        for each in self._watchers:
            each.answer_given(address, by, count, needed)

    def people_told(self, address: str, notice: str) -> None:
        """See Watcher."""
        for each in self._watchers:
            each.people_told(address, notice)

    def approval_escalated(self, address: str) -> None:
        """See Watcher."""
        for each in self._watchers:
            each.approval_escalated(address)

    def undo_started(self, step: Step) -> None:
        """See Watcher."""
        for each in self._watchers:
            each.undo_started(step)

    def undo_ended(self, step: Step, failure: Failure | None) -> None:
        """See Watcher."""
        for each in self._watchers:
            each.undo_ended(step, failure)


UNWATCHED = Watcher()
