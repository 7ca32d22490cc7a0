"""The `DistributedContext`: the current data of one session, its version and its last writer."""

from __future__ import annotations

import time
from collections.abc import Iterator, KeysView, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, Self

from anabranch.context.values import MAX_DEPTH, Json
from anabranch.context.wire import decode, decode_json, decode_many, encode, encode_json
from anabranch.errors import UndeclaredRead, WireFormatError
from anabranch.limits import MAX_CONTEXT_SIZE_BYTES
from anabranch.observe import metrics

_SNAPSHOT_ARITY = 4
_OF = "context"
"""What the metrics call a whole context."""


class ContextMetadata(NamedTuple):
    """When a context was created and last changed (Unix milliseconds), its version, its last writer, its tags."""

    created_at: int
    updated_at: int
    version: int = 1
    modified_by: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContextSnapshot:
    """A context at one version; `timestamp` (Unix milliseconds) is when that version was written."""

    session_id: str
    data: Mapping[str, Json]
    version: int
    timestamp: int

    def to_wire(self) -> list[Any]:
        """As a positional array: `[session_id, {data}, version, timestamp]`."""
        return [self.session_id, self.data, self.version, self.timestamp]

    @classmethod
    def from_wire(cls, wire: object) -> Self:
        """From the array of `to_wire`. Raises WireFormatError for another shape."""
        if not isinstance(wire, list | tuple) or len(wire) != _SNAPSHOT_ARITY:
            raise WireFormatError("a snapshot is an array of session id, data, version and timestamp")
        session_id, data, version, timestamp = wire
        if type(session_id) is not str or type(data) is not dict or type(version) is not int:
            raise WireFormatError("a snapshot has a text id, an object and an integer version")
        if type(timestamp) is not int:
            raise WireFormatError("a snapshot's timestamp is an integer: Unix milliseconds")
        return cls(session_id, data, version, timestamp)

    def serialize(self, *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES) -> bytes:
        """As MessagePack. Raises WireFormatError and SizeLimitExceeded."""
        return encode(self.to_wire(), max_bytes=max_bytes)

    @classmethod
    def deserialize(cls, packed: bytes, *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES) -> Self:
        """From MessagePack. Raises WireFormatError and SizeLimitExceeded."""
        return cls.from_wire(decode(packed, max_bytes=max_bytes))


