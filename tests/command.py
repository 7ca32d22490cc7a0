"""Commands as processes of their own, for tests that signal them or look at what they leave behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parent.parent
_COMMAND = (sys.executable, "-m", "anabranch")
_FOREIGN = ("TEMPORAL_", "ANABRANCH_", "POSTGRES_URL", "OPENAI_")
_ESCAPES = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")
_MARK = "ANABRANCH_TEST_MARK"


class Command:
    """A running command. Its output is read as it comes, so that it never waits for its reader."""

    def __init__(self, process: subprocess.Popen[str], mark: str) -> None:
        self._process = process
        self._mark = mark
        self._lines: dict[str, list[str]] = {"stdout": [], "stderr": []}
        streams = {"stdout": process.stdout, "stderr": process.stderr}
        self._readers = [threading.Thread(target=self._read, args=each, daemon=True) for each in streams.items()]
        for reader in self._readers:
            reader.start()

    @property
    def stdout(self) -> str:
        return "".join(self._lines["stdout"])

    @property
    def stderr(self) -> str:
        return "".join(self._lines["stderr"])

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Wait until the command has printed `text`, on either stream."""
        deadline = time.monotonic() + seconds
        while text not in self.stdout and text not in self.stderr:
            late = time.monotonic() > deadline
            if late or not any(reader.is_alive() for reader in self._readers):
                raise AssertionError(f"the command did not print {text!r}:\n{self.stdout}\n{self.stderr}")
            time.sleep(0.02)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def leave(self, seconds: float = 60) -> int:
        """Wait for the end; the exit code."""
        code = self._process.wait(seconds)
        for reader in self._readers:
            reader.join(5)
        return code

    def processes(self) -> set[int]:
        """Itself and everything that it has started and that still runs, whoever its parent is by now."""
        return {int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if self._started(path)}

    def _started(self, path: Path) -> bool:
        try:
            return self._mark.encode() in path.read_bytes()
        except OSError:
            return False

    def _read(self, name: str, stream: IO[str]) -> None:
        for line in stream:
            self._lines[name].append(_ESCAPES.sub("", line))


def anabranch(
    *args: object, environ: Mapping[str, str] | None = None, folder: Path = ROOT
) -> AbstractContextManager[Command]:
    """The command in a folder, stopped at the end if it still runs. No server is named to it but by `environ`."""
    return running(*_COMMAND, *args, environ=environ, folder=folder)


@contextmanager
def running(*command: object, environ: Mapping[str, str] | None = None, folder: Path = ROOT) -> Generator[Command]:
    """A program in a folder, stopped at the end if it still runs. No server is named to it but by `environ`."""
    mark = f"{_MARK}={uuid.uuid4().hex}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    ours = {"PYTHONPATH": str(ROOT), "TEMPORAL_CONFIG_FILE": os.devnull, **dict([mark.split("=")])}
    process = subprocess.Popen(
        [*map(str, command)],
        cwd=folder,
        env={**kept, **ours, **(environ or {})},
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    started = Command(process, mark)
    try:
        yield started
    finally:
        if process.poll() is None:
            process.terminate()  # what it has started ends with it only if it may end in order
        try:
            started.leave(30)
        except subprocess.TimeoutExpired:
            process.kill()
            started.leave()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
