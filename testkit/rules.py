"""`rule` nodes without a worker: evaluated by the code that a worker runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

from anabranch.activities.standard import node_activities
from anabranch.context.changes import ChangeSet
from anabranch.context.distributed import ContextMetadata, DistributedContext
from anabranch.settings import Settings
from anabranch.transport.node_protocol import NodeTask, RunInfo
from anabranch.workflows.interpreter.commands import RunNode


@contextmanager
def rule_evaluator(settings: Settings) -> Generator[Callable[[RunNode], ChangeSet]]:
    """Yields a function from a rule node's command to its change set. It raises AnabranchError."""
    activities = node_activities(settings)
    with asyncio.Runner() as runner:
        try:
            yield lambda work: runner.run(activities.execute(_task(work)))
        finally:
            runner.run(activities.aclose())


def _task(work: RunNode) -> NodeTask:
    run = RunInfo(**cast("dict[str, Any]", work.roots["run"]))  # which the machine was given by RunInfo.root
    metadata = ContextMetadata(created_at=0, updated_at=0, version=work.line.version)
    return NodeTask(
        address=work.address,
        node=work.planned.wire,
        context=DistributedContext(run.session_id, data=work.line.data, metadata=metadata),
        run=run,
        key=work.key,
        roots={name: value for name, value in work.roots.items() if name != "run"},
    )
