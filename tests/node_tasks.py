"""Node tasks as a workflow would send them."""

from __future__ import annotations

from typing import Any

from anabranch.context.distributed import ContextMetadata, DistributedContext
from anabranch.transport.node_protocol import NodeTask, RunInfo

RUN = RunInfo("run-1", "session-1", "orders", "2026-01-02T03:04:05Z")


def task_of(
    node: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
    *,
    address: str = "reserve",
    key: str = "run-1/reserve",
    **roots: Any,
) -> NodeTask:
    """One execution of a node on version 7 of a context; all keys cross."""
    metadata = ContextMetadata(created_at=1, updated_at=2, version=7)
    context = DistributedContext("session-1", data=data or {}, metadata=metadata)
    return NodeTask(address, node or {}, context, RUN, key, None, roots)
