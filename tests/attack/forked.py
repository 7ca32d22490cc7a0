"""An attack in a process of its own: what it costs is known exactly, and that it hangs or dies is a verdict."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.cost import ATTEMPTS, USUAL, Attempt, Cost, Limit

_LOOK = 5.0
_LOOKS = 4
"""Looks, so many seconds apart, between which a process that sleeps has done nothing: it hangs."""
_CPU_LIMIT = 120
_ROOM = 3 * 2**30
"""Bytes of address space beside what the process has: who asks for more is refused them, as on a full machine."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attack: what it said, or how it ended without a word."""

    said: str
    ended: str | None
    """How the process died, or that it hangs; None where it returned."""
    cost: Cost
    limit: Limit

    @property
    def wrong(self) -> str | None:
        """What no attack may do, whatever it is."""
        return self.ended or self.limit.excess(self.cost)


def forked(act: Callable[[], str], limit: Limit = USUAL) -> Outcome:
    """Run `act` in a child process, in another one where it takes long; what it returns, or raises, is what it said."""
    outcome = _forked(act, limit, Attempt())
    for _ in range(ATTEMPTS - 1):
        if outcome.ended or not limit.ask_again(outcome.cost):
            break
        outcome = _forked(act, limit, Attempt(calibrated=True))
    return outcome


def _forked(act: Callable[[], str], limit: Limit, attempt: Attempt) -> Outcome:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _child(act, attempt, writing)
    os.close(writing)
    try:
        text = _read(reading, pid)
    finally:
        os.close(reading)
    if text is None:
        os.kill(pid, signal.SIGKILL)
    _, status, used = os.wait4(pid, 0)
    if text is None:
        return Outcome("", "it hangs", Cost(used.ru_utime + used.ru_stime), limit)
    if not text or status != 0:
        return Outcome("", f"its process died: {_how(status)}", Cost(used.ru_utime + used.ru_stime), limit)
    said, cost = json.loads(text)
    return Outcome(said, None, Cost(**cost), limit)


def _child(act: Callable[[], str], attempt: Attempt, writing: int) -> None:
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_LIMIT, _CPU_LIMIT))
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + _ROOM, size + _ROOM))
        with attempt:
            said = act()
        answer = json.dumps([said, asdict(attempt.cost)])
    except BaseException:
        traceback.print_exc(file=sys.stderr)
        os._exit(70)
    with os.fdopen(writing, "wb") as out:
        out.write(answer.encode())
    os._exit(0)


def _read(descriptor: int, pid: int) -> bytes | None:
    """Everything until the end; None where the process hangs."""
    parts: list[bytes] = []
    idle, before = 0, ""
    while idle < _LOOKS:
        ready, _, _ = select.select([descriptor], [], [], _LOOK)
        if ready:
            part = os.read(descriptor, 65_536)
            if not part:
                return b"".join(parts)
            parts.append(part)
            continue
        now = _work(pid)
        idle, before = (idle + 1 if now == before else 0), now
    return None


def _work(pid: int) -> str:
    """The CPU time of a process and of its children; where it is not asleep, another text each time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return " ".join(fields[11:15]) if fields[0] in "SD" else f"busy at {time.monotonic()}"


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"status {os.WEXITSTATUS(status)}"
