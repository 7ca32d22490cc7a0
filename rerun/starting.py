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
from temporalio.service import RPCError

from anabranch.errors import InputError, Unavailable
from anabranch.inspection.runs import Runs
from anabranch.rerun.past import past_of
from anabranch.rerun.plan import RerunPlan
from anabranch.rerun.preparing import prepare
from anabranch.transport.node_protocol import GRAPH_DIGESTS, PinnedGraph
from anabranch.transport.rerun import RerunRequest

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
    taken = re.fullmatch(_NUMBERED, request.workflow_id)
    first = request.workflow_id if taken is None else taken["first"]
    for number in count(1):
        own = workflow_id or f"{first}-rerun-{number}"
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
