"""`load_rerun`: what a rerun begins with. A worker reads the histories of the run before; no start can hand it a state.

What a client sends names a run, and says what changes. All else comes from histories that the server has recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from temporalio import activity
from temporalio.client import Client

from anabranch.activities.attempts import run_attempt
from anabranch.activities.failures import as_application_errors, refuse_outside_of_runs
from anabranch.activities.heartbeat import heartbeats
from anabranch.cipher import refused_plaintext
from anabranch.errors import InputError, SizeLimitExceeded
from anabranch.inspection.inspect import Inspector
from anabranch.inspection.runs import Runs
from anabranch.limits import PAYLOAD_BYTES, PAYLOAD_HEADROOM_BYTES, STORED_CONTEXT_BYTES
from anabranch.rerun.past import past_of
from anabranch.rerun.preparing import prepare
from anabranch.settings import Settings
from anabranch.transport.node_protocol import ENCRYPTED_ONLY, GraphRequest, PinnedGraph
from anabranch.transport.rerun import RerunRequest, RerunStart
from anabranch.transport.wire_types import pack

_INLINE: Final = PAYLOAD_BYTES - PAYLOAD_HEADROOM_BYTES


class RerunLoader:
    """Reads what reruns take over, for one worker; `close` ends its threads.

    `load` finds the graph of a rerun that names another one.
    """

    def __init__(self, settings: Settings, load: Callable[[GraphRequest], PinnedGraph]) -> None:
        cipher = settings.cipher()
        self._is_strict = cipher is not None and cipher.strict
        self._most = _INLINE if settings.payload_store_url is None else STORED_CONTEXT_BYTES
        self._load = load
        self._elsewhere_seconds = settings.graph_elsewhere_seconds
        self._inspector: Inspector | None = None

    def close(self) -> None:
        """End the threads."""
        if self._inspector is not None:
            self._inspector.close()

    def activities(self) -> list[Callable[..., Any]]:
        """What a worker registers."""
        return [self.load_rerun]

    @activity.defn
    async def load_rerun(self, request: RerunRequest) -> RerunStart:
        """What the run before knew, so far as it is kept, with the graph that the new run is held to."""
        info = activity.info()
        refuse_outside_of_runs(info)
        with (
            run_attempt("load_rerun"),
            as_application_errors(elsewhere_seconds=self._elsewhere_seconds),
            heartbeats(info),
        ):
            return await self._loaded(request)

    async def _loaded(self, request: RerunRequest) -> RerunStart:
        if self._is_strict and request.is_plain:
            raise refused_plaintext("the input of a run")
        client = activity.client()
        if request.namespace not in (None, client.namespace):
            raise InputError(
                f"the run is in the namespace {request.namespace!r}, and this one is in {client.namespace!r}",
                suggestion="a rerun is in the namespace of the run before it",
            )
        past = await past_of(self._runs(client), request.workflow_id, request.run_id)
        graph = await self._graph(request)
        prepared = await asyncio.to_thread(prepare, past, request, graph)
        pinned = prepared.pinned
        if self._is_strict and ENCRYPTED_ONLY not in pinned.capabilities:
            pinned = replace(pinned, capabilities=(*pinned.capabilities, ENCRYPTED_ONLY))
        return self._of_a_size(RerunStart(pinned, prepared.taken.to_wire()))

    async def _graph(self, request: RerunRequest) -> PinnedGraph | None:
        if (asked := graph_request(request)) is None:
            return None
        return await asyncio.to_thread(self._load, asked)

    def _runs(self, client: Client) -> Runs:
        if self._inspector is None:
            converter, namespace = client.data_converter, client.namespace
            self._inspector = Inspector(converter, namespace=namespace, strict=self._is_strict)
        return Runs(client, self._inspector)

    def _of_a_size(self, start: RerunStart) -> RerunStart:
        if (size := len(pack(start))) > self._most:
            raise SizeLimitExceeded(
                f"what the rerun takes over is {size} bytes, over the limit of {self._most}",
                suggestion="rerun from an earlier node, which takes over less; or give the workers a PAYLOAD_STORE_URL",
            )
        return start


def graph_request(request: RerunRequest) -> GraphRequest | None:
    """The graph that a rerun names or holds; None where it keeps that of the run before."""
    graph = request.graph
    if not graph:
        return None
    if isinstance(graph, str) and "\n" not in graph and not graph.lstrip().startswith("{"):
        return GraphRequest(name=graph, digests=request.digests, is_plain=request.is_plain)
    return GraphRequest(inline=graph, is_plain=request.is_plain)
