"""The size of a run's context: over the limit the node that made it so fails, and the workflow never gets stuck."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json
from anabranch.errors import SizeLimitExceeded

MAX_BYTES = 2 * 1024 * 1024
"""As JSON. The server takes no larger payload, and the whole context is one in the run's result."""

_HEADROOM = 64 * 1024
"""Of a result or an answer, for what it holds beside what is weighed."""


class ContextSize:
    """Measures a context only once so much was written in all that it may have grown over the limit."""

    def __init__(self, limit: int = MAX_BYTES) -> None:
        self._limit = limit
        self.written = 0
        """Bytes that were written in the run so far, those that were overwritten since among them."""

    def add(self, changes: ChangeSet) -> None:
        """Note what was written anywhere in the run."""
        self.written += _written(changes)

    def check(self, data: Mapping[str, Json], by: str, coming: ChangeSet | None = None) -> None:
        """Raise SizeLimitExceeded, naming size, limit and largest key, where `by` made the context too large.

        `coming` is in the data already, and not noted yet.
        """
        if self.written + (_written(coming) if coming else 0) <= self._limit:
            return
        sizes = {key: json_size(value) for key, value in data.items()}
        if (total := sum(sizes.values())) > self._limit:
            largest = max(sizes, key=sizes.__getitem__)
            raise SizeLimitExceeded(
                f"the context is {total} bytes, over the limit of {self._limit}; the largest key is {largest!r}",
                place=f"node {by!r}" if by != "input" else by,
                suggestion="keep large content elsewhere and write a reference to it, or remove what is done with",
            )


class ByteBudget:
    """What is left of the bytes of an answer, as JSON."""

    def __init__(self, limit: int = MAX_BYTES - _HEADROOM) -> None:
        self._left = limit

    def try_take(self, value: Json) -> bool:
        """Whether there is budget for the value; if so, it is taken."""
        size = json_size(value)
        if size > self._left:
            return False
        self._left -= size
        return True


def _written(changes: ChangeSet) -> int:
    return sum(map(json_size, changes.set.values()))


def newest_beside(data: Mapping[str, Json], told: Sequence[Json], limit: int = MAX_BYTES) -> list[Json]:
    """As many of the last of `told` as fit into a run's result with its data."""
    budget = ByteBudget(limit - _HEADROOM - json_size(dict(data)))
    for kept, each in enumerate(reversed(told)):
        if not budget.try_take(each):
            return list(told[len(told) - kept :])
    return list(told)


def json_size(value: Json) -> int:
    """Bytes as JSON."""
    return len(json.dumps(value, separators=(",", ":")))
