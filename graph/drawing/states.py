"""The states of nodes and edges that a picture can show, and the sign of each: colour alone says nothing to some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SIGNS: Final[Mapping[str, str]] = {
    "pending": "",
    "ready": "M-4 0H4M1-3L4 0L1 3",
    "running": "M-2.5-4L4 0L-2.5 4Z",
    "waiting": "M0-4.5V0L3 2",
    "conflict": "M-4-2H4M-4 2H4M2-5L-2 5",
    "paused": "M-2-3.5V3.5M2-3.5V3.5",
    "succeeded": "M-4 .5L-1 3.5L4.5-3",
    "failed": "M-3.2-3.2L3.2 3.2M3.2-3.2L-3.2 3.2",
    "timed-out": "M-3.5-4.5H3.5L-3.5 4.5H3.5Z",
    "skipped": "M-4-3.5L-.5 0L-4 3.5M0-3.5L3.5 0L0 3.5",
    "cancelled": "M-4 0H4",
    "compensated": "M-1-4L-4-1L-1 2M-4-1H1.5A2.5 2.5 0 0 1 1.5 4H-1",
    "compensation-failed": "M0-4.5V1.2M0 4V4.2",
}
"""State → a path in a circle around (0, 0) with a radius of 9."""
EDGE_STATES: Final = frozenset({"taken", "dead"})


def state_of(value: str | None) -> str | None:
    """The state as a class names it (`timed_out` is `timed-out`); None where no picture knows it."""
    name = (value or "").replace("_", "-")
    return name if name in SIGNS else None
