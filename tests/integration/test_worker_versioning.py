"""Two builds of a worker side by side on one task queue: each run ends on the one that it belongs to."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import VersionDrainageStatus
from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentVersionRequest
from temporalio.client import Client

from anabranch.dev.devserver import FAST, DevServer, temporal_command
from anabranch.settings import Settings
from anabranch.transport.client import connect
from tests import servers
from tests.integration.graph_kit import PATIENCE, Handle, Served, chain, events, put, until_status, worker_for

EVENTS = 24
DRAINAGE = "matching.wv.VersionDrainageStatus"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ASKED = chain(before=put(a=1), ask={"type": "approval", "prompt": "go on?"}, after=put(b=2))


@pytest.fixture(scope="module")
def versioned_server() -> Iterator[DevServer]:
    """A server that suggests early to continue as new, and looks every second which versions have no run left."""
    config = {
        **FAST,
        "limit.historyCount.suggestContinueAsNew": str(EVENTS),
        f"{DRAINAGE}VisibilityGracePeriod": '"1s"',
        f"{DRAINAGE}RefreshInterval": '"1s"',
    }
    with servers.temporal(dynamic_config=config) as server:
        yield server


class Rollout:
    """The builds of one deployment, named as the task queue."""

    def __init__(self, client: Client, name: str, graphs: Path) -> None:
        self.client = client
        self.name = name
        self._graphs = graphs

    def worker(self, build_id: str, **environment: Any) -> AbstractAsyncContextManager[Served]:
        settings = {"deployment": self.name, "build_id": build_id, **environment}
        return worker_for(self.client, self.name, self._graphs, **settings)

    async def make_current(self, build_id: str) -> None:
        await self._routed("set-current-version", "--build-id", build_id)

    async def ramp(self, build_id: str, percentage: int) -> None:
        await self._routed("set-ramping-version", "--build-id", build_id, "--percentage", str(percentage))

    async def _routed(self, *change: str) -> None:
        """Change the routing once the server has heard of the build and its task queue from a worker's polls."""
        address = ("--address", self.client.service_client.config.target_host)
        command = [
            temporal_command(),
            "worker",
            "deployment",
            *change,
            "--deployment-name",
            self.name,
            "--yes",
            *address,
        ]
        said = ""
        for _ in range(100):
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return
            said = done.stderr
            await asyncio.sleep(0.2)
        raise AssertionError(said)

    async def drainage(self, build_id: str) -> str:
        version = WorkerDeploymentVersion(deployment_name=self.name, build_id=build_id)
        request = DescribeWorkerDeploymentVersionRequest(namespace="default", deployment_version=version)
        answer = await self.client.workflow_service.describe_worker_deployment_version(request)
        status = answer.worker_deployment_version_info.drainage_info.status
        return VersionDrainageStatus.Name(status).removeprefix("VERSION_DRAINAGE_STATUS_").lower()


@pytest.fixture
async def rollout(versioned_server: DevServer, task_queue: str, tmp_path: Path) -> Rollout:
    local: dict[str, Any] = {"namespace": "default", "api_key": None, "tls": False, "rpc_metadata": {}}
    client = await connect(Settings(), target_host=versioned_server.address, **local)
    return Rollout(client, task_queue.partition("[")[0][-40:] + task_queue[-8:], tmp_path)


async def builds(handle: Handle) -> set[str]:
    """The builds of the workers that did the workflow tasks of a run."""
    done = [event for event in await events(handle) if event.HasField("workflow_task_completed_event_attributes")]
    return {event.workflow_task_completed_event_attributes.deployment_version.build_id for event in done}


async def ended(handle: Handle) -> dict[str, Any]:
    return await asyncio.wait_for(handle.result(), PATIENCE)


async def asked(served: Served) -> Handle:
    """A run that waits for a person."""
    handle = await served.start(ASKED)
    await until_status(handle, "ask", "waiting")
    return handle


async def answer(handle: Handle) -> dict[str, Any]:
    await handle.execute_update("complete_task", {"node": "ask", "answer": {"approved": True}})
    return await ended(handle)


async def test_old_runs_end_on_the_old_build_and_new_ones_on_the_new_until_it_is_rolled_back(rollout: Rollout) -> None:
    async with rollout.worker("1") as first:
        await rollout.make_current("1")
        old = await asked(first)
        async with rollout.worker("2"):
            await rollout.ramp("2", 100)
            ramped = await asked(first)
            await rollout.make_current("2")
            new = await asked(first)
            assert await rollout.drainage("1") == "draining"
            await rollout.make_current("1")
            back = await asked(first)
            results = [await answer(handle) for handle in (old, ramped, new, back)]
            assert [result["status"] for result in results] == ["completed"] * 4
            assert [await builds(handle) for handle in (old, ramped, new, back)] == [{"1"}, {"2"}, {"2"}, {"1"}]
            for _ in range(300):
                if await rollout.drainage("2") == "drained":
                    return
                await asyncio.sleep(0.2)
    raise AssertionError(await rollout.drainage("2"))


async def test_a_run_that_continues_as_new_goes_on_with_the_current_build(rollout: Rollout) -> None:
    body = chain(count=put(n="{{ n + 1 }}"))
    loop = {"type": "while", "while": "n < 20", "body": body}
    async with rollout.worker("1") as served, rollout.worker("2"):
        await rollout.make_current("1")
        handle = await served.start(chain(ask={"type": "approval"}, loop=loop), {"n": 0})
        await until_status(handle, "ask", "waiting")
        first = rollout.client.get_workflow_handle(handle.id, run_id=(await handle.describe()).run_id)
        await rollout.make_current("2")
        assert (await answer(handle))["data"]["n"] == 20
        last = rollout.client.get_workflow_handle(handle.id)
        assert (await builds(first), await builds(last)) == ({"1"}, {"2"})


async def test_runs_of_workers_that_upgrade_them_go_on_with_the_current_build(rollout: Rollout) -> None:
    upgraded = {"versioning": "auto_upgrade"}
    async with rollout.worker("1", **upgraded) as served, rollout.worker("2", **upgraded):
        await rollout.make_current("1")
        handle = await asked(served)
        await rollout.make_current("2")
        await until_routed(served, "2")
        await answer(handle)
        assert await builds(handle) == {"1", "2"}


async def until_routed(served: Served, build_id: str) -> None:
    """Wait until new runs go to a build: the task queues hear of a routing some time after the deployment."""
    for _ in range(300):
        handle = await served.start(chain(a=put(x=1)))
        await ended(handle)
        if await builds(handle) == {build_id}:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"no run goes to build {build_id!r}")
