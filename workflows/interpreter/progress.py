"""How far a `foreach` is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Progress:
    """The items of a `foreach`: those that are neither done nor failed are under way, or have not started."""

    all: int
    done: int = 0
    failed: int = 0
    skipped: int = 0
    """Of those that are done: every node was skipped."""
    passed_over: int = 0
    """A node inside failed, and the item went on (`on_failure: continue`, or `use`)."""
