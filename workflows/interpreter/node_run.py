"""A `NodeRun` is the record of one node in one scope: its status, the line that it sees, its attempts and its times."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from anabranch.context.merge.lineage import Line
from anabranch.context.merge.union import Conflict
from anabranch.graph.plan_node import PlanEdge, PlanNode
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.progress import Progress


class Status(StrEnum):
    """The state of a node."""

    PENDING = "pending"
    READY = "ready"
    """Its join holds; it starts at the next step, unless the run is paused."""
    CONFLICT = "conflict"
    """It waits for a person to settle a conflict, at its join or between the items of its body."""
    RUNNING = "running"
    WAITING = "waiting"
    """For a timer or a person."""
    PAUSED = "paused"
    """Failed; an operator decides what happens next."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    @property
    def final(self) -> bool:
        """Whether the node is over."""
        return self in _FINAL


_NOT_STARTED = frozenset({Status.PENDING, Status.READY, Status.CONFLICT})
CLOSED = {"failure": Status.FAILED, "timeout": Status.TIMED_OUT, "cancelled": Status.CANCELLED}
"""How a node is closed, by the outcome of its failure."""
_FINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.TIMED_OUT, Status.CANCELLED, Status.SKIPPED})


class Head(NamedTuple):
    """A line of descent at its end, and the numbers of the newest versions on it."""

    line: Line
    versions: tuple[int, ...]


@dataclass(slots=True, eq=False)
class NodeRun:
    """The record of one node in one scope."""

    planned: PlanNode
    unsettled: int
    status: Status = Status.PENDING
    taken: list[PlanEdge] = field(default_factory=list)
    line: Line | None = None
    """The context that the node sees while it runs, and as it left it afterwards.

    None before its join and after a skip, and again once no later node can start on it, to free the memory.
    """
    versions: tuple[int, ...] = ()
    """Numbers of the newest versions on its line."""
    failure: Failure | None = None
    handled: Failure | None = None
    """The error that led to it, where it is in a handler branch."""
    followed: bool = False
    """Whether a later node has started on its line."""
    conflicts: tuple[Conflict, ...] = ()
    """Conflicts between the items of a `foreach`."""
    asked: int | None = None
    """When people were first asked to settle its conflicts."""
    started: int | None = None
    ended: int | None = None
    """Unix milliseconds."""
    attempt: int = 1
    """The number of the attempt of a composite with `retry`."""
    is_undone: bool = False
    """Whether that attempt was undone: the next start is that of another one."""
    next_at: int | None = None
    """While it waits for its next attempt, when that starts (Unix milliseconds)."""
    rejoins: bool = False
    """Whether its own line meets what was written from outside since, before its next attempt."""
    progress: Progress | None = None
    """Of a `foreach`, in its latest attempt."""

    @property
    def head(self) -> Head | None:
        """Its line, while no later node has started on it."""
        return None if self.line is None or self.followed else Head(self.line, self.versions)

    @property
    def is_before_join(self) -> bool:
        """Whether it still needs the lines of its predecessors."""
        return self.status in _NOT_STARTED and self.line is None
