"""Which offsets of a partition may be committed: those before the first one that is still in hand."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

P = TypeVar("P", bound=Hashable)


@dataclass(slots=True)
class _Partition:
    """`in_hand` are offsets that were taken and not finished; `after` is the one behind the last that was taken."""

    in_hand: set[int] = field(default_factory=set)
    after: int = 0
    committed: int | None = None

    def position(self) -> int:
        return min(self.in_hand, default=self.after)


class Offsets(Generic[P]):
    """The offsets of several partitions; records may be finished in any order."""

    def __init__(self) -> None:
        self._partitions: dict[P, _Partition] = {}

    def take(self, partition: P, offset: int) -> None:
        """Note that a record is in hand."""
        state = self._partitions.setdefault(partition, _Partition(committed=offset))
        state.in_hand.add(offset)
        state.after = max(state.after, offset + 1)

    def finish(self, partition: P, offset: int) -> None:
        """Note that a record need not be delivered again. One of a partition that was forgotten is ignored."""
        if (state := self._partitions.get(partition)) is not None:
            state.in_hand.discard(offset)

    def forget(self, partition: P) -> None:
        """Drop a partition that another member reads from now on."""
        self._partitions.pop(partition, None)

    def uncommitted(self) -> dict[P, int]:
        """For each partition that moved on, the offset to commit: the next one to be read."""
        return {
            partition: state.position()
            for partition, state in self._partitions.items()
            if state.position() != state.committed
        }

    def committed(self, offsets: Mapping[P, int]) -> None:
        """Note what the broker has."""
        for partition, offset in offsets.items():
            if (state := self._partitions.get(partition)) is not None:
                state.committed = offset
