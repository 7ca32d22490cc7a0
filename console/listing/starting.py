"""A run is started: its input is checked against the graph before the server hears of it.

A start that is sent twice by one form (the first answer was lost, or somebody went back) is one start: the run's memo
has what it is known by.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from anabranch.console.access.caller import Caller
from anabranch.console.exact import value_of
from anabranch.console.listing.shelf import Shelved
from anabranch.console.refusal import Refused
from anabranch.console.routes import Body
from anabranch.console.sent_once import sent_id, sign_of
from anabranch.console.services import Services, services_of
from anabranch.context.values import Json, check_value
from anabranch.errors import GraphError, InputError, RunExists, Unavailable
from anabranch.graph.load import LoadedGraph, digests
from anabranch.graph.policies import RunId
from anabranch.graph.run_id import run_id
from anabranch.transport.node_protocol import GRAPH_DIGESTS
from anabranch.transport.starting import start_run
from anabranch.workflows.interpreter.input import check_input

STARTED_BY = "anabranch_started_by"
"""Of the run's memo: who started it."""
_SIGN: Final = "anabranch_start"
"""Of the run's memo: what its start is known by again."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A start that somebody asked for."""

    loaded: LoadedGraph
    data: dict[str, Json]
    workflow_id: str
    by: str
    sign: str | None
    """What it is known by when it is sent again, if by anything."""
    said: RunId | None
    """What another run of that id means."""


async def start(request: Request, caller: Caller, body: Body) -> dict[str, str]:
    """Start a run of the graph that the path names: `{"input": JSON text, "workflow_id", "request_id"}`.

    What is asked for again by the same `request_id` is one start.
    """
    services = services_of(request)
    found = await services.graphs.named(request.path_params["name"])
    if found.loaded is None:
        raise GraphError(found.problems)
    data = _checked(found, body)
    asked = _asked(found.loaded, data, body, caller)
    async with services.starting.setdefault(asked.workflow_id, asyncio.Lock()):
        started_run = await _started(services, asked)
    return {"workflow_id": asked.workflow_id, "run_id": started_run}


def _asked(loaded: LoadedGraph, data: dict[str, Json], body: Body, caller: Caller) -> _Asked:
    graph, given, sent = loaded.graph, body.get("workflow_id"), sent_id(body, "request_id")
    if given is not None and not isinstance(given, str):
        raise InputError("it is a text", place="workflow_id")
    check_value(given, path=("workflow_id",))
    sign = None if sent is None else sign_of(sent, graph.name, data, given)
    said, workflow_id = graph.id, given or run_id(graph, data)
    if not workflow_id:
        workflow_id = f"{graph.name}-{(sign or uuid.uuid4().hex)[:8]}"
        said = RunId(value=workflow_id, reuse="reject_duplicate")
    return _Asked(loaded, data, workflow_id, caller.name, sign, said)


def _checked(found: Shelved, body: Body) -> dict[str, Json]:
    data = value_of(body.get("input"), place="the input")
    if not isinstance(data, dict) or found.plan is None:
        raise InputError("the input of a run is a JSON object", place="the input")
    check_input(found.plan, data)
    return data


async def _started(services: Services, asked: _Asked) -> str:
    """The id of the workflow run: a new one, that of the same form, or where the graph allows it one of this id."""
    graph = asked.loaded.graph
    memo = {GRAPH_DIGESTS: digests(asked.loaded), STARTED_BY: asked.by}
    if asked.sign is not None:
        memo[_SIGN] = asked.sign
    try:
        if (before := await _before(services.client, asked)) is not None:
            return before
        started = await start_run(
            services.client,
            graph.name,
            asked.data,
            asked.workflow_id,
            asked.said,
            task_queue=services.settings.task_queue,
            memo=memo,
        )
    except RunExists as error:  # another console may have been asked first
        if (before := await _before(services.client, asked)) is not None:
            return before
        raise Refused(409, error.code, error.message) from None
    except RPCError as error:
        said = f"the Temporal server refuses: {error.message}"
        raise (InputError(said) if error.status is RPCStatusCode.INVALID_ARGUMENT else Unavailable(said)) from error
    return started.run_id


async def _before(client: Client, asked: _Asked) -> str | None:
    """The newest workflow run of the id, where it was started by the same form with the same input."""
    if asked.sign is None:
        return None
    try:
        found = await client.get_workflow_handle(asked.workflow_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    return found.run_id if await found.memo_value(_SIGN, None) == asked.sign else None
