"""A worker process at steady load on real servers: what it holds, moment by moment, and what its runs came to."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from sqlalchemy import text

from anabranch.context.stores.open import open_store
from anabranch.dev.devserver import FAST, DevServer
from anabranch.settings import Settings
from anabranch.sql.engines import open_engine
from anabranch.transport.client import connect
from tests import servers
from tests.acceptance.worker_process import service, worker_process
from tests.steady.graphs import DATABASE, EVENTS, LEDGER, LEDGER_INDEX, write_graphs
from tests.steady.judge import Sample
from tests.steady.load import Load, Run, Site

SAMPLES = 30
_LONGEST_PERIOD = 60.0
_STOP_SECONDS = 60
_TASK_QUEUE = "steady"


@dataclass(frozen=True, slots=True)
class Played:
    """What was seen. `period` is the time from one sample to the next in seconds."""

    period: float
    started: int
    runs: list[Run]
    samples: list[Sample]
    exit_code: int
    """That of the worker, when it was told to stop at the end."""


class Sampler:
    """Looks at a process and its children."""

    def __init__(self, pid: int, load: Load) -> None:
        self._process = psutil.Process(pid)
        self._load = load
        self._cpu = 0.0
        self.samples: list[Sample] = []

    async def every(self, period: float, count: int) -> None:
        """Look `count` times."""
        loop = asyncio.get_running_loop()
        began, self._cpu = loop.time(), self._used()
        for number in range(1, count + 1):
            await asyncio.sleep(began + number * period - loop.time())
            self.samples.append(self._look(period))

    def _look(self, period: float) -> Sample:
        before, self._cpu = self._cpu, self._used()
        memory = self._process.memory_full_info()
        children = self._process.children(recursive=True)
        return Sample(
            runs=len(self._load.over),
            cpu=(self._cpu - before) / period,
            rss=memory.rss,
            uss=memory.uss,
            descriptors=self._process.num_fds(),
            threads=self._process.num_threads(),
            children=len(children),
            children_rss=sum(_rss(child) for child in children),
        )

    def _used(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system


def _rss(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0


async def play(minutes: float, rate: float, seed: int) -> Played:
    """Runs at `rate` a second for so long."""
    period = min(_LONGEST_PERIOD, minutes * 60 / SAMPLES)
    async with _site() as (site, worker):
        load = Load(site, rate, seed)
        await load.one_of_each()
        await load.burst()
        sampler = Sampler(worker.pid, load)
        async with asyncio.TaskGroup() as group:
            group.create_task(sampler.every(period, round(minutes * 60 / period)))
            group.create_task(load.run(minutes * 60))
        worker.send_signal(signal.SIGTERM)
        exit_code = await asyncio.to_thread(worker.wait, _STOP_SECONDS)
    return Played(period, load.started, load.over, sampler.samples, exit_code)


@asynccontextmanager
async def _site() -> AsyncGenerator[tuple[Site, subprocess.Popen[bytes]]]:
    """Servers, a service that runs call, and a worker process, all new."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="anabranch-steady-")))
        graphs = folder / "graphs"
        graphs.mkdir()
        write_graphs(graphs)
        config = {**FAST, "limit.historyCount.suggestContinueAsNew": str(EVENTS)}
        temporal = await stack.enter_async_context(
            await DevServer.start(database=folder / "temporal.db", dynamic_config=config)
        )
        database = stack.enter_context(servers.postgres())
        valkey = stack.enter_context(servers.valkey())
        called = await stack.enter_async_context(service())
        called.opened.set()
        engine = open_engine(database)
        stack.push_async_callback(engine.dispose)
        async with engine.begin() as connection:
            await connection.execute(text(LEDGER))
            await connection.execute(text(LEDGER_INDEX))
        store = open_store(valkey)
        stack.push_async_callback(store.aclose)
        environment = {
            "TEMPORAL_ADDRESS": temporal.address,
            "ANABRANCH_GRAPHS": str(graphs),
            "ANABRANCH_TASK_QUEUE": _TASK_QUEUE,
            "ANABRANCH_CONNECTIONS": DATABASE,
            DATABASE: database,
            "REDIS_URL": valkey,
            "STORE_URL": valkey,
            "HTTP_ALLOW_PRIVATE": "1",
        }
        log = stack.enter_context((folder / "worker.log").open("wb"))
        worker = stack.enter_context(worker_process(environment, log=log))
        client = await connect(
            Settings(), target_host=temporal.address, namespace="default", api_key=None, tls=False, rpc_metadata={}
        )
        yield Site(client, engine, store, f"http://127.0.0.1:{called.port}/call", _TASK_QUEUE), worker
