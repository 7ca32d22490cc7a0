"""What a process has used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import psutil

TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
"""The seconds in which the kernel counts CPU time."""


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK


def cpu_seconds_of_all(pid: int) -> float:
    """CPU time of a process and of those that it started, also of those that have ended."""
    process = psutil.Process(pid)
    times = [process.cpu_times(), *(child.cpu_times() for child in process.children(recursive=True))]
    ended = times[0].children_user + times[0].children_system
    return ended + sum(each.user + each.system for each in times)
