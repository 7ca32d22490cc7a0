"""`activity` nodes whose worker is another process, in TypeScript, that does not know Anabranch: docs/extending.md."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError

from anabranch.dev.devserver import DevServer
from tests.conftest import or_skipped
from tests.integration.graph_kit import PATIENCE, Handle, worker_for
from tests.servers import program

pytestmark = pytest.mark.slow  # the SDK of another language is installed first
PROJECT = Path(__file__).parents[2] / "docs" / "extending"


class TypeScript:
    """The worker of the page: a process of Node."""

    def __init__(self, folder: Path, address: str) -> None:
        self._process = subprocess.Popen(
            [program("node"), "--import", "tsx", "worker.ts"],
            cwd=folder,
            env=os.environ | {"TEMPORAL_ADDRESS": address},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self.lines.append(line.rstrip())

    def wait_for(self, text: str) -> None:
        """Wait until the worker has printed a line."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.lines:
            assert self._process.poll() is None, self.lines
            assert time.monotonic() < deadline, self.lines
            time.sleep(0.05)

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        self._process.kill()
        self._process.wait()
        self._reader.join(20)
        if self._process.stdout is not None:
            self._process.stdout.close()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the page with the packages that its lock file names."""
    folder = tmp_path_factory.mktemp("labels")
    shutil.copytree(PROJECT / "labels", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    with or_skipped():
        command = [program("npm"), "ci", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=220)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def labels(installed: Path, dev_server: DevServer) -> Iterator[TypeScript]:
    worker = TypeScript(installed, dev_server.address)
    try:
        worker.wait_for("the worker for labels has started")
        yield worker
    finally:
        worker.stop()


async def complete(server: DevServer, handle: Handle, label: str) -> None:
    """Complete the node `print`, whose activity has begun, by the page's script."""
    environ = os.environ | {"TEMPORAL_ADDRESS": server.address}
    command = [sys.executable, str(PROJECT / "complete_print.py"), handle.id, label]
    done = await asyncio.create_subprocess_exec(*command, env=environ, stderr=asyncio.subprocess.PIPE)
    _, said = await done.communicate()
    # Not by its exit code: a process with the SDK's client may crash when all is done.
    pending = (await handle.describe()).raw_description.pending_activities
    assert "print" not in [each.activity_id for each in pending], said.decode()


async def test_heartbeats_completion_from_outside_and_cancellation_reach_a_worker_of_another_language(
    client: Client, task_queue: str, labels: TypeScript, dev_server: DevServer
) -> None:
    async with worker_for(client, task_queue, PROJECT / "graphs"):

        async def start(order: str, *, collected: bool) -> Handle:
            data = {"order_id": order, "pieces": 5, "collected": collected}
            return await client.start_workflow("label", data, id=f"{task_queue}-{order}", task_queue=task_queue)

        first, second = await start("1", collected=False), await start("2", collected=True)
        await asyncio.to_thread(labels.wait_for, "asked to print 1")
        assert (await first.describe()).status is WorkflowExecutionStatus.RUNNING
        await complete(dev_server, first, "label-1")
        result = await asyncio.wait_for(first.result(), PATIENCE)
        # The second attempt went on from the last heartbeat of the first.
        given = {"order_id": "1", "pieces": 5, "collected": False}
        assert result["data"] == given | {"packed": 5, "attempts": 2, "label": "label-1"}
        await asyncio.to_thread(labels.wait_for, "asked to print 2")
        await complete(dev_server, second, "label-2")
        await asyncio.to_thread(labels.wait_for, "a courier is asked for 2")
        await second.cancel()
        await asyncio.to_thread(labels.wait_for, "the courier for 2 is sent back")
        with pytest.raises(WorkflowFailureError):
            await asyncio.wait_for(second.result(), PATIENCE)
        assert (await second.describe()).status is WorkflowExecutionStatus.CANCELED
        assert "undo pack" in [each["by"] for each in await second.query("history")]
