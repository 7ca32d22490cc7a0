"""A thread that ends this process where a test, or the whole run, does not, and where a server of the tests has died.

pytest-timeout does not end everything: when a test has failed it cancels its timer, so that a debugger may be used, and
what is left of the test, the teardown, may wait for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import os
import signal
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

LEFT = 70
"""The exit status of a process that the watchdog has ended."""
_EVERY = 0.5


class Watchdog:
    """Deadlines of what this process does, and the servers that it depends on."""

    def __init__(self) -> None:
        self._deadlines: dict[str, float] = {}
        self._servers: dict[int, str] = {}
        self._stderr = 2
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch from now on; what is printed goes where standard error leads to now, before pytest captures it."""
        if self._thread is None:
            self._stderr = os.dup(2)
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()

    @contextmanager
    def bound(self, what: str, seconds: float) -> Generator[None]:
        """End the process if the block takes longer."""
        self._deadlines[what] = time.monotonic() + seconds
        try:
            yield
        finally:
            del self._deadlines[what]

    @contextmanager
    def needs(self, server: str, pid: int) -> Generator[None]:
        """End the process if the server does while the block runs."""
        self._servers[pid] = server
        try:
            yield
        finally:
            del self._servers[pid]

    def _watch(self) -> None:
        while True:
            time.sleep(_EVERY)
            if (reason := self._reason()) is not None:
                self._leave(reason)

    def _reason(self) -> str | None:
        now = time.monotonic()
        for what, deadline in tuple(self._deadlines.items()):
            if now > deadline and what in self._deadlines:
                return f"{what} does not end"
        for pid, server in tuple(self._servers.items()):
            if not _lives(pid) and pid in self._servers:
                return f"the tests' {server} (process {pid}) has died"
        return None

    def _leave(self, reason: str) -> None:
        at = ", ".join(what for what in tuple(self._deadlines) if what not in reason)
        os.write(self._stderr, f"\n\nThese tests end here, with status {LEFT}: {reason}. [{at}]\n".encode())
        faulthandler.dump_traceback(self._stderr)
        with contextlib.suppress(Exception):  # what other threads change meanwhile
            os.write(self._stderr, "\n".join(_waiting_tasks()).encode() + b"\n")
        for pid in tuple(self._servers):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGQUIT)
        os._exit(LEFT)


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return not Path("/proc/self").exists()  # a system without /proc is not watched
    return state not in "ZX"


def _waiting_tasks() -> Iterator[str]:
    """Where the tasks of every event loop wait, which no thread's stack shows."""
    for each in gc.get_objects():
        if isinstance(each, asyncio.Task) and not each.done():
            frames = each.get_stack()
            where = f"{frames[-1].f_code.co_filename}:{frames[-1].f_lineno}" if frames else "?"
            yield f"task {each.get_name()} of {getattr(each.get_coro(), '__qualname__', '?')} waits at {where}"


watchdog = Watchdog()
