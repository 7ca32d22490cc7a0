"""Who a run is, and what it is held to: the same in all workflow runs that it continues as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from temporalio import workflow

from anabranch.errors import SizeLimitExceeded
from anabranch.graph.pinned import plan_of
from anabranch.graph.plan import Plan
from anabranch.limits import SERVER_NAME_BYTES
from anabranch.transport.node_protocol import PinnedGraph, RunInfo, iso_time
from anabranch.workflows.interpreter.address import attempt_address
from anabranch.workflows.temporal.failures import check_revision


@dataclass(frozen=True, slots=True)
class Identity:
    """One run of one graph. `created_at` is in Unix milliseconds."""

    session_id: str
    """The workflow's id."""
    run_id: str
    """Of the first workflow run. It names the effects of the run's nodes."""
    created_at: int
    pinned: PinnedGraph
    plan: Plan
    is_child: bool = False
    """Whether a node of another graph started the run."""

    @classmethod
    def of_this_run(cls, pinned: PinnedGraph, *, created_at: int | None = None, is_child: bool = False) -> Self:
        """The run of the workflow that asks, `created_at` where it was continued. Raises NewerRevision."""
        check_revision(pinned)
        info = workflow.info()
        plan = plan_of(pinned.definition, pinned.graphs, revision=pinned.revision, inputs=pinned.inputs[pinned.name])
        if created_at is None:
            created_at = int(info.workflow_start_time.timestamp() * 1000)
        return cls(info.workflow_id, info.first_execution_run_id, created_at, pinned, plan, is_child)

    def at(self, time: int, attempt: int = 1) -> RunInfo:
        """The run as expressions see it at a time in Unix milliseconds."""
        return RunInfo(self.run_id, self.session_id, self.plan.graph.name, iso_time(time), attempt)

    def child_id(self, address: str, attempt: int = 1) -> str:
        """The workflow's id of the child that runs at an address. Raises SizeLimitExceeded."""
        found = f"{self.session_id}/{attempt_address(address, attempt)}"
        if (size := len(found.encode())) > SERVER_NAME_BYTES:
            raise SizeLimitExceeded(
                f"the child's workflow id has {size} bytes, over the limit of {SERVER_NAME_BYTES}",
                place=f"node {address[:80]!r}",
                suggestion="start the run with a shorter workflow id, or give the nodes around it shorter ids",
            )
        return found
