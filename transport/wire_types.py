"""The types that cross between workflow and activity as MessagePack positional arrays, by name, with strict limits.

Data only: no extension types, no binary, keys are text, numbers are finite, nesting at most `MAX_DEPTH`.
"""

from __future__ import annotations

from types import NoneType
from typing import Any, NoReturn, Protocol, Self, cast

import msgpack

from anabranch.context.changes import ChangeSet
from anabranch.context.distributed import DistributedContext
from anabranch.context.values import check_value
from anabranch.context.wire import decode, is_plain
from anabranch.errors import AnabranchError, WireFormatError
from anabranch.limits import DECODED_BYTES
from anabranch.transport.node_protocol import GraphRequest, NodeTask, PinnedGraph
from anabranch.transport.rerun import RerunRequest, RerunStart
from anabranch.transport.segment import Segment, SegmentResult
from anabranch.transport.wire_json import to_named

MAX_DEPTH = 72
"""Levels of nesting: the 64 of a context's data, and the arrays around it."""
MAX_BYTES = DECODED_BYTES


class WireType(Protocol):
    """The methods of a type that travels as MessagePack."""

    def to_wire(self) -> list[Any]:
        """Give the positional array."""
        ...

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        """Build the object from the array of `to_wire`."""
        ...


WIRE_TYPES: dict[str, type[WireType]] = {
    "NodeTask": NodeTask,
    "ChangeSet": ChangeSet,
    "Segment": Segment,
    "SegmentResult": SegmentResult,
    "GraphRequest": GraphRequest,
    "PinnedGraph": PinnedGraph,
    "RerunRequest": RerunRequest,
    "RerunStart": RerunStart,
    "DistributedContext": DistributedContext,
}
NAMES: dict[type[Any], str] = {cls: name for name, cls in WIRE_TYPES.items()}

_JSON = (str, int, float, bool, NoneType, list, dict)
# The types of our own arrays' positions; `context` checks its own.
_SHAPES: dict[str, tuple[type | tuple[type, ...], ...]] = {
    "NodeTask": (str, dict, list, list, str, (list, NoneType), dict, int),
    "Segment": ((int, float), list, dict, list, (dict, NoneType)),
    "SegmentResult": (int, list),
    "GraphRequest": ((str, NoneType), _JSON, dict, bool),
    "PinnedGraph": (str, str, str, dict, int, dict, list, dict, str),
    "RerunRequest": (
        *(str, (str, NoneType), list, bool, dict, list, bool),
        *(_JSON, (str, NoneType), str, dict, bool),
    ),
    "RerunStart": (list, list),
}
_OPTIONAL = {"PinnedGraph": 1}
"""How many positions at the end of an array may be left out."""


def pack(value: WireType) -> bytes:
    """Encode a wire type. Raises `WireFormatError`, naming the path of what is not data."""
    wire = value.to_wire()
    if not is_plain(wire, MAX_DEPTH):
        _refuse(value, "it is nested too deep")
    try:
        return cast("bytes", msgpack.packb(wire))
    except (TypeError, ValueError, OverflowError) as error:
        _refuse(value, str(error))


def unpack(name: str, data: bytes) -> WireType:
    """Decode the wire type called `name`. Raises `WireFormatError` or `SizeLimitExceeded` for anything else."""
    return build(name, decode(data, max_bytes=MAX_BYTES, max_depth=MAX_DEPTH))


def build(name: str, wire: Any) -> WireType:
    """Make the object from its array. Raises `WireFormatError` if the array does not have the type's shape."""
    cls = WIRE_TYPES.get(name)
    if cls is None:
        raise WireFormatError(f"{name[:64]!r} is not a wire type", suggestion=f"known are {', '.join(WIRE_TYPES)}")
    if type(wire) is not list:
        raise WireFormatError(f"a {name} must be an array, not {type(wire).__name__}")
    if shape := _SHAPES.get(name):
        _check_shape(name, wire, shape)
    try:
        return cls.from_wire(wire)
    except AnabranchError:
        raise
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise WireFormatError(f"the array does not have the shape of a {name}: {error}") from error


def _refuse(value: WireType, reason: str) -> NoReturn:
    check_value(to_named(value))
    raise WireFormatError(f"a {type(value).__name__} cannot be encoded: {reason:.200}")


def _check_shape(name: str, wire: list[Any], shape: tuple[type | tuple[type, ...], ...]) -> None:
    least = len(shape) - _OPTIONAL.get(name, 0)
    if not least <= len(wire) <= len(shape):
        raise WireFormatError(f"a {name} has {least} positions, not {len(wire)}")
    for position, (value, kinds) in enumerate(zip(wire, shape, strict=False)):
        if not isinstance(value, kinds):
            raise WireFormatError(f"position {position} of a {name} may not be {type(value).__name__}")
