"""What work costs this process in memory and processor time, and how much of that its limits allow on this machine.

No clock is read, which other processes move too. Processor time also differs, by machine and by what runs beside it, so
that work that seems to take too long is done again between two calibrations, and is allowed as much more as they took.
"""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

ATTEMPTS = 3
"""At work that takes too long; all but the first are calibrated, and the best counts."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of processor time, its ended children's too, and the bytes by which it, or a child, outgrew it."""

    cpu: float = 0.0
    memory: int = 0
    slowness: float = 1.0
    """How many times longer than on the machine of the limits the same work took before and after; at least 1."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What work may cost. The seconds are those of the machine on which the reference times below were taken."""

    seconds: float = 2.0
    size: int = 256 * 2**20

    def excess(self, cost: Cost) -> str | None:
        """What was too much, or None."""
        if cost.memory > self.size:
            return f"it took {cost.memory / 2**20:.0f} MiB, more than {self.size / 2**20:.0f}"
        if self.is_slow(cost):
            allowed = f"{self.seconds:g} (x {cost.slowness:.1f} on this machine)"
            return f"it took {cost.cpu:.1f} s of CPU, more than {allowed}"
        return None

    def is_slow(self, cost: Cost) -> bool:
        return cost.cpu > self.seconds * cost.slowness

    def ask_again(self, cost: Cost) -> bool:
        """Whether another attempt may show that the work is within its limit: memory is the same each time."""
        return self.is_slow(cost) and cost.memory <= self.size


USUAL = Limit()


@dataclass(slots=True)
class Attempt:
    """A block whose cost is measured: `with attempt:`."""

    calibrated: bool = False
    cost: Cost = field(default_factory=Cost)
    _slowness: float = 1.0
    _seconds: float = 0.0
    _memory: int = 0
    _child: int = 0

    def __enter__(self) -> None:
        if self.calibrated:
            gc.collect()
            self._slowness = slowness()
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
        self._memory, self._child, self._seconds = _now(), _largest_child(), _cpu()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cpu = _cpu() - self._seconds
        memory = max(0, _peak() - self._memory, _largest_child() - max(self._child, self._memory))
        after = slowness() if self.calibrated and error is None else 1.0
        self.cost = Cost(cpu, memory, max(self._slowness, after))


def attempts(limit: Limit) -> Iterator[Attempt]:
    """Attempts at a block, until one is within the limit; the last one gives the verdict."""
    for number in range(ATTEMPTS):
        attempt = Attempt(calibrated=number > 0)
        yield attempt
        if not limit.ask_again(attempt.cost):
            return


def slowness() -> float:
    """How many times longer what goes slowest takes here and now: Python, new memory, or the start of a process."""
    return max(1.0, *(_taken(work) / seconds for work, seconds in _REFERENCE.items()))


def spend(seconds: float) -> float:
    """Use the processor for so long, and for the work that takes so long where the limits are from; the seconds."""
    start = _cpu()
    for _ in range(round(seconds / _REFERENCE[_compute]) + 1):
        _compute()
    while (spent := _cpu() - start) < seconds:
        _compute()
    return spent


def _compute() -> None:
    table: dict[int, str] = {}
    for number in range(300_000):
        table[number % 1_000] = f"{number}"


def _allocate() -> None:
    for _ in range(2):
        _ = [[None] * 10_000 for _ in range(800)], [None] * 4_000_000


def _start() -> None:
    subprocess.run([sys.executable, "-I", "-c", "import asyncio, decimal"], check=True)


_REFERENCE: dict[Callable[[], None], float] = {_compute: 0.025, _allocate: 0.1, _start: 0.07}
"""Seconds of processor time of each on the machine for which limits are set."""


def _taken(work: Callable[[], None]) -> float:
    start = _cpu()
    work()
    return _cpu() - start


def _cpu() -> float:
    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def _now() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _largest_child() -> int:
    """Bytes of memory at most, of the largest process that this one has waited for."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
