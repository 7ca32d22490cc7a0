"""A Temporal server and a worker process of the project, and messages to them as raw payloads, past every client."""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from temporalio.api.command.v1 import Command, ContinueAsNewWorkflowExecutionCommandAttributes
from temporalio.api.common.v1 import Payload, Payloads, WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import CommandType, UpdateWorkflowExecutionLifecycleStage
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.update.v1 import Input, Meta, Request, WaitPolicy
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueRequest,
    PollWorkflowTaskQueueRequest,
    QueryWorkflowRequest,
    RespondActivityTaskCompletedRequest,
    RespondWorkflowTaskCompletedRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
    UpdateWorkflowExecutionRequest,
)
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from anabranch.dev.devserver import DevServer
from anabranch.settings import Settings
from anabranch.transport.client import connect
from tests.command import Command as Running
from tests.command import anabranch

PATIENCE = 120.0
"""Seconds for what takes a tenth of one on an idle machine. What hangs is found by its failed tasks, not by them."""
_STUCK_AT = 3
"""The attempt of a workflow task that says that the attempts before it failed."""
_COMPLETED = UpdateWorkflowExecutionLifecycleStage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED


@dataclass(frozen=True, slots=True)
class Target:
    """What is attacked."""

    client: Client
    task_queue: str
    worker: Running
    folder: Path

    async def start(self, workflow_type: str, given: Sequence[Payload], *, queue: str = "", cron: str = "") -> str:
        """Start a workflow; its id. Raises RPCError where the server refuses."""
        workflow_id = f"attack-{uuid.uuid4().hex}"
        request = StartWorkflowExecutionRequest(
            namespace="default",
            workflow_id=workflow_id,
            workflow_type=WorkflowType(name=workflow_type),
            task_queue=TaskQueue(name=queue or self.task_queue),
            request_id=workflow_id,
            input=Payloads(payloads=given),
            cron_schedule=cron,
        )
        await self.client.workflow_service.start_workflow_execution(request)
        return workflow_id

    async def signal(self, workflow_id: str, name: str, given: Sequence[Payload]) -> None:
        request = SignalWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=WorkflowExecution(workflow_id=workflow_id),
            signal_name=name,
            input=Payloads(payloads=given),
        )
        await self.client.workflow_service.signal_workflow_execution(request)

    async def update(self, workflow_id: str, name: str, given: Sequence[Payload]) -> None:
        request = UpdateWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=WorkflowExecution(workflow_id=workflow_id),
            wait_policy=WaitPolicy(lifecycle_stage=_COMPLETED),
            request=Request(meta=Meta(identity="attack"), input=Input(name=name, args=Payloads(payloads=given))),
        )
        await self.client.workflow_service.update_workflow_execution(request)

    async def query(self, workflow_id: str, name: str, given: Sequence[Payload] = ()) -> None:
        request = QueryWorkflowRequest(
            namespace="default",
            execution=WorkflowExecution(workflow_id=workflow_id),
            query=WorkflowQuery(query_type=name, query_args=Payloads(payloads=given)),
        )
        await self.client.workflow_service.query_workflow(request)

    async def complete_activity(self, queue: str, result: Payload) -> None:
        """Be a worker that completes the next activity of a task queue with this result."""
        service = self.client.workflow_service
        task = await service.poll_activity_task_queue(
            PollActivityTaskQueueRequest(namespace="default", task_queue=TaskQueue(name=queue), identity="attack")
        )
        await service.respond_activity_task_completed(
            RespondActivityTaskCompletedRequest(
                namespace="default", task_token=task.task_token, result=Payloads(payloads=[result])
            )
        )

    async def continue_as_new(self, queue: str, workflow_type: str, given: Sequence[Payload]) -> None:
        """Be a worker that lets the next workflow of a task queue continue as one of the attacked worker."""
        service = self.client.workflow_service
        task = await service.poll_workflow_task_queue(
            PollWorkflowTaskQueueRequest(namespace="default", task_queue=TaskQueue(name=queue), identity="attack")
        )
        attributes = ContinueAsNewWorkflowExecutionCommandAttributes(
            workflow_type=WorkflowType(name=workflow_type),
            task_queue=TaskQueue(name=self.task_queue),
            input=Payloads(payloads=given),
        )
        command = Command(
            command_type=CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION,
            continue_as_new_workflow_execution_command_attributes=attributes,
        )
        await service.respond_workflow_task_completed(
            RespondWorkflowTaskCompletedRequest(namespace="default", task_token=task.task_token, commands=[command])
        )

    async def why_stuck(self, workflow_id: str) -> str | None:
        """Why the run cannot go on: its workflow task fails again and again. None where it can."""
        handle = self.client.get_workflow_handle(workflow_id)
        described = await handle.describe()
        if described.status is not WorkflowExecutionStatus.RUNNING:
            return None
        if described.raw_description.pending_workflow_task.attempt < _STUCK_AT:
            return None
        said = ""
        async for event in handle.fetch_history_events():
            if event.HasField("workflow_task_failed_event_attributes"):
                said = event.workflow_task_failed_event_attributes.failure.message
        return f"its workflow task fails again and again: {said[:200]}"

    async def not_ended(self, workflow_id: str) -> str | None:
        """Wait for the run's end; why it does not come, or None."""
        handle = self.client.get_workflow_handle(workflow_id)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if (await handle.describe()).status is not WorkflowExecutionStatus.RUNNING:
                return None
            if (stuck := await self.why_stuck(workflow_id)) is not None:
                return stuck
            await asyncio.sleep(0.1)
        return f"the run does not end in {PATIENCE:.0f} s"

    async def not_answering(self, workflow_id: str) -> str | None:
        """Why the run does not answer a query, or None."""
        deadline = time.monotonic() + PATIENCE
        said = ""
        while time.monotonic() < deadline:
            try:
                await asyncio.wait_for(self.query(workflow_id, "status"), 10)
            except (RPCError, TimeoutError) as error:
                said = f"{type(error).__name__} {str(error)[:200]}"
            else:
                return await self.why_stuck(workflow_id)
            if (stuck := await self.why_stuck(workflow_id)) is not None:
                return stuck
            await asyncio.sleep(0.1)
        return f"the run answers no query in {PATIENCE:.0f} s: {said}"


@asynccontextmanager
async def target(graphs: Mapping[str, str], **environ: str) -> AsyncGenerator[Target]:
    """A server, and a worker process that serves the graphs."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="anabranch-attack-")))
        (folder / "graphs").mkdir()
        for name, text in graphs.items():
            (folder / "graphs" / f"{name}.yaml").write_text(text)
        server = await stack.enter_async_context(await DevServer.start())
        client = await connect(
            Settings(), target_host=server.address, namespace="default", api_key=None, tls=False, rpc_metadata={}
        )
        where = {"TEMPORAL_ADDRESS": server.address, "ANABRANCH_GRAPHS": str(folder / "graphs")}
        worker = stack.enter_context(anabranch("worker", environ={**where, **environ}))
        await asyncio.to_thread(worker.wait_for, "worker started", PATIENCE)
        yield Target(client, Settings().task_queue, worker, folder)
