"""What an attack costs this process: CPU time and memory, never the clock, which other processes move too."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

CPU_SECONDS = 2.0
MEMORY_BYTES = 256 * 2**20


@dataclass(slots=True)
class Cost:
    """The CPU seconds of this process, and the bytes by which its highest memory rose."""

    cpu: float = 0.0
    memory: int = 0

    def excess(self, seconds: float = CPU_SECONDS, size: int = MEMORY_BYTES) -> str | None:
        """What was too much, or None."""
        if self.cpu > seconds:
            return f"it took {self.cpu:.1f} s of CPU, more than {seconds}"
        if self.memory > size:
            return f"it took {self.memory / 2**20:.0f} MiB, more than {size / 2**20:.0f}"
        return None


@contextmanager
def measured() -> Generator[Cost]:
    """Measure the block."""
    cost = Cost()
    before, peak = time.process_time(), _peak()
    try:
        yield cost
    finally:
        cost.cpu, cost.memory = time.process_time() - before, _peak() - peak


def settle() -> None:
    """Give back what earlier attacks left to be collected."""
    gc.collect()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
