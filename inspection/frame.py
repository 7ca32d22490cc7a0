"""A `Frame` is what a run was at one moment: after a workflow task, or after a local activity within one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from anabranch.context.changes import Usage
from anabranch.context.values import Json
from anabranch.workflows.interpreter.commands import Failure
from anabranch.workflows.interpreter.decisions import Decision
from anabranch.workflows.interpreter.node_state import NodeState
from anabranch.workflows.interpreter.saga import StepState


@dataclass(frozen=True, slots=True)
class SagaStep:
    """A step that the saga has noted: whether it happened, and whether it is undone."""

    address: str
    state: StepState
    order: int
    """The place in the order in which steps counted as done, from 1; 0 while its outcome is open."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The run as of `event_id`. Frames share what did not change between them."""

    event_id: int
    """The start of the workflow task, or the record of the local activity within it."""
    at: int
    """When that event happened, in Unix milliseconds."""
    status: str
    """The state of the run in one word, as the query `status` says it."""
    changed: Mapping[str, NodeState]
    """The nodes that are not as they were in the frame before, by address."""
    gone: tuple[str, ...]
    """Nodes inside of bodies that are no longer under way."""
    settled: Mapping[tuple[str, int], bool]
    """The edges that were settled since the frame before: whether each was taken.

    By what stands before the ids of their level (`""`, `finally/`) and their number there; without those of bodies.
    """
    begun: int
    """How many visits of nodes had begun."""
    over: tuple[int, ...]
    """The indexes of the visits that ended since the frame before."""
    versions: int
    """How many versions the context had."""
    is_paused: bool
    """Whether nothing new starts, until somebody resumes the run."""
    context: Mapping[str, Json]
    in_conflict: tuple[str, ...]
    """Paths on which open lines disagree: `context` shows the last write of each."""
    open_tasks: tuple[str, ...]
    """Addresses at which an answer is awaited: of activities, child workflows, timers, people."""
    paused: Mapping[str, Json]
    """Nodes, and compensations, that wait for an operator, by address, as in the query `status`."""
    approvals: Mapping[str, Json]
    """What people are asked, by the address of the node, as in the query `status`."""
    conflicts: Mapping[str, Json]
    """The conflicts that people are to settle, likewise."""
    events: Mapping[str, Json]
    """The events that nodes wait for, likewise."""
    saga: tuple[SagaStep, ...]
    """In the order of registration."""
    failure: Failure | None
    """Why the run fails."""
    compensated: tuple[str, ...]
    not_compensated: Mapping[str, Failure]
    """Why steps could not be undone, by address."""
    finally_failed: Failure | None
    lacking: Mapping[str, str]
    """What a worker lacked for work that others are to do, by address."""
    decisions: Mapping[str, Decision]
    """What somebody told the run, by name, at each address."""
    limited: Mapping[str, str]
    """What work waits for that a limit did not let begin, by address."""
    warnings: tuple[tuple[str, str], ...]
    """The newest warnings, each with the address of the node that gave it."""
    usage: tuple[Usage, ...]
    """What the run had spent at language models, by model."""
