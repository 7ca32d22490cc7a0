"""Plan a rerun, and start one: what the command and the console do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from itertools import count
from typing import Any, Final

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from anabranch.errors import InputError, Unavailable
from anabranch.inspection.runs import Runs
from anabranch.rerun.past import past_of
from anabranch.rerun.plan import RerunPlan
from anabranch.rerun.preparing import prepare
from anabranch.transport.node_protocol import GRAPH_DIGESTS, PinnedGraph
from anabranch.transport.rerun import RERUN_OF, RerunRequest

_NUMBERED: Final = re.compile(r"(?P<first>.+)-rerun-\d+")
_MOST: Final = 1_000
_WORKFLOW: Final = "GraphWorkflow"


async def plan_rerun(runs: Runs, request: RerunRequest, graph: PinnedGraph | None = None) -> RerunPlan:
    """What a rerun would do. Nothing is started, and no worker is asked.

    `graph` is the definition where the request names another one than the run had. Raises InputError where there is no
    such run, RunOpen, NodeUnknown, GraphMismatch, RerunRefused, SizeLimitExceeded, and what inspecting the run does.
    """
    past = await past_of(runs, request.workflow_id, request.run_id)
    return (await asyncio.to_thread(prepare, past, request, graph)).plan


async def start_rerun(
    client: Client,
    request: RerunRequest,
    *,
    task_queue: str,
    workflow_id: str | None = None,
    digests: Mapping[str, str] | None = None,
) -> WorkflowHandle[Any, Any]:
    """Start a rerun. Its id is that of the run before with a number behind, unless one is given.

    `digests` are those of the graph that the request names, which the worker then has to have. What is wrong with the
    request the run itself says: it fails. Raises InputError where the id is taken,
    Unavailable where the server refuses.
    """
    for number in count(1):
        own = workflow_id or _numbered(request.workflow_id, number)
        try:
            return await client.start_workflow(
                _WORKFLOW,
                request.input(),
                id=own,
                task_queue=task_queue,
                memo={GRAPH_DIGESTS: dict(digests)} if digests else None,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                static_summary=f"rerun of {request.workflow_id}"[:200],
            )
        except RPCError as error:
            raise Unavailable(f"the Temporal server refuses: {error.message}") from error
        except WorkflowAlreadyStartedError:
            if workflow_id is not None or number >= _MOST:
                raise InputError(
                    f"there is a run with the id {own!r} already", place="--workflow-id", suggestion="give another one"
                ) from None
    raise AssertionError("an id is taken, or it is not")


async def rerun_before(client: Client, workflow_id: str, run_id: str) -> str | None:
    """The workflow id of a rerun of a run, among those that have the ids which `start_rerun` gives.

    One that no worker has taken yet does not say what it is a rerun of: it counts. Raises Unavailable.
    """
    for number in range(1, _MOST + 1):
        own = _numbered(workflow_id, number)
        try:
            described = await client.get_workflow_handle(own).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise Unavailable(f"the Temporal server refuses: {error.message}") from error
        before = await described.memo_value(RERUN_OF, None)
        if before is None:
            if described.close_time is None:
                return own
        elif (before["workflow_id"], before["run_id"]) == (workflow_id, run_id):
            return own
    return None


def _numbered(workflow_id: str, number: int) -> str:
    """The id of a rerun. Reruns of a rerun are counted on."""
    taken = re.fullmatch(_NUMBERED, workflow_id)
    return f"{workflow_id if taken is None else taken['first']}-rerun-{number}"
