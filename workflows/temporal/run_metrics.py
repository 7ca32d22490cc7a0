"""What the metrics are told of one run. A recorder takes nothing from a replay, so all of it is counted once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from temporalio import workflow

from anabranch.context.merge.union import Conflict
from anabranch.errors import AnabranchError
from anabranch.observe import metrics
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.event import Event
from anabranch.workflows.interpreter.node_run import CLOSED, NodeRun, Status
from anabranch.workflows.interpreter.saga import Step
from anabranch.workflows.interpreter.scope import Scope
from anabranch.workflows.interpreter.watcher import Watcher


class RunMetrics(Watcher):
    """Counts the nodes, the conflicts and the undos of one run of `graph`; `now` is the run's time in milliseconds."""

    def __init__(self, graph: str, now: Callable[[], int]) -> None:
        self._graph = graph
        self._now = now

    def node_ended(self, scope: Scope, run: NodeRun, failure: Failure | None) -> None:
        """See Watcher."""
        outcome = Status.SUCCEEDED if failure is None else CLOSED[failure.outcome]
        node = metrics.node_label(scope.address(run))
        labels = (self._graph, node, run.planned.node.type, str(outcome))
        metrics.count(metrics.NODE_RUNS, *labels)
        if run.started is not None:
            metrics.note(metrics.NODE_SECONDS, (self._now() - run.started) / 1000, *labels)

    def conflicts_found(self, address: str, conflicts: Sequence[Conflict]) -> None:
        """See Watcher."""
        for conflict in conflicts:
            metrics.count(metrics.CONFLICTS, self._graph, str(conflict.policy))

    def event_taken(self, address: str, event: Event) -> None:
        """See Watcher."""
        metrics.count(metrics.EVENTS_RECEIVED, self._graph, "taken")

    def event_repeated(self, event: Event) -> None:
        """See Watcher."""
        metrics.count(metrics.EVENTS_RECEIVED, self._graph, "repeated")

    def event_refused(self, error: AnabranchError) -> None:
        """See Watcher."""
        metrics.count(metrics.EVENTS_RECEIVED, self._graph, "refused")

    def undo_ended(self, step: Step, failure: Failure | None) -> None:
        """See Watcher."""
        result = "compensated" if failure is None else "failed"
        metrics.count(metrics.COMPENSATIONS, self._graph, metrics.node_label(step.address), result)


def workflow_run_ends(graph: str) -> None:
    """A workflow run is over, or continues as new: its history is as long as it will be, but for its last events."""
    info = workflow.info()
    metrics.note(metrics.HISTORY_EVENTS, info.get_current_history_length(), graph)
    metrics.note(metrics.HISTORY_SIZE, info.get_current_history_size(), graph)


def run_ends(graph: str, versions: int) -> None:
    """A run is over, after so many versions of its context."""
    metrics.note(metrics.VERSION_DEPTH, versions, graph)
    workflow_run_ends(graph)
