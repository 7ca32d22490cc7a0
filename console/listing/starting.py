"""A run is started: its input is checked against the graph before the server hears of it."""

from __future__ import annotations

import uuid
from typing import Any

from starlette.requests import Request
from temporalio.service import RPCError, RPCStatusCode

from anabranch.console.access.caller import Caller
from anabranch.console.exact import value_of
from anabranch.console.listing.shelf import Shelved
from anabranch.console.refusal import Refused
from anabranch.console.routes import Body
from anabranch.console.services import Services, services_of
from anabranch.context.values import Json, check_value
from anabranch.errors import GraphError, InputError, RunExists, Unavailable
from anabranch.graph.load import LoadedGraph, digests
from anabranch.graph.run_id import run_id
from anabranch.transport.node_protocol import GRAPH_DIGESTS
from anabranch.transport.starting import Start, start_run
from anabranch.workflows.interpreter.input import check_input

STARTED_BY = "anabranch_started_by"
"""Of the run's memo: who started it."""


async def start(request: Request, caller: Caller, body: Body) -> dict[str, str]:
    """Start a run of the graph that the path names: `{"input": JSON text, "workflow_id"}`."""
    services = services_of(request)
    found = await services.graphs.named(request.path_params["name"])
    if found.loaded is None:
        raise GraphError(found.problems)
    data = _checked(found, body)
    made = body.get("workflow_id") or run_id(found.loaded.graph, data)
    workflow_id = made or f"{found.name}-{uuid.uuid4().hex[:8]}"
    check_value(workflow_id, path=("workflow_id",))
    started = await _started(services, found.loaded, data, workflow_id, caller)
    return {"workflow_id": workflow_id, "run_id": started.run_id}


def _checked(found: Shelved, body: Body) -> dict[str, Json]:
    data = value_of(body.get("input"), place="the input")
    if not isinstance(data, dict) or found.plan is None:
        raise InputError("the input of a run is a JSON object", place="the input")
    check_input(found.plan, data)
    return data


async def _started(
    services: Services, loaded: LoadedGraph, data: dict[str, Json], workflow_id: Any, caller: Caller
) -> Start:
    """A run, or the one that has its id, where the graph says that this will do."""
    graph = loaded.graph
    try:
        return await start_run(
            services.client,
            graph.name,
            data,
            workflow_id,
            graph.id,
            task_queue=services.settings.task_queue,
            memo={GRAPH_DIGESTS: digests(loaded), STARTED_BY: caller.name},
        )
    except RunExists as error:
        raise Refused(409, error.code, error.message) from None
    except RPCError as error:
        said = f"the Temporal server refuses: {error.message}"
        raise (InputError(said) if error.status is RPCStatusCode.INVALID_ARGUMENT else Unavailable(said)) from error
