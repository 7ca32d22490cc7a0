"""Child processes for decision tables: few, warm, started when the first table is evaluated, replaced when one ends.

A call takes 0.1 ms of this process and about half a millisecond in all, where the engine in this process took 0.17. The
first call waits a fifth of a second for its child.
A child that takes more processor time or memory than `table_child.py` allows ends, and nothing else does.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any, Final

from anabranch.activities.rules.table_child import MAX_BYTES, MAX_SECONDS
from anabranch.errors import BY_ITS_RETRY, ConfigurationError, ExpressionTooCostly, Unavailable

PROCESSES: Final = max(1, min(2, os.cpu_count() or 1))
_PATIENCE: Final = 60.0
"""Seconds without an answer after which a child counts as stuck: on a machine that is stopped or swaps, say."""
_TOO_LONG: Final = -signal.SIGPROF
_BROKEN: Final = frozenset({-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS, -signal.SIGTRAP, -signal.SIGILL, 1})


class TableProcesses:
    """Evaluates tables in at most `size` children. May be used from any thread."""

    def __init__(self, size: int = PROCESSES) -> None:
        self._free = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._idle: list[_Child] = []

    def evaluate(self, table: str, inputs: dict[str, Any], *, tells_rows: bool = False) -> dict[str, Any]:
        """What a child answers, with the rows that decided where it `tells_rows`.

        Raises ExpressionTooCostly over a limit, Unavailable where a child was ended.
        """
        request = json.dumps({"table": table, "inputs": inputs, "rows": tells_rows}).encode() + b"\n"
        with self._free:
            child = self._child()
            try:
                answer = child.ask(request)
            except BaseException:
                child.end()
                raise
            with self._lock:
                self._idle.append(child)
        return answer

    def close(self) -> None:
        """End the children that do nothing. Another call starts new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.end()

    def _child(self) -> _Child:
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.lives:
                    return child
                child.end()
        return _Child()


class _Child:
    """A child process and the socket to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - this interpreter, and a file of ours
                    [sys.executable, "-P", str(Path(__file__).with_name("table_child.py"))],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,  # the engine prints its panics
                    start_new_session=True,  # an interrupt at a terminal is for the worker, which finishes what runs
                )
            except OSError as error:
                ours.close()
                raise ConfigurationError(f"no process for decision tables can be started: {error.strerror}") from None
        ours.settimeout(_PATIENCE)
        self._socket = ours
        self._lines = ours.makefile("rwb")

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: bytes) -> dict[str, Any]:
        """The answer to a request. Raises if the child ended instead."""
        try:
            self._lines.write(request)
            self._lines.flush()
            answer = self._lines.readline()
        except TimeoutError:
            raise Unavailable(f"a decision table got no answer from its process for {_PATIENCE:.0f} s") from None
        except OSError:
            answer = b""
        if not answer.endswith(b"\n"):
            raise _ended(self._process.wait(_PATIENCE))
        found: dict[str, Any] = json.loads(answer)
        if "memory" in found:
            raise _too_large()
        return found

    def end(self) -> None:
        """Kill the process, and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        for each in (self._lines, self._socket):
            try:
                each.close()
            except OSError:  # what was not sent yet has nobody to go to
                continue


def _ended(code: int) -> Exception:
    if code == _TOO_LONG:
        return ExpressionTooCostly(
            f"the decision table takes more than {MAX_SECONDS:g} s of processor time",
            suggestion="loop over less in its expressions, or calculate in a `python` node",
        )
    if code in _BROKEN:
        return _too_large()
    return Unavailable(f"the process of a decision table was ended ({code})", suggestion=BY_ITS_RETRY)


def _too_large() -> ExpressionTooCostly:
    return ExpressionTooCostly(
        f"the decision table needs more than {MAX_BYTES >> 20} MiB, or breaks the engine",
        suggestion="build smaller lists in its expressions, or calculate in a `python` node",
    )


@cache
def processes() -> TableProcesses:
    """The children of this process."""
    found = TableProcesses()
    atexit.register(found.close)
    return found
