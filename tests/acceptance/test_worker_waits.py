"""A worker that starts before its server: it waits, serves once the server is there, and can be stopped meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from anabranch.dev.devserver import DevServer
from anabranch.loopback import free_port
from anabranch.settings import Settings
from anabranch.transport.client import connect
from tests.acceptance.worker_process import PATIENCE, ROOT

PROGRAMS = [["worker.py"], ["-m", "anabranch", "worker"]]


@contextmanager
def waiting_worker(program: list[str], address: str, folder: Path) -> Generator[tuple[subprocess.Popen[bytes], Path]]:
    """A worker for a server that is not there, which has said so; and its log."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ANABRANCH_", "TEMPORAL_"))}
    environment = {**inherited, "TEMPORAL_ADDRESS": address, "ANABRANCH_GRAPHS": str(folder)}
    log = folder / "worker.log"
    with log.open("wb") as written:
        process = subprocess.Popen([sys.executable, *program], cwd=ROOT, env=environment, stderr=written)
    try:
        deadline = time.monotonic() + PATIENCE
        while "waiting for Temporal" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process, log
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize("program", PROGRAMS, ids=["worker.py", "anabranch worker"])
async def test_a_worker_waits_for_a_server_that_comes_later_and_serves_it(program: list[str], tmp_path: Path) -> None:
    (tmp_path / "greet.yaml").write_text("name: greet\nnodes: {a: {type: rule, rules: [{then: {said: hello}}]}}")
    port = free_port()
    with waiting_worker(program, f"127.0.0.1:{port}", tmp_path) as (process, log):
        assert f"127.0.0.1:{port}" in log.read_text()
        async with await DevServer.start(port=port) as server:
            client = await connect(Settings(), target_host=server.address)
            running = client.execute_workflow("greet", {}, id="greet", task_queue="anabranch")
            assert (await asyncio.wait_for(running, PATIENCE))["data"] == {"said": "hello"}
            assert process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_waits_for_its_server_stops_when_it_is_told(number: signal.Signals, tmp_path: Path) -> None:
    with waiting_worker(PROGRAMS[0], f"127.0.0.1:{free_port()}", tmp_path) as (process, _):
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
