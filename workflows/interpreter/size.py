"""The size of a run's context. The node that exceeds the limit fails, so that the workflow never gets stuck."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json
from anabranch.errors import SizeLimitExceeded
from anabranch.limits import PAYLOAD_BYTES, PAYLOAD_HEADROOM_BYTES
from anabranch.workflows.interpreter.writers import writer_place


class ContextSize:
    """Measures a context only once enough was written in total that it may exceed the limit: measuring is slow."""

    def __init__(self, limit: int = PAYLOAD_BYTES) -> None:
        self._limit = limit
        self.written = 0
        """Bytes written in the run so far, including values that were overwritten later."""

    def add(self, changes: ChangeSet) -> None:
        """Count what was written anywhere in the run."""
        self.written += _written(changes)

    def check(self, data: Mapping[str, Json], by: str, coming: ChangeSet | None = None) -> None:
        """Raise SizeLimitExceeded if `by` made the context too large, naming size, limit and largest key.

        `coming` is already in the data but not counted yet.
        """
        if self.written + (_written(coming) if coming else 0) <= self._limit:
            return
        sizes = {key: json_size(value) for key, value in data.items()}
        if (total := sum(sizes.values())) > self._limit:
            largest = max(sizes, key=sizes.__getitem__)
            raise SizeLimitExceeded(
                f"the context is {total} bytes, over the limit of {self._limit}; the largest key is {largest!r}",
                place=writer_place(by),
                suggestion="store large content elsewhere and write a reference to it, or remove unused keys",
            )


def check_result_size(data: Mapping[str, Json]) -> None:
    """Raise SizeLimitExceeded if the `result` of a run's graph is too large for the server."""
    sizes = {key: json_size(value) for key, value in data.items()}
    if (total := sum(sizes.values())) > PAYLOAD_BYTES:
        largest = max(sizes, key=sizes.__getitem__)
        raise SizeLimitExceeded(
            f"the `result` of the graph is {total} bytes, over the limit of {PAYLOAD_BYTES}; the largest key is "
            f"{largest!r}",
            suggestion="store large content elsewhere and give a reference to it",
        )


class ByteBudget:
    """The bytes that are left in an answer, as JSON."""

    def __init__(self, limit: int = PAYLOAD_BYTES - PAYLOAD_HEADROOM_BYTES) -> None:
        self._left = limit

    def try_take(self, value: Json) -> bool:
        """Take the bytes of a value, and return whether there were enough."""
        size = json_size(value)
        if size > self._left:
            return False
        self._left -= size
        return True


def _written(changes: ChangeSet) -> int:
    return sum(map(json_size, changes.set.values()))


def newest_beside(data: Mapping[str, Json], entries: Sequence[Json], limit: int = PAYLOAD_BYTES) -> list[Json]:
    """As many of the last entries as fit into a run's result beside its data."""
    budget = ByteBudget(limit - PAYLOAD_HEADROOM_BYTES - json_size(dict(data)))
    for kept, each in enumerate(reversed(entries)):
        if not budget.try_take(each):
            return list(entries[len(entries) - kept :])
    return list(entries)


def json_size(value: Json) -> int:
    """Bytes as JSON."""
    return len(json.dumps(value, separators=(",", ":")))
