"""What a run tells outside of its workflow: a line of the log for what has happened, and a span for each node.

Both name nodes, versions and codes. Values, messages of errors and paths of data are in the history alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from anabranch.context.merge.union import Conflict
from anabranch.errors import AnabranchError
from anabranch.graph.kinds.kinds import has_body
from anabranch.graph.plan_node import PlanNode
from anabranch.observe import traces
from anabranch.observe.notes import Line, are_logged, here
from anabranch.observe.traces import RUN, Place, RunTrace
from anabranch.spans import Attribute
from anabranch.workflows.interpreter.commands import Failure, Finish
from anabranch.workflows.interpreter.event import Event
from anabranch.workflows.interpreter.last import last_of
from anabranch.workflows.interpreter.node_run import NodeRun, Status
from anabranch.workflows.interpreter.saga import COMPENSATION, Step
from anabranch.workflows.interpreter.scope import Scope
from anabranch.workflows.interpreter.state import RunState
from anabranch.workflows.interpreter.trail import Version
from anabranch.workflows.interpreter.watcher import Watcher
from anabranch.workflows.temporal.identity import Identity

_VERBS = {"failure": "failed", "timeout": "timed out", "cancelled": "was cancelled"}
_OF_NODES = frozenset({"node", "fallback", "merge", "compensation"})
"""Versions that name a node. What writes others is named from outside."""
_CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class _Started:
    """A node, or a compensation, under way."""

    planned: PlanNode
    count: int
    """How often it has been started."""
    around: Place
    """The node that it is in, or the run."""
    began: int
    """Nanoseconds."""


class _Failed(NamedTuple):
    """How a block has failed whose `finally` may follow, or another attempt."""

    code: str
    version: int | None
    ended: int
    """Nanoseconds."""


class Telling(Watcher):
    """Tells of one run, to those who listen to this worker."""

    def __init__(self, identity: Identity) -> None:
        info = workflow.info()
        self._notes = here()
        self._graph = identity.plan.graph
        self._began = identity.created_at * 1_000_000
        self._trace = None if self._notes is None else RunTrace.here(identity.run_id)
        self._ids = _ids(info, self._graph.name, self._trace)
        self._open: dict[str, _Started] = {}
        self._blocks: dict[str, _Failed] = {}
        """Those that are open though they have failed, by address."""
        self._refused = 0
        self.failed: dict[str, int] = {}
        """How often those have been started that failed, and that an operator may start again."""

    def resume(self, state: RunState, failed: Mapping[str, int]) -> None:
        """The run goes on where the workflow run before continued as new: what was under way still is."""
        self.failed = dict(failed)
        for scope in (state.root, *state.scopes.values()):  # outer ones first
            for run in scope.nodes.values():
                has_failed = run.status is Status.PAUSED or run.is_undone  # and may start again
                if run.started is not None and not (run.status.final or has_failed):
                    self._open[scope.address(run)] = self._started(scope, run)
        self._log(logging.INFO, "Run continued as new", "")

    def at(self, address: str) -> AbstractContextManager[None]:
        """What the block starts belongs to the node at an address, or to the run where there is none."""
        started = self._open.get(address)
        return traces.below(self._trace, RUN if started is None else Place(address, started.count))

    def run_started(self) -> None:
        """The run has its graph, and input that fits."""
        self._log(logging.INFO, "Run started", "", graph_version=self._graph.version)

    def run_ended(self, finish: Finish) -> None:
        """The run is over."""
        for address in reversed(list(self._open)):
            self._give_up(address)
        failure, version = finish.failure, finish.line.version
        last = None if finish.afterwards is None else finish.afterwards.failure
        if last is not None:
            self._log(logging.ERROR, "Finally failed", "", node=last.node or None, code=last.code)
        if failure is None:
            self._log(logging.INFO, "Run completed", "", version=version)
        else:
            self._log(
                logging.WARNING,
                "Run was cancelled" if finish.cancelled else "Run failed",
                "",
                version=version,
                node=failure.node or None,
                code=failure.code,
                compensated=list(finish.compensated),
                not_compensated=list(finish.not_compensated),
            )
        if self._notes is not None and self._trace is not None:
            attributes = self._attributes(version)
            code = None if failure is None else failure.code
            self._notes.add(self._trace.of_run(self._graph.name, began=self._began, code=code, attributes=attributes))

    def node_started(self, scope: Scope, run: NodeRun) -> None:
        """See Watcher."""
        address = scope.address(run)
        if address in self._blocks:  # an attempt that failed
            self._give_up(address)
        if scope.body is not None and scope.body.end is not None:  # what was cancelled in the block itself is over
            self._give_up_inside(scope.body.address, but=scope.prefix)
        self._open[address] = started = self._started(scope, run)
        if self._hears(logging.DEBUG):
            self._log(logging.DEBUG, "Node started", (address, started.count), node=address, version=_version(run))

    def node_ended(self, scope: Scope, run: NodeRun, failure: Failure | None) -> None:
        """See Watcher."""
        address = scope.address(run)
        count = started.count if (started := self._open.get(address)) else 0
        if self._hears(logging.INFO if failure is None else logging.WARNING):
            self._log_end(address, run, count, failure)
        if failure is not None:
            self.failed[address] = count
        if has_body(run.planned.node):  # what was under way in it may have ended unheard
            self._give_up_inside(address)
        if failure is not None and last_of(run) is not None and address in self._open:
            self._blocks[address] = _Failed(failure.code, _version(run), workflow.time_ns())
        else:
            self._end(address, None if failure is None else failure.code, run)

    def finally_ended(self, scope: Scope, run: NodeRun, failure: Failure) -> None:
        """See Watcher."""
        address = scope.address(run)
        self._give_up_inside(address)
        self._end(address, failure.code, run)

    def context_updated(self, version: Version) -> None:
        """See Watcher."""
        if not self._hears(logging.INFO):
            return
        by = version.by if version.kind in _OF_NODES else None
        numbers = {"version": version.version, "number": version.number}
        self._log(logging.INFO, "Context updated", version.number, node=by, kind=version.kind, **numbers)

    def conflicts_found(self, address: str, conflicts: Sequence[Conflict]) -> None:
        """See Watcher."""
        settled = all(each.settled for each in conflicts)
        fields = {"node": address, "conflicts": len(conflicts), "settled": settled}
        self._log(logging.WARNING, "Conflicts detected during merge", address, **fields)

    def event_taken(self, address: str, event: Event) -> None:
        """See Watcher."""
        self._log(logging.INFO, "Event received", (address, event.name, event.id), node=address, event_name=event.name)

    def event_repeated(self, event: Event) -> None:
        """See Watcher."""
        self._log(logging.INFO, "Event repeated", (event.name, event.id), event_name=event.name)

    def event_refused(self, error: AnabranchError) -> None:
        """See Watcher."""
        self._refused += 1
        self._log(logging.WARNING, "Event refused", self._refused, code=error.code)

    def answer_given(self, address: str, by: str, count: int, needed: int) -> None:
        """See Watcher."""
        self._log(logging.INFO, "Answer given", (address, count), node=address, by=by, answers=count, needed=needed)

    def people_told(self, address: str, notice: str) -> None:
        """See Watcher."""
        self._log(logging.INFO, "People reminded", (address, notice), node=address, notice=notice)

    def approval_escalated(self, address: str) -> None:
        """See Watcher."""
        self._log(logging.WARNING, "Approval escalated", address, node=address)

    def undo_started(self, step: Step) -> None:
        """See Watcher."""
        address = COMPENSATION + step.address
        count = self.failed.pop(address, 0) + 1
        self._open[address] = _Started(step.planned, count, RUN, workflow.time_ns())
        self._log(logging.INFO, "Undo started", (address, count), node=step.address)

    def finally_failed(self, address: str, failure: Failure) -> None:
        """See Watcher."""
        fields = {"block": address, "node": failure.node or None, "code": failure.code}
        self._log(logging.ERROR, "Finally failed", address, **fields)

    def undo_ended(self, step: Step, failure: Failure | None) -> None:
        """See Watcher."""
        address = COMPENSATION + step.address
        count = started.count if (started := self._open.get(address)) else 0
        level, verb = (logging.INFO, "succeeded") if failure is None else (logging.ERROR, "failed")
        code = None if failure is None else failure.code
        self._log(level, f"Undo {verb}", (address, count), node=step.address, code=code)
        if failure is not None:
            self.failed[address] = count
        self._close(address, code, step.line.version)

    def _started(self, scope: Scope, run: NodeRun) -> _Started:
        count = self.failed.pop(scope.address(run), 0) + 1
        around = RUN
        if scope.body is not None and (outer := self._open.get(scope.body.address)):
            around = Place(scope.body.address, outer.count)
        return _Started(run.planned, count, around, (run.started or 0) * 1_000_000)

    def _is_around(self, address: str, inner: str) -> bool:
        while (started := self._open.get(inner)) is not None:
            inner = started.around.address
            if inner == address:
                return True
        return False

    def _give_up_inside(self, address: str, *, but: str | None = None) -> None:
        """All is over that is open in a node, but what begins with a prefix."""
        inside = [each for each in self._open if but is None or not each.startswith(but)]
        for each in reversed([each for each in inside if self._is_around(address, each)]):
            self._give_up(each)

    def _give_up(self, address: str) -> None:
        """What is open at an address, if anything is, was cancelled, or is a block that has failed."""
        failed = self._blocks.pop(address, None) or _Failed(_CANCELLED, None, 0)
        self._close(address, failed.code, failed.version, failed.ended or None)

    def _end(self, address: str, code: str | None, run: NodeRun) -> None:
        """What has been started at an address is over now."""
        self._blocks.pop(address, None)
        self._close(address, code, _version(run))

    def _close(self, address: str, code: str | None, version: int | None = None, ended: int | None = None) -> None:
        """The span of what has been started at an address; it ends now, or has ended before."""
        started = self._open.pop(address, None)
        if started is None or self._notes is None or self._trace is None:
            return
        node = started.planned
        name = f"{COMPENSATION}{node.id}" if address.startswith(COMPENSATION) else node.id
        attributes = self._attributes(version) | {"anabranch.node": address, "anabranch.node_type": node.node.type}
        place = Place(address, started.count)
        times: dict[str, Any] = {"began": started.began, "ended": ended}
        self._notes.add(self._trace.of_node(name, place, started.around, **times, code=code, attributes=attributes))

    def _attributes(self, version: int | None) -> dict[str, Attribute]:
        return {
            "anabranch.session_id": self._ids["session_id"],
            "anabranch.graph": self._graph.name,
            "anabranch.version": version,
        }

    def _log_end(self, address: str, run: NodeRun, count: int, failure: Failure | None) -> None:
        fields: dict[str, Any] = {"node": address, "node_type": run.planned.node.type, "version": _version(run)}
        if run.started is not None and run.ended is not None:
            fields["milliseconds"] = run.ended - run.started
        level, verb = (logging.INFO, "succeeded") if failure is None else (logging.WARNING, _VERBS[failure.outcome])
        code = None if failure is None else failure.code
        self._log(level, f"Node {verb}", (address, count), **fields, code=code)

    def _hears(self, level: int) -> bool:
        """Whether a line of this level would be written: what nobody hears is not put together."""
        return self._notes is not None and self._notes.are_heard and are_logged(level)

    def _log(self, level: int, event: str, key: object, **fields: Any) -> None:
        if self._notes is not None and self._hears(level):
            self._notes.add(Line((event, key), level, event, {**self._ids, **fields}))


def tell_refusal(error: ApplicationError) -> None:
    """A run is over before it has its graph."""
    if (notes := here()) is None:
        return
    info, code = workflow.info(), error.type
    began = int(info.workflow_start_time.timestamp() * 1_000_000_000)
    if (trace := RunTrace.here(info.first_execution_run_id)) is not None:
        attributes = {"anabranch.session_id": info.workflow_id, "anabranch.graph": info.workflow_type}
        notes.add(trace.of_run(info.workflow_type, began=began, code=code, attributes=attributes))
    fields = _ids(info, info.workflow_type, trace)
    notes.add(Line(("Run failed", ""), logging.WARNING, "Run failed", {**fields, "code": code}))


def _ids(info: workflow.Info, graph: str, trace: RunTrace | None) -> dict[str, Any]:
    """What every line of a run has."""
    trace_id = None if trace is None else trace.id
    ids = {"session_id": info.workflow_id, "workflow_id": info.workflow_id, "run_id": info.run_id}
    return {**ids, "graph": graph, "trace_id": trace_id}


def _version(run: NodeRun) -> int | None:
    return None if run.line is None else run.line.version
