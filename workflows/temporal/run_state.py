"""The state of a run as a workflow begins it: with the limits that are pinned, and with what hears of it."""

from __future__ import annotations

from collections.abc import Mapping

from temporalio import workflow

from anabranch.context.values import Json
from anabranch.observe import metrics
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.watcher import Watcher, Watchers
from anabranch.workflows.temporal.clock import Clock
from anabranch.workflows.temporal.identity import Identity
from anabranch.workflows.temporal.run_metrics import RunMetrics
from anabranch.workflows.temporal.telling import Telling


def state_of(identity: Identity, data: Mapping[str, Json], watcher: Watcher) -> RunState:
    """The state of a run over these data, before anything has happened."""
    limits = identity.pinned.limits
    state = RunState(
        identity.plan,
        data,
        run=identity.at(0).root(),
        task_nodes=limits.task_nodes,
        step_units=limits.step_units,
        context_bytes=limits.context_bytes,
        namespace=workflow.info().namespace,
        console=identity.pinned.console,
        watcher=watcher,
    )
    state.mailbox_limits = {"events": limits.mailbox_events, "size": limits.mailbox_bytes, "ids": limits.event_ids}
    return state


def watcher_of(telling: Telling, graph: str, clock: Clock, other: Watcher | None) -> Watcher:
    """What hears of a run: lines and spans, metrics where they are on, and `other`."""
    hear: list[Watcher] = [telling]
    if metrics.is_on():
        hear.append(RunMetrics(graph, lambda: clock.at))
    if other is not None:
        hear.append(other)
    return hear[0] if len(hear) == 1 else Watchers(*hear)
