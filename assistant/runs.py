"""Runs of a Temporal server: listed, shown and explained from their histories; started and answered where allowed."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import Any, Self

from temporalio.client import Client
from temporalio.service import RPCError

from anabranch.context.values import Json, parse_path
from anabranch.errors import InputError, Unavailable
from anabranch.graph.load import LoadedGraph, digests
from anabranch.graph.plan import plan_graph
from anabranch.graph.run_id import run_id
from anabranch.inspection import reports
from anabranch.inspection.inspect import Inspector
from anabranch.inspection.listing import Listing
from anabranch.inspection.runs import Runs
from anabranch.inspection.selection import CLOSED_STATES, OPEN_STATES, Selection
from anabranch.inspection.why import Why
from anabranch.settings import Settings
from anabranch.steering.checking import check
from anabranch.steering.sending import send
from anabranch.transport.client import connect
from anabranch.transport.node_protocol import GRAPH_DIGESTS
from anabranch.transport.starting import start_run
from anabranch.workflows.interpreter.input import check_input
from anabranch.workflows.temporal.requests import Request

MOST_RUNS = 100
ANSWER_SECONDS = 30.0
IDENTITY = "assistant"
"""Who starts and answers, in the events of a run and in its audit trail."""


class Server:
    """The Temporal server that the environment names, connected to when first asked for."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        cipher = settings.cipher()
        strict = cipher is not None and cipher.strict
        self._inspector = Inspector(client.data_converter, namespace=client.namespace, strict=strict)
        self._runs = Runs(client, self._inspector)

    @classmethod
    async def open(cls, settings: Settings) -> Self:
        """Raises Unavailable, ConfigurationError."""
        return cls(await connect(settings, identity=IDENTITY), settings)

    def close(self) -> None:
        """End its threads."""
        self._inspector.close()

    async def listed(self, graph: str | None, state: str | None, limit: int) -> list[dict[str, Any]]:
        """The newest runs. Raises InputError, Unavailable."""
        known = (*OPEN_STATES, *CLOSED_STATES)
        if state is not None and state not in known:
            raise InputError(f"no run is {state[:64]!r}", place="state", suggestion=f"one of {', '.join(known)}")
        selection = Selection(graph=graph, states=() if state is None else (state,))
        found = await Listing(self._client, self._runs).newest(selection, min(max(limit, 1), MOST_RUNS))
        return [asdict(each) for each in found]

    async def shown(self, run: str) -> dict[str, Any]:
        """A run as it is now: nodes, context, what it waits for, how it ended. Raises InputError, HistoryInvalid."""
        try:
            inspection = await self._runs.inspect(run)
            pending = () if inspection.closing is not None else await self._runs.pending(inspection)
        except RPCError as error:
            raise Unavailable(f"the Temporal server refuses: {error.message}") from error
        return reports.run(inspection, pending)

    async def why(self, run: str, path: str | None, node: str | None) -> dict[str, Any]:
        """Why a value is what it is, or why a node ran or did not. Raises InputError, HistoryInvalid."""
        if (path is None) == (node is None):
            raise InputError(
                "give either `path` or `node`", place="why", suggestion="path: order.total, or node: check"
            )
        inspection = await self._runs.inspect(run)
        why = Why(inspection, await self._runs.whole(inspection))
        return reports.why(why.node(node) if node is not None else why.path(parse_path(path or "")))

    async def start(self, loaded: LoadedGraph, data: dict[str, Json], workflow_id: str | None) -> dict[str, Any]:
        """Start a run on the task queue of the settings. Raises InputError, Unavailable."""
        graph = loaded.graph
        check_input(plan_graph(graph, loaded.graphs), data)
        chosen = workflow_id or run_id(graph, data) or f"{graph.name}-{uuid.uuid4().hex[:8]}"
        try:
            started = await start_run(
                self._client,
                graph.name,
                data,
                chosen,
                graph.id,
                task_queue=self._settings.task_queue,
                memo={GRAPH_DIGESTS: digests(loaded)},
                static_summary=f"{graph.name} {graph.version}",
            )
        except RPCError as error:
            raise Unavailable(f"the Temporal server refuses: {error.message}") from error
        return {"workflow_id": chosen, "run_id": started.handle.result_run_id, "is_new": started.is_new}

    async def answer(self, run: str, node: str, answer: Json) -> dict[str, Any]:
        """Answer an approval, checked before it is sent. Raises what the run refuses it with, TimedOut."""
        history = await self._runs.history(run)
        request: Request = {"node": node, "answer": answer, "by": IDENTITY}
        await check(self._inspector, history, "complete_task", request)
        handle = self._client.get_workflow_handle(run)
        update_id = f"complete_task-{uuid.uuid4()}"
        return await send(handle, "complete_task", request, update_id=update_id, within=ANSWER_SECONDS)
