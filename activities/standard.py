"""The activities of a worker: those of the run itself, and one for each node type that a handler runs.

A handler is imported and built at the first node of its type: the model libraries alone take seconds, and a worker
whose graphs ask no model never pays for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from anabranch.activities.carrying import Carrying
from anabranch.activities.guards.guards import Guards
from anabranch.activities.load_graph import GraphLoader
from anabranch.activities.node_result import Handler
from anabranch.activities.registry import NodeActivities
from anabranch.activities.search_attributes import SearchAttributes
from anabranch.activities.share import ContextSharing
from anabranch.context.merge.resolution import ConflictResolution
from anabranch.errors import ConfigurationError, InputError
from anabranch.graph import node_types
from anabranch.graph.kinds.kind import Runs
from anabranch.graph.kinds.kinds import kind_named, types_that_run
from anabranch.graph.revision import REVISION
from anabranch.graph.source.index import FolderIndex
from anabranch.limits import (
    PAYLOAD_BYTES,
    PAYLOAD_HEADROOM_BYTES,
    RUN_LIMITS,
    STORED_CONTEXT_BYTES,
    NodeLimits,
    RunLimits,
)
from anabranch.settings import Settings


def node_activities(
    settings: Settings, *, workflows: Sequence[str] = (), limits: RunLimits = RUN_LIMITS
) -> NodeActivities:
    """The activities of a worker with these settings; `aclose` them at the end. Raises ConfigurationError.

    `workflows` are the names of the worker's other workflows, to suggest one that was mistyped.
    The runs that this worker starts are held to `limits`; with a payload store their context may be larger.
    """
    node_types.check_names()
    cipher = settings.cipher()
    return NodeActivities(
        {name: partial(_handler, name, settings) for name in types_that_run(by={Runs.HANDLER})},
        GraphLoader(
            FolderIndex(settings.graphs, below=settings.graphs_below),
            _resolution(settings.default_resolution_strategy),
            revision=settings.interpreter_revision or REVISION,
            inline=settings.inline_graphs,
            workflows=workflows,
            limits=_run_limits(settings, limits),
            elsewhere_seconds=settings.graph_elsewhere_seconds,
            strict=cipher is not None and cipher.strict,
            console=settings.console_url,
            search_attributes=SearchAttributes(),
        ),
        limits=NodeLimits(written_bytes=_written_bytes(settings)),
        guards=Guards.from_url(
            settings.redis_url, settings.redis_max_connections, cipher, lease=settings.limit_lease_seconds
        ),
        sharing=ContextSharing(settings),
        carrying=Carrying(settings),
        elsewhere_seconds=settings.elsewhere_seconds,
    )


def _run_limits(settings: Settings, limits: RunLimits) -> RunLimits:
    if settings.payload_store_url is None:
        return limits
    return replace(limits, context_bytes=STORED_CONTEXT_BYTES)


def _written_bytes(settings: Settings) -> int:
    """What a node may write. Without a store for large payloads the server takes no more, after the node's work."""
    if settings.payload_store_url is not None:
        return settings.max_context_size_bytes
    return min(settings.max_context_size_bytes, PAYLOAD_BYTES - PAYLOAD_HEADROOM_BYTES)


def _resolution(name: str) -> ConflictResolution:
    try:
        return ConflictResolution.parse(name)
    except InputError as error:
        place = "DEFAULT_RESOLUTION_STRATEGY"
        raise ConfigurationError(error.message, place=place, suggestion=error.suggestion) from None


def _handler(node_type: str, settings: Settings) -> Handler:
    if (build := kind_named(node_type).handler) is None:
        raise ConfigurationError(f"the NodeKind of {node_type!r} has no handler: its nodes run on other workers")
    return build(settings)
