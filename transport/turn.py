"""What a node waits for that may not begin yet: it crosses to the run in a failure, and back to the activity that asks.

As plain JSON: a history holds no template and no value of one, only what limits are kept under.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from anabranch.errors import InputError

ACTIVITY: Final = "await_turn"
"""The activity that a run has ask for the turn of a node."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit, as it is for one node with the values that it sees."""

    kind: Literal["rate", "concurrency"]
    name: str
    """For people."""
    id: str
    """What Redis keeps it under."""
    limit: int
    per: int = 0
    """Milliseconds, of a rate."""

    def __str__(self) -> str:
        if self.kind == "rate":
            return f"rate limit {self.name!r} ({self.limit} in {self.per / 1000:g} s)"
        return f"concurrency limit {self.name!r} ({self.limit} at a time)"


@dataclass(frozen=True, slots=True)
class Turn:
    """What an attempt of a node needs before it begins. `holder` is that attempt, blinded."""

    holder: str
    limits: tuple[Limit, ...]

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        limits = [[each.kind, each.name, each.id, each.limit, each.per] for each in self.limits]
        return {"holder": self.holder, "limits": limits}

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Self:
        """From what `to_wire` gave. Raises InputError."""
        try:
            return cls(wire["holder"], tuple(Limit(*each) for each in wire["limits"]))
        except (KeyError, TypeError):
            raise InputError("this is not what a node waits for") from None
