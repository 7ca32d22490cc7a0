"""An activity for whichever worker takes it first, not for the one whose workflow task asks for it.

A worker that has room runs an activity of its own workflow task at once ("eager"), before any other worker hears of it.
What one worker could not do would come back to it again and again: the SDK has no option for a single activity.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from temporalio.worker import (
    Interceptor,
    StartActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ActivityHandle

_anybody: Final = ContextVar("anabranch_for_any_worker", default=False)


@contextmanager
def for_any_worker() -> Generator[None]:
    """Activities that the block starts are not kept by its own worker."""
    token = _anybody.set(True)
    try:
        yield
    finally:
        _anybody.reset(token)


class ForAnyWorker(Interceptor):
    """Makes `for_any_worker` hold in the workflows of a worker."""

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:  # noqa: A002 - the SDK's name
        """What is around each workflow."""
        return _Inbound


class _Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))


class _Outbound(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:  # noqa: A002 - the SDK's name
        if _anybody.get():
            input.disable_eager_execution = True
        return super().start_activity(input)
