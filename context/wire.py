"""The wire formats' rules: MessagePack between machines, JSON for people, and data only in both.

What is decoded is exactly what could be encoded: JSON data, depth 64, no key twice, nothing behind the end, never more
than `max_bytes`. In the positional formats `wire[1]` is the context's data; errors name paths in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import msgpack

from context.values import Json, check_value
from errors import SizeLimitExceeded, WireFormatError

MAX_CONTEXT_SIZE_BYTES: Final = 1_048_576
"""The default limit of an encoded context: 1 MiB, half of what Temporal accepts as one payload."""


def encode(wire: list[Any], *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES) -> bytes:
    """MessagePack of a positional array. Raises WireFormatError naming the path, and SizeLimitExceeded."""
    _check(wire)
    packed: bytes = msgpack.packb(wire)
    if len(packed) > max_bytes:
        raise _too_large(len(packed), max_bytes, wire[1])
    return packed


def decode(packed: bytes, *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES) -> Any:
    """The positional array. Raises WireFormatError and SizeLimitExceeded."""
    if len(packed) > max_bytes:
        raise _too_large(len(packed), max_bytes)
    try:
        wire = msgpack.unpackb(packed, object_pairs_hook=_unique, ext_hook=_refuse_extension)
    except WireFormatError:
        raise
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as broken:
        raise WireFormatError(f"this is not the MessagePack of a context: {broken or type(broken).__name__}") from None
    _check(wire)
    return wire


def encode_json(document: dict[str, Any], data: Mapping[str, Json], *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES) -> str:
    """Indented JSON. Raises WireFormatError naming the path in `data`, and SizeLimitExceeded."""
    check_value(data)
    check_value(document)
    text = json.dumps(document, indent=2, ensure_ascii=False)
    size = len(text.encode())
    if size > max_bytes:
        raise _too_large(size, max_bytes, data)
    return text


def decode_json(text: str | bytes, *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES) -> Any:
    """The document. Raises WireFormatError and SizeLimitExceeded."""
    if len(text) > max_bytes:
        raise _too_large(len(text), max_bytes)
    try:
        document = json.loads(text, object_pairs_hook=_unique)
    except WireFormatError:
        raise
    except (ValueError, RecursionError) as broken:
        raise WireFormatError(f"this is not the JSON of a context: {broken}") from None
    check_value(document)
    return document


def _check(wire: Any) -> None:
    if isinstance(wire, list) and len(wire) > 1:
        check_value(wire[1])
        check_value([*wire[:1], *wire[2:]])
    else:
        check_value(wire)


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in members if keys.count(key) > 1)
        raise WireFormatError(f"an object has the key {twice!r} twice")
    return members


def _refuse_extension(code: int, _content: bytes) -> NoReturn:
    raise WireFormatError(f"the payload holds the MessagePack extension type {code}, which is not data")


def _too_large(size: int, limit: int, data: Mapping[str, Json] | None = None) -> SizeLimitExceeded:
    largest = ""
    if data:
        sizes = {key: len(msgpack.packb(value)) for key, value in data.items()}
        key = max(sizes, key=sizes.__getitem__)
        largest = f"; its largest key is {key!r} with {sizes[key]} bytes"
    return SizeLimitExceeded(
        f"the context has {size} bytes, over the limit of {limit}{largest}",
        suggestion="keep large values elsewhere and put a reference here, or raise MAX_CONTEXT_SIZE_BYTES",
    )
