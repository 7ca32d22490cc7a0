"""How a run is started whose graph says which workflow id it has, and what another run of that id means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from anabranch.errors import RunExists
from anabranch.graph.policies import Reuse, RunId

REUSE: Final[dict[Reuse, WorkflowIDReusePolicy]] = {
    "allow_duplicate": WorkflowIDReusePolicy.ALLOW_DUPLICATE,
    "allow_duplicate_failed_only": WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
    "reject_duplicate": WorkflowIDReusePolicy.REJECT_DUPLICATE,
}


@dataclass(frozen=True, slots=True)
class Start:
    """A run, and whether it is this start's own: else one of the same id was under way."""

    handle: WorkflowHandle[Any, Any]
    is_new: bool
    run_id: str
    """Of the workflow run."""


async def start_run(client: Client, workflow: str, arg: Any, run: str, said: RunId | None, **options: Any) -> Start:
    """Start a run by its workflow id, as its graph has `said` of others with it. Raises RunExists, RPCError."""
    policies = said or RunId(value=run)
    conflict = WorkflowIDConflictPolicy.FAIL
    if policies.conflict == "terminate_existing":
        conflict = WorkflowIDConflictPolicy.TERMINATE_EXISTING
    try:
        handle = await client.start_workflow(
            workflow, arg, id=run, id_reuse_policy=REUSE[policies.reuse], id_conflict_policy=conflict, **options
        )
    except WorkflowAlreadyStartedError:
        return await _existing(client, workflow, run, policies)
    return Start(handle, is_new=True, run_id=handle.first_execution_run_id or handle.result_run_id or "")


async def _existing(client: Client, workflow: str, run: str, policies: RunId) -> Start:
    """The run that is under way, where a start may join it. Raises RunExists."""
    handle = client.get_workflow_handle(run)
    found = await handle.describe()
    is_running = found.status is WorkflowExecutionStatus.RUNNING
    if is_running and policies.conflict == "use_existing" and found.workflow_type == workflow:
        return Start(handle, is_new=False, run_id=found.run_id)
    if is_running:
        what = "" if found.workflow_type == workflow else f" of {found.workflow_type!r}"
        raise RunExists(f"a run{what} with the id {run!r} is under way", place="--id", suggestion="give another --id")
    ended = "has ended" if found.status is None else f"has {found.status.name.lower().replace('_', ' ')}"
    raise RunExists(
        f"a run with the id {run!r} {ended}, and the graph's `id` says `reuse: {policies.reuse}`",
        place="--id",
        suggestion="give another --id, or another input",
    )
