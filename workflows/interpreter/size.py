"""The size of a run's context. The node that exceeds the limit fails, so that the workflow never gets stuck."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from anabranch.context.changes import ChangeSet
from anabranch.context.values import Json
from anabranch.context.wire import measure_plain, pack_plain
from anabranch.errors import SizeLimitExceeded
from anabranch.limits import DECODED_BYTES, PAYLOAD_BYTES, PAYLOAD_HEADROOM_BYTES, STORED_CONTEXT_BYTES
from anabranch.workflows.interpreter.writers import writer_place

_JSON_PER_BYTE: Final = 6
"""JSON has at most so many bytes for one of MessagePack: a control character is one, and `\\u0001` in JSON."""

_JSON_PER_LETTER: Final = 4
"""The same for one that is a printable character, or else a number of up to three digits and the comma behind it."""

_LETTERS: Final = bytes(set(range(0x20, 0x7F)) - {*b'"\\'})
_UNFOLDED: Final = DECODED_BYTES - PAYLOAD_HEADROOM_BYTES
"""Bytes of JSON that whoever reads a context, in a result say, can unfold."""


class _Measured(NamedTuple):
    """The newest value of a key, and its size. Values never change."""

    value: Json
    size: int
    json_at_most: int
    is_exact: bool
    """Whether it is just that size as JSON."""


class ContextSize:
    """Measures a context only once enough was written in total that it may exceed the limit: measuring is slow.

    The limit is one of JSON where the server sets it, since the result is. Where large payloads go to a store, it is
    one of MessagePack, which takes a tenth of the time to make.
    """

    def __init__(self, limit: int = PAYLOAD_BYTES) -> None:
        self._limit = limit
        self.is_stored = limit > PAYLOAD_BYTES
        """Whether large payloads go to a store."""
        self._measured: dict[str, _Measured] = {}
        self.written = 0
        """Bytes of JSON that the run has written so far, at most, including values that were overwritten later."""

    def add(self, changes: ChangeSet) -> None:
        """Count what was written anywhere in the run."""
        self.written += _written(changes)

    def add_packed(self, size: int) -> None:
        """Count what was written and has so many bytes as MessagePack."""
        self.written += size * _JSON_PER_BYTE

    def check(self, data: Mapping[str, Json], by: str, coming: ChangeSet | None = None) -> None:
        """Raise SizeLimitExceeded if `by` made the context too large, naming size, limit and largest key.

        `coming` is already in the data but not counted yet.
        """
        if self.written + (_written(coming) if coming else 0) > self._limit:
            advice = "store large content elsewhere and write a reference to it, or remove unused keys"
            self._check("the context", data, advice, place=writer_place(by))

    def has_room(self, size: int) -> bool:
        """Whether so many bytes of JSON may be written and no check would have to measure for it."""
        return self.written + size <= self._limit

    def check_result(self, data: Mapping[str, Json]) -> None:
        """Raise SizeLimitExceeded if the `result` of the run's graph is too large."""
        self._check("the `result` of the graph", data, "store large content elsewhere and give a reference to it")

    def room_beside(self, answer: Mapping[str, Json]) -> int:
        """Bytes of JSON for what else a result tells."""
        held = 0 if self.is_stored else json_size(dict(answer))
        return PAYLOAD_BYTES - PAYLOAD_HEADROOM_BYTES - held

    def _check(self, what: str, data: Mapping[str, Json], advice: str, *, place: str | None = None) -> None:
        found = [(key, self._measure(key, value)) for key, value in data.items()]
        self._refuse(what, {key: each.size for key, each in found}, self._limit, advice, place)
        if self.is_stored and sum(each.json_at_most for _, each in found) > _UNFOLDED:
            self._refuse(what, {key: self._as_json(key, each) for key, each in found}, _UNFOLDED, advice, place)

    def _refuse(self, what: str, sizes: Mapping[str, int], limit: int, advice: str, place: str | None) -> None:
        if (total := sum(sizes.values())) <= limit:
            return
        if not self.is_stored:
            advice = f"{advice}; with PAYLOAD_STORE_URL the limit is {STORED_CONTEXT_BYTES} bytes"
        largest = max(sizes, key=sizes.__getitem__)
        message = f"{what} is {total} bytes, over the limit of {limit}; the largest key is {largest!r}"
        raise SizeLimitExceeded(message, place=place, suggestion=advice)

    def _measure(self, key: str, value: Json) -> _Measured:
        known = self._measured.get(key)
        if known is None or known.value is not value:
            self._measured[key] = known = _stored(value) if self.is_stored else _inline(value)
        return known

    def _as_json(self, key: str, measured: _Measured) -> int:
        if not measured.is_exact:
            self._measured[key] = measured = measured._replace(json_at_most=json_size(measured.value), is_exact=True)
        return measured.json_at_most


def _inline(value: Json) -> _Measured:
    size = json_size(value)
    return _Measured(value, size, size, is_exact=True)


def _stored(value: Json) -> _Measured:
    packed = pack_plain(value)
    others = len(packed.translate(None, _LETTERS))
    at_most = len(packed) * _JSON_PER_LETTER + others * (_JSON_PER_BYTE - _JSON_PER_LETTER)
    return _Measured(value, len(packed), at_most, is_exact=False)


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
    return sum(map(measure_plain, changes.set.values())) * _JSON_PER_BYTE


def newest_that_fit(entries: Sequence[Json], room: int) -> list[Json]:
    """As many of the last entries as fit into so many bytes."""
    budget = ByteBudget(room)
    for kept, each in enumerate(reversed(entries)):
        if not budget.try_take(each):
            return list(entries[len(entries) - kept :])
    return list(entries)


def json_size(value: Json) -> int:
    """Bytes as JSON."""
    return len(json.dumps(value, separators=(",", ":")))
