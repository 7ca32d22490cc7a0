"""What crosses for a segment: nodes that one local activity runs one after the other, or beside each other.

Its arguments are pairs: the `NodeTask` of a node that is ready, and a `Segment`, which says what follows that node
alone. Its result is a `SegmentResult`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json
from anabranch.errors import WireFormatError

CANCELLED: Final[dict[str, Json]] = {"cancelled": True}
"""The failure of a node that was cancelled with the run."""


class Step(NamedTuple):
    """A node that starts once the one before it has succeeded: what a `NodeTask` of it would not have of that one's."""

    address: str
    node: dict[str, Json]
    key: str
    reads: tuple[str, ...] | None
    seconds: float
    """How long one attempt may take."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What is to be done beside the work of a node that is ready.

    `seconds` is how long one attempt of that node may take; `data` are the keys that `steps` read and it does not.
    A node that writes one of `fences` is the last: what follows then, only the run knows.
    `told` is how an attempt of the node has failed already: that is what its first one comes to.
    """

    seconds: float
    steps: tuple[Step, ...] = ()
    data: dict[str, Json] = field(default_factory=dict)
    fences: tuple[str, ...] = ()
    told: dict[str, Json] | None = None

    def to_wire(self) -> list[Any]:
        """As a positional array."""
        return [self.seconds, [list(step) for step in self.steps], self.data, list(self.fences), self.told]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        """From the array of `to_wire`."""
        seconds, steps, data, fences, told = wire
        return cls(seconds, tuple(map(_step, steps)), data, tuple(fences), told)


class Ran(NamedTuple):
    """What one node of a segment came to: `changes`, or a `failure` (see `told_failure`, and `CANCELLED`)."""

    address: str
    version: int
    """That of the context which it saw."""
    started: int
    ended: int
    """Milliseconds since the segment began."""
    changes: ChangeSet | None
    failure: dict[str, Json] | None = None

    def to_wire(self) -> list[Any]:
        """As a positional array."""
        return [*self[:4], None if self.changes is None else self.changes.to_wire(), self.failure]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        """From the array of `to_wire`. Raises WireFormatError."""
        address, version, started, ended, changes, failure = wire
        if not (isinstance(address, str) and all(type(each) is int for each in (version, started, ended))):
            raise WireFormatError("what a node came to needs its address, a version and two times")
        if (changes is None) is (failure is None) or not isinstance(failure, dict | None):
            raise WireFormatError("what a node came to is a change set or a failure")
        return cls(address, version, started, ended, changes and ChangeSet.from_wire(changes), failure)


@dataclass(frozen=True, slots=True)
class SegmentResult:
    """What the nodes of a segment came to, in the order in which they ended.

    It began at `began` (Unix milliseconds). Nodes of it that are not among `ran` have not been started.
    """

    began: int
    ran: tuple[Ran, ...]

    def to_wire(self) -> list[Any]:
        """As a positional array."""
        return [self.began, [each.to_wire() for each in self.ran]]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        """From the array of `to_wire`."""
        began, ran = wire
        return cls(began, tuple(map(Ran.from_wire, ran)))


def _step(wire: list[Any]) -> Step:
    address, node, key, reads, seconds = wire
    return Step(address, node, key, None if reads is None else tuple(reads), seconds)