class DistributedContext:
    """The data of one session, text keys with JSON values, and the metadata of its version.

    Each `set`, each `remove` that removed something, each `merge` and each assignment of `modified_by` adds 1 to the
    version and moves `updated_at` to `at` (Unix milliseconds; by default the wall clock). `data` is
    not copied. If `reads` is set, a key outside of it did not cross to this node. Reading it raises
    UndeclaredRead, unless this node has set it.
    """

    __slots__ = ("data", "metadata", "reads", "session_id")

    def __init__(
        self,
        session_id: str,
        data: dict[str, Json] | None = None,
        metadata: ContextMetadata | None = None,
        *,
        reads: frozenset[str] | None = None,
        at: int | None = None,
    ) -> None:
        if metadata is None:
            at = _now() if at is None else at
            metadata = ContextMetadata(at, at)
        self.session_id = session_id
        self.data: dict[str, Json] = {} if data is None else data
        self.metadata = metadata
        self.reads = reads

    def __repr__(self) -> str:
        return f"DistributedContext({self.session_id!r}, version={self.metadata.version}, keys={list(self.data)!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DistributedContext):
            return NotImplemented
        return (self.session_id, self.data, self.metadata) == (other.session_id, other.data, other.metadata)

    __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # it changes

    def get(self, key: str, default: Json = None) -> Json:
        """The value at a key, or the default. Raises UndeclaredRead."""
        if self.reads is not None and key not in self.reads:
            self._refuse(key)
        return self.data.get(key, default)

    def __getitem__(self, key: str) -> Json:
        if self.reads is not None and key not in self.reads:
            self._refuse(key)
        return self.data[key]

    def __contains__(self, key: str) -> bool:
        if self.reads is not None and key not in self.reads:
            self._refuse(key)
        return key in self.data

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def keys(self) -> KeysView[str]:
        """The keys of the data, in the order of their first write."""
        return self.data.keys()

    def set(self, key: str, value: Json, *, at: int | None = None) -> None:
        """Write a value. Encoding the context refuses a value that is not JSON data, and names its path."""
        self.data[key] = value
        self._wrote(key)
        self._touch(at)

    def remove(self, key: str, *, at: int | None = None) -> bool:
        """Remove a key; returns whether it was there, and so raises UndeclaredRead."""
        if key not in self:
            return False
        del self.data[key]
        self._touch(at)
        return True

    def merge(self, other: DistributedContext | Mapping[str, Json], *, at: int | None = None) -> None:
        """Write every key of `other` over this context, as one version. (To merge two writers, see ThreeWayMerge.)"""
        data = other.data if isinstance(other, DistributedContext) else other
        self.data.update(data)
        self._wrote(*data)
        self._touch(at)

    @property
    def modified_by(self) -> str | None:
        """The last writer. Assigning adds 1 to the version."""
        return self.metadata.modified_by

    @modified_by.setter
    def modified_by(self, writer: str | None) -> None:
        self.metadata = self.metadata._replace(modified_by=writer)
        self._touch(None)

    def add_tag(self, tag: str) -> None:
        """Add a tag, unless the context has it already. The version stays the same."""
        if tag not in self.metadata.tags:
            self.metadata = self.metadata._replace(tags=(*self.metadata.tags, tag))

    def snapshot(self) -> ContextSnapshot:
        """An immutable copy. Raises WireFormatError if the data is nested too deeply."""
        data = {key: copied(value, 1) for key, value in self.data.items()}
        return ContextSnapshot(self.session_id, data, self.metadata.version, self.metadata.updated_at)

    def copy(self) -> Self:
        """A deep copy, to be changed independently."""
        data = {key: copied(value, 1) for key, value in self.data.items()}
        return type(self)(self.session_id, data, self.metadata, reads=self.reads)

    def to_wire(self) -> list[Any]:
        """As positional arrays: `[session_id, {data}, [created_at, updated_at, version, modified_by, [tags]]]`."""
        created_at, updated_at, version, modified_by, tags = self.metadata
        return [self.session_id, self.data, [created_at, updated_at, version, modified_by, list(tags)]]

    @classmethod
    def from_wire(cls, wire: Any) -> Self:
        """From the arrays of `to_wire`. Raises WireFormatError for another shape; does not look into the values."""
        try:
            session_id, data, metadata = wire
            created_at, updated_at, version, modified_by, tags = metadata
        except (TypeError, ValueError):
            raise _malformed() from None
        if not _is_context(session_id, data, metadata):
            raise _malformed()
        context = cls.__new__(cls)
        context.session_id = session_id
        context.data = data
        context.metadata = _tuple(ContextMetadata, (created_at, updated_at, version, modified_by, tuple(tags)))
        context.reads = None
        return context

    def serialize(self, *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES) -> bytes:
        """As MessagePack. Raises WireFormatError naming what is not data, and SizeLimitExceeded."""
        if not _is_context(self.session_id, self.data, self.metadata):
            raise _malformed()
        if not metrics.is_on():
            return encode(self.to_wire(), max_bytes=max_bytes)
        began = time.perf_counter()
        packed = encode(self.to_wire(), max_bytes=max_bytes)
        metrics.note(metrics.SERIALIZE, time.perf_counter() - began, _OF)
        metrics.note(metrics.CONTEXT_BYTES, len(packed), _OF)
        return packed

    @classmethod
    def deserialize(cls, packed: bytes, *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES) -> Self:
        """From MessagePack. Raises WireFormatError and SizeLimitExceeded."""
        if not metrics.is_on():
            return cls.from_wire(decode(packed, max_bytes=max_bytes))
        return cls.deserialize_many([packed], max_bytes=max_bytes)[0]

    @classmethod
    def deserialize_many(cls, packed: Sequence[bytes], *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES) -> list[Self]:
        """`deserialize` for many, faster. Raises as it does, for the first one that is not valid."""
        began = time.perf_counter()
        found = [cls.from_wire(wire) for wire in decode_many(packed, max_bytes=max_bytes)]
        if metrics.is_on():
            each = (time.perf_counter() - began) / max(1, len(found))
            for _ in found:
                metrics.note(metrics.DESERIALIZE, each, _OF)
        return found

    def to_json(self, *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES) -> str:
        """As indented JSON with names, for people. Raises WireFormatError and SizeLimitExceeded."""
        if not _is_context(self.session_id, self.data, self.metadata):
            raise _malformed()
        metadata = self.metadata._asdict() | {"tags": list(self.metadata.tags)}
        document = {"session_id": self.session_id, "data": self.data, "metadata": metadata}
        return encode_json(document, max_bytes=max_bytes)

    @classmethod
    def from_json(cls, text: str | bytes, *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES) -> Self:
        """From the JSON of `to_json`. Raises WireFormatError and SizeLimitExceeded."""
        document = decode_json(text, max_bytes=max_bytes)
        try:
            metadata = document["metadata"]
            positions = [metadata[name] for name in ContextMetadata._fields]
            return cls.from_wire([document["session_id"], document["data"], positions])
        except (KeyError, TypeError):
            raise _malformed() from None

    def _wrote(self, *keys: str) -> None:
        if self.reads is not None:
            self.reads = self.reads.union(keys)

    def _touch(self, at: int | None) -> None:
        created_at, _, version, modified_by, tags = self.metadata
        at = _now() if at is None else at
        self.metadata = ContextMetadata(created_at, at, version + 1, modified_by, tags)

    def _refuse(self, key: str) -> NoReturn:
        raise UndeclaredRead(
            f"the key {key!r} did not cross to this node", suggestion=f"declare {key!r} under the node's `reads:`"
        )


_tuple = tuple.__new__


def _now() -> int:
    return time.time_ns() // 1_000_000


def copied(value: Json, depth: int = 0) -> Json:
    """A value that shares no object or list with the given one. Raises WireFormatError beyond depth 64."""
    if isinstance(value, dict | list) and depth >= MAX_DEPTH:
        raise WireFormatError(f"the data is nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        return {key: copied(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item, depth + 1) for item in value]
    return value


def _is_context(session_id: Any, data: Any, metadata: Any) -> bool:
    """Whether the types are those of a context. Whether the data is JSON data is checked in `context/wire.py`."""
    created_at, updated_at, version, modified_by, tags = metadata
    if (
        type(session_id) is not str
        or type(data) is not dict
        or not type(created_at) is type(updated_at) is type(version) is int
        or (modified_by is not None and type(modified_by) is not str)
        or (type(tags) is not list and type(tags) is not tuple)
    ):
        return False
    for tag in tags:  # noqa: SIM110 - a generator would cost more than everything above
        if type(tag) is not str:
            return False
    return True


def _malformed() -> WireFormatError:
    return WireFormatError(
        "this is not a context",
        suggestion="a context is an array of session id, object and metadata: created_at, updated_at, version, "
        "modified_by and tags",
    )
