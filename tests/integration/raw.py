"""Messages as they are on the wire: what no client of ours would send, and no worker of ours would answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from temporalio.api.command.v1 import (
    Command,
    CompleteWorkflowExecutionCommandAttributes,
    ContinueAsNewWorkflowExecutionCommandAttributes,
)
from temporalio.api.common.v1 import Memo, Payload, Payloads, WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import CommandType, UpdateWorkflowExecutionLifecycleStage
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.api.sdk.v1.external_storage_pb2 import ExternalStorageReference
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.update.v1 import Input, Meta, Request, WaitPolicy
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueRequest,
    PollWorkflowTaskQueueRequest,
    QueryWorkflowRequest,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedRequest,
    RespondWorkflowTaskCompletedRequest,
    SignalWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
    UpdateWorkflowExecutionRequest,
    UpdateWorkflowExecutionResponse,
)
from temporalio.client import Client, WorkflowHandle
from temporalio.converter import JSONProtoPayloadConverter

_COMPLETED = UpdateWorkflowExecutionLifecycleStage.UPDATE_WORKFLOW_EXECUTION_LIFECYCLE_STAGE_COMPLETED


def payload(data: bytes, encoding: bytes = b"json/plain", **metadata: bytes) -> Payload:
    return Payload(metadata={"encoding": encoding, **metadata}, data=data)


def reference(driver: str, **claim: str) -> Payload:
    """What stands in a history for a payload in a store."""
    made = JSONProtoPayloadConverter().to_payload(ExternalStorageReference(driver_name=driver, claim_data=claim))
    assert made is not None
    return made


REFERENCE = ExternalStorageReference.DESCRIPTOR.full_name.encode()
MARKER = "__temporal_external_storage_reference"
BAD = {
    "corrupt zstd": payload(b"garbage", b"binary/zstd"),
    "empty zstd": payload(b"", b"binary/zstd"),
    "unknown encoding": payload(b"x", b"foo/bar"),
    "encoding that is not text": payload(b"x", b"\xff\xfe"),
    "no encoding": Payload(data=b"x"),
    "bad MessagePack": payload(b"\xc1", b"binary/msgpack", **{"anabranch-type": b"ChangeSet"}),
    "unknown wire type": payload(b"\x90", b"binary/msgpack", **{"anabranch-type": b"os.system"}),
    "cut JSON": payload(b"{"),
    "JSON that is not text": payload(b"\xff"),
    "JSON nested too deep": payload(b"[" * 20_000 + b"]" * 20_000),
    "unknown message": payload(b"{}", b"json/protobuf", messageType=b"nope.X"),
    "message type that is not text": payload(b"{}", b"json/protobuf", messageType=b"\xff"),
    "bad protobuf": payload(b"\xff", b"binary/protobuf", messageType=b"temporal.api.common.v1.Payload"),
    "null with content": payload(b"x", b"binary/null"),
    "missing reference": reference("anabranch-redis", sha256="0" * 64),
    "reference to an unknown store": reference("elsewhere", key="k"),
    "reference of a forged claim": reference("anabranch-redis", sha256="\x00"),
    "cut reference": payload(b"{", b"json/protobuf", messageType=REFERENCE),
    "old reference": payload(b'{"name": "anabranch-redis"}', b"json/external-storage-reference"),
    "reference that a codec encoded": payload(b"{}", **{MARKER: b"true"}),
    "forged reason": payload(b"because", b"binary/undecodable", **{"anabranch-code": b"UNAVAILABLE"}),
}
"""Payloads that nobody can decode, whoever sends them."""


def _execution(handle: WorkflowHandle[Any, Any]) -> WorkflowExecution:
    return WorkflowExecution(workflow_id=handle.id)


async def start(
    client: Client,
    task_queue: str,
    workflow_id: str,
    name: str,
    *given: Payload,
    cron: str = "",
    memo: Mapping[str, Payload] | None = None,
) -> None:
    await client.workflow_service.start_workflow_execution(
        StartWorkflowExecutionRequest(
            namespace="default",
            workflow_id=workflow_id,
            workflow_type=WorkflowType(name=name),
            task_queue=TaskQueue(name=task_queue),
            request_id=workflow_id,
            input=Payloads(payloads=given),
            cron_schedule=cron,
            memo=Memo(fields=memo),
        )
    )


async def signal(handle: WorkflowHandle[Any, Any], client: Client, name: str, *given: Payload) -> None:
    await client.workflow_service.signal_workflow_execution(
        SignalWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=_execution(handle),
            signal_name=name,
            input=Payloads(payloads=given),
        )
    )


async def update(
    handle: WorkflowHandle[Any, Any], client: Client, name: str, *given: Payload
) -> UpdateWorkflowExecutionResponse:
    return await client.workflow_service.update_workflow_execution(
        UpdateWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=_execution(handle),
            wait_policy=WaitPolicy(lifecycle_stage=_COMPLETED),
            request=Request(meta=Meta(identity="raw"), input=Input(name=name, args=Payloads(payloads=given))),
        )
    )


async def query(handle: WorkflowHandle[Any, Any], client: Client, name: str, *given: Payload) -> None:
    """Raises RPCError where it is refused."""
    await client.workflow_service.query_workflow(
        QueryWorkflowRequest(
            namespace="default",
            execution=_execution(handle),
            query=WorkflowQuery(query_type=name, query_args=Payloads(payloads=given)),
        )
    )


async def complete_activity(client: Client, task_queue: str, *result: Payload) -> None:
    """Take an activity from a task queue and complete it with this result, or with none."""
    task = await client.workflow_service.poll_activity_task_queue(
        PollActivityTaskQueueRequest(namespace="default", task_queue=TaskQueue(name=task_queue), identity="raw")
    )
    await client.workflow_service.respond_activity_task_completed(
        RespondActivityTaskCompletedRequest(
            namespace="default", task_token=task.task_token, result=Payloads(payloads=result) if result else None
        )
    )


async def fail_activity(client: Client, task_queue: str, *details: Payload) -> None:
    """Take an activity from a task queue and let it fail with these details."""
    task = await client.workflow_service.poll_activity_task_queue(
        PollActivityTaskQueueRequest(namespace="default", task_queue=TaskQueue(name=task_queue), identity="raw")
    )
    info = ApplicationFailureInfo(type="BROKEN", non_retryable=True, details=Payloads(payloads=details))
    await client.workflow_service.respond_activity_task_failed(
        RespondActivityTaskFailedRequest(
            namespace="default",
            task_token=task.task_token,
            failure=Failure(message="it is broken", application_failure_info=info),
        )
    )


async def complete_workflow(client: Client, task_queue: str, result: Payload) -> None:
    """Take a workflow from a task queue and complete it with this result."""
    await _respond(
        client,
        task_queue,
        Command(
            command_type=CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
            complete_workflow_execution_command_attributes=CompleteWorkflowExecutionCommandAttributes(
                result=Payloads(payloads=[result])
            ),
        ),
    )


async def continue_as_new(client: Client, task_queue: str, *, into: str, name: str, given: Sequence[Payload]) -> None:
    """Take a workflow from a task queue and let it continue as another one, on the task queue `into`."""
    await _respond(
        client,
        task_queue,
        Command(
            command_type=CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION,
            continue_as_new_workflow_execution_command_attributes=ContinueAsNewWorkflowExecutionCommandAttributes(
                workflow_type=WorkflowType(name=name),
                task_queue=TaskQueue(name=into),
                input=Payloads(payloads=given),
            ),
        ),
    )


async def _respond(client: Client, task_queue: str, command: Command) -> None:
    task = await client.workflow_service.poll_workflow_task_queue(
        PollWorkflowTaskQueueRequest(namespace="default", task_queue=TaskQueue(name=task_queue), identity="raw")
    )
    await client.workflow_service.respond_workflow_task_completed(
        RespondWorkflowTaskCompletedRequest(namespace="default", task_token=task.task_token, commands=[command])
    )


def claim_of(payload: Payload) -> dict[str, str]:
    """The claim in a reference."""
    found = JSONProtoPayloadConverter().from_payload(payload, ExternalStorageReference)
    return dict(found.claim_data)


async def task_failure(handle: WorkflowHandle[Any, Any]) -> str:
    """Wait until a workflow task of the run has failed; its message."""
    while True:
        async for event in handle.fetch_history_events():
            if event.HasField("workflow_task_failed_event_attributes"):
                return event.workflow_task_failed_event_attributes.failure.message
        await asyncio.sleep(0.1)


class Door:
    """A way to a server that can be shut."""

    def __init__(self, url: str) -> None:
        self._port = urlsplit(url).port
        self._server: asyncio.Server | None = None
        self._through: set[asyncio.StreamWriter] = set()
        self.url = ""

    async def open(self) -> None:
        port = urlsplit(self.url).port or 0
        self._server = await asyncio.start_server(self._enter, "127.0.0.1", port)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def shut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._through:
            writer.close()
        self._through.clear()

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._through |= {writer, back}
        await asyncio.gather(_pump(reader, back), _pump(there, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, asyncio.CancelledError):
        while sent := await reader.read(65_536):
            writer.write(sent)
    writer.close()


@asynccontextmanager
async def door_to(url: str) -> AsyncGenerator[Door]:
    door = Door(url)
    await door.open()
    yield door
    await door.shut()
