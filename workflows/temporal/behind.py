"""What a run has not heard yet of the activation that it is in the middle of: `in_order` hands that on in parts."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final


@dataclass(slots=True, eq=False)
class Behind:
    """Of one workflow run in the memory of a worker. Activations come one after the other."""

    has_updates: bool = False
    """Whether a later part brings updates: what continues as new before would answer them, and lose what they did."""


_behind: Final[ContextVar[Behind | None]] = ContextVar("anabranch_behind", default=None)


def updates_follow() -> bool:
    """Whether the run whose code asks will hear of updates in this activation. It is the same in a replay."""
    found = _behind.get()
    return found is not None and found.has_updates


def take(behind: Behind) -> None:
    """Workflow code of this thread's activation, and the tasks that it starts, ask this one."""
    _behind.set(behind)
