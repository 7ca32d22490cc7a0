"""An `Inspection` is all that a history tells of one workflow run, as a value that does not change."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anabranch.context.merge.lineage import Line
from anabranch.context.values import Json
from anabranch.errors import InputError
from anabranch.graph.model import Graph
from anabranch.graph.plan import Plan
from anabranch.inspection.closing import Closing
from anabranch.inspection.events import Activity, Child
from anabranch.inspection.frame import Frame
from anabranch.inspection.lineage import Lineage
from anabranch.inspection.undo_plan import UndoPlan
from anabranch.inspection.visits import Route, Visit
from anabranch.transport.node_protocol import PinnedGraph
from anabranch.workflows.interpreter.journal import Journal
from anabranch.workflows.interpreter.node_state import NodeState


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """One workflow run as its history tells it, up to `last_event`."""

    workflow_id: str
    run_id: str
    first_run_id: str
    """Of the first workflow run of the chain."""
    workflow_type: str
    started: int
    """Unix milliseconds."""
    last_event: int
    last_event_at: int
    pinned: PinnedGraph | None
    """The definition with its digest and the interpreter's revision; None where the graph was never loaded."""
    plan: Plan | None
    frames: tuple[Frame, ...]
    """One for each workflow task since the graph was loaded, and for each local activity that ended within one."""
    lineage: Lineage
    """The versions of the context."""
    visits: tuple[Visit, ...]
    """Each start of a node, or of a compensation, in order."""
    activities: Mapping[str, tuple[Activity, ...]]
    """Of each node, by address; those of local nodes are in no event of their own."""
    children: Mapping[str, Child]
    event_ids: Mapping[str, tuple[int, ...]]
    """The events of each node, by address."""
    skipped: Mapping[str, tuple[tuple[int, ...], tuple[Route, ...]]]
    """Nodes that were skipped, by address: the newest versions on their line of descent, and the edges to them."""
    line: Line | None
    """The context after the last frame, with its writers; None where the graph was never loaded."""
    undo_plan: UndoPlan | None
    """What a cancel after the last frame would undo; None where the graph was never loaded."""
    closing: Closing | None
    """How the workflow run ended; None while it runs."""
    previous_run_id: str | None
    """The workflow run that continued as this one."""
    next_run_id: str | None
    task_queue: str
    journal: Journal
    """All that the run was told."""
    kept: Mapping[str, str]
    """Of a rerun, the nodes that kept what they came to in the run before, with the keys of their effects."""

    @property
    def graph(self) -> Graph | None:
        """The graph that the run is held to."""
        return None if self.plan is None else self.plan.graph

    @property
    def status(self) -> str:
        """The state of the run in one word. How the workflow ended counts more than what its code had come to."""
        if self.closing is not None and self.closing.kind in {"terminated", "timed_out", "continued"}:
            return self.closing.kind
        if self.frames:
            return self.frames[-1].status
        return "loading" if self.closing is None else self.closing.kind

    @property
    def last(self) -> Frame:
        """The newest frame. Raises InputError where the graph was never loaded."""
        if not self.frames:
            raise InputError("the run has not begun: no worker has loaded its graph")
        return self.frames[-1]

    def at(self, event_id: int) -> int | None:
        """The index of the frame that shows the run as of an event; None before its graph was loaded."""
        place = bisect_right(self.frames, event_id, key=lambda frame: frame.event_id)
        return place - 1 if place else None

    def made(self, version: int) -> int:
        """The index of the first frame that has a version. Raises InputError."""
        for index, frame in enumerate(self.frames):
            if frame.versions >= version > 0:
                return index
        raise InputError(f"the context has {self.last.versions} versions, not {version}")

    def nodes(self, index: int = -1) -> dict[str, NodeState]:
        """The nodes in a frame, by address: those of the graph, and of bodies those under way."""
        end = index % len(self.frames) if self.frames else -1
        found: dict[str, NodeState] = {}
        for frame in self.frames[: end + 1]:
            for address in frame.gone:
                del found[address]
            found |= frame.changed
        return found

    def visited(self, address: str) -> list[Visit]:
        """The times that a node, or a compensation, was started."""
        return [visit for visit in self.visits if visit.address == address]


def status_of(inspection: Inspection, index: int = -1) -> dict[str, Any]:
    """A frame as the query `status` would have answered it, without its limits of size."""
    frame = inspection.frames[index]
    graph = inspection.graph
    answer: dict[str, Any] = {"graph": "" if graph is None else graph.name, "status": frame.status}
    answer["nodes"] = {address: node.described() for address, node in inspection.nodes(index).items()}
    if frame.failure is not None:
        answer["failure"] = frame.failure.root()
    if frame.compensated or frame.failure is not None:
        answer["compensated"] = list(frame.compensated)
    if frame.not_compensated:
        answer["not_compensated"] = {step: reason.root() for step, reason in frame.not_compensated.items()}
    if frame.finally_failed is not None:
        answer["finally_failed"] = frame.finally_failed.root()
    if frame.warnings:
        answer["warnings"] = [{"by": by, "warning": text} for by, text in frame.warnings]
    if frame.usage:
        answer["usage"] = [each.described() for each in frame.usage]
    if frame.decisions:
        answer["decisions"] = {address: each.described() for address, each in frame.decisions.items()}
    optional: dict[str, Mapping[str, Json] | Mapping[str, str]] = {
        "paused": frame.paused,
        "lacking": frame.lacking,
        "limited": frame.limited,
        "approvals": frame.approvals,
        "conflicts": frame.conflicts,
        "events": frame.events,
    }
    return answer | {name: dict(value) for name, value in optional.items() if value}
