"""A run's current details, for the Web UI: put together when somebody asks, not after each event of the run.

They are a part of the SDK's answer to a query of its own, which it takes from what was set before.
"""

from __future__ import annotations

from typing import Any, Final

from temporalio import workflow
from temporalio.worker import (
    HandleQueryInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

_QUERY: Final = "__temporal_workflow_metadata"


class CurrentDetails(Interceptor):
    """Has the runs of graphs say their details, and leaves those of other workflows alone."""

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:  # noqa: A002 - the SDK's name
        """What is around each workflow."""
        return _Inbound


class _Inbound(WorkflowInboundInterceptor):
    async def handle_query(self, input: HandleQueryInput) -> Any:  # noqa: A002 - the SDK's name
        answer = await super().handle_query(input)
        # By name: in a sandbox the class of a run is another one than here.
        if input.query == _QUERY and (told := getattr(workflow.instance(), "details_of_run", None)) is not None:
            answer.current_details = told() or answer.current_details
        return answer
