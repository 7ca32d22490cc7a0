"""The workers that benchmarks measure, and the clients that start their runs.

The floor has every setting of our worker that makes it fast (connection, no sandbox, eager activities) and Temporal's
own converter. The usual one has the SDK's defaults.
"""

from __future__ import annotations

from pathlib import Path

from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from anabranch.activities.standard import node_activities
from anabranch.settings import Settings
from anabranch.transport.client import connect
from anabranch.worker import build_worker
from benchmarks.graphs import handlers
from benchmarks.hand_written import FloorChain, FloorDiamond, UsualChain, UsualDiamond, one_key, whole_state

GRAPHS = Path(handlers.__file__).parent
"""Of the graphs, and of the handlers that they name."""


async def floor_client(address: str) -> Client:
    """Our connection, with Temporal's own converter."""
    return await connect(Settings(), target_host=address, data_converter=DataConverter.default)


async def usual_client(address: str) -> Client:
    """The SDK's defaults."""
    return await Client.connect(address)


def floor_worker(client: Client, task_queue: str) -> Worker:
    """Hand-written workflows at the floor."""
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[FloorChain, FloorDiamond],
        activities=[one_key],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_eager_activity_reservations_per_workflow_task=10,
    )


def usual_worker(client: Client, task_queue: str, *, sandbox: bool = True) -> Worker:
    """Hand-written workflows as people write them; in the sandbox unless it is turned off."""
    runner: WorkflowRunner = SandboxedWorkflowRunner() if sandbox else UnsandboxedWorkflowRunner()
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[UsualChain, UsualDiamond],
        activities=[whole_state],
        workflow_runner=runner,
    )


def graph_worker(client: Client, settings: Settings) -> Worker:
    """Our worker, with the graphs of the folder `graphs`."""
    served = settings.model_copy(update={"graphs": GRAPHS})
    return build_worker(client, served, node_activities(served))
