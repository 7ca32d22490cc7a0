"""The types that cross between workflow and activity as MessagePack positional arrays, by name, with strict limits.

Data only: no extension types, no binary, keys are text, numbers are finite, nesting at most `MAX_DEPTH`.
"""

from __future__ import annotations

import math
from types import NoneType
from typing import Any, NoReturn, Protocol, Self, cast

import msgpack

from context.changes import ChangeSet
from context.distributed import DistributedContext
from context.values import check_value
from errors import AnabranchError, SizeLimitExceeded, WireFormatError
from transport.named import to_named
from transport.node_io import GraphRequest, NodeTask, PinnedGraph

MAX_DEPTH = 72
"""Levels of nesting: the 64 of a context's data, and the arrays around it."""
MAX_BYTES = 8 * 1024 * 1024


class WireType(Protocol):
    """What a type must offer to travel as MessagePack."""

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
    "GraphRequest": GraphRequest,
    "PinnedGraph": PinnedGraph,
    "DistributedContext": DistributedContext,
}
NAMES: dict[type[Any], str] = {cls: name for name, cls in WIRE_TYPES.items()}

_SCALARS = frozenset((str, int, bool, NoneType))
_CONTAINERS = frozenset((dict, list, tuple))
_JSON = (str, int, float, bool, NoneType, list, dict)
# The types of our own arrays' positions; `context` checks its own.
_SHAPES: dict[str, tuple[type | tuple[type, ...], ...]] = {
    "NodeTask": (str, dict, list, list, str, (list, NoneType), dict),
    "GraphRequest": ((str, NoneType), _JSON),
    "PinnedGraph": (str, str, str, dict),
}


def pack(value: WireType) -> bytes:
    """Encode a wire type. Raises `WireFormatError`, naming the path of what is not data."""
    wire = value.to_wire()
    if not _is_plain(wire, 1):
        _refuse(value, "it is nested too deep")
    try:
        return cast("bytes", msgpack.packb(wire))
    except (TypeError, ValueError, OverflowError) as error:
        _refuse(value, str(error))


def unpack(name: str, data: bytes) -> WireType:
    """Decode the wire type called `name`. Raises `WireFormatError` or `SizeLimitExceeded` for anything else."""
    if len(data) > MAX_BYTES:
        raise SizeLimitExceeded(f"a {name} of {len(data)} bytes is over the limit of {MAX_BYTES}")
    try:
        wire = msgpack.unpackb(data, ext_hook=_refuse_extension)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        # The exception's class says more than its text, which may quote the data.
        reason = str(error) or type(error).__name__
        raise WireFormatError(f"the bytes of a {name} are not MessagePack: {reason[:200]}") from error
    return build(name, wire)


def build(name: str, wire: Any) -> WireType:
    """Make the object from its array. Raises `WireFormatError` if it is not data or does not have the type's shape."""
    cls = WIRE_TYPES.get(name)
    if cls is None:
        raise WireFormatError(f"{name[:64]!r} is not a wire type", suggestion=f"known are {', '.join(WIRE_TYPES)}")
    if type(wire) is not list:
        raise WireFormatError(f"a {name} must be an array, not {type(wire).__name__}")
    if not _is_plain(wire, 1):
        check_value(wire)
        raise WireFormatError(f"a {name} is nested deeper than {MAX_DEPTH} levels")
    if shape := _SHAPES.get(name):
        _check_shape(name, wire, shape)
    try:
        return cls.from_wire(wire)
    except AnabranchError:
        raise
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise WireFormatError(f"the array does not have the shape of a {name}: {error}") from error


def _is_plain(container: Any, depth: int) -> bool:
    """Whether all below is data. This runs over every payload; `check_value` finds the path when it says no."""
    children = container
    if type(container) is dict:
        try:
            "".join(container)  # the fastest question whether every key is text
        except TypeError:
            return False
        children = container.values()
    for child in children:
        kind = type(child)
        if kind in _SCALARS:
            continue
        if kind in _CONTAINERS:
            if depth == MAX_DEPTH or not _is_plain(child, depth + 1):
                return False
        elif kind is not float or not math.isfinite(child):
            return False
    return True


def _refuse(value: WireType, reason: str) -> NoReturn:
    check_value(to_named(value))
    raise WireFormatError(f"a {type(value).__name__} cannot be encoded: {reason:.200}")


def _check_shape(name: str, wire: list[Any], shape: tuple[type | tuple[type, ...], ...]) -> None:
    if len(wire) != len(shape):
        raise WireFormatError(f"a {name} has {len(shape)} positions, not {len(wire)}")
    for position, (value, kinds) in enumerate(zip(wire, shape, strict=True)):
        if not isinstance(value, kinds):
            raise WireFormatError(f"position {position} of a {name} may not be {type(value).__name__}")


def _refuse_extension(code: int, _data: bytes) -> Any:
    raise ValueError(f"extension type {code} is not allowed")
