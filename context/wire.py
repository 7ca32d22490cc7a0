"""The rules of the wire formats: MessagePack between machines, JSON for people, only data in both.

Decoding accepts exactly what encoding can produce: JSON data, depth 64, no duplicate keys, no trailing bytes, at most
`max_bytes`. In the positional formats `wire[1]` is the context's data; errors name paths in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn, TypeVar, cast

import msgpack
from msgpack import Packer as _Packer
from msgpack import unpackb as _unpack
from msgpack.fallback import DEFAULT_RECURSE_LIMIT

from anabranch.context.values import MAX_DEPTH, Json, Path, check_value, exact
from anabranch.errors import SizeLimitExceeded, WireFormatError
from anabranch.limits import MAX_CONTEXT_SIZE_BYTES

_SAFE_BYTES: Final = bytes(set(range(256)) - {*range(0x80, 0xA0), *range(0xDC, 0xE0), 0x7F, 0xCB, *range(0xF0, 0x100)})
"""Every byte except those that open an array or a map, or begin a double that is NaN or infinite."""

_find_non_finite: Final = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]").search
"""A double whose exponent is all ones (or text and digits that look like it)."""

_NO_BINARY: Final = -2
"""Below every length, so that msgpack refuses an empty binary too (-1 would mean its default)."""

_LARGE: Final = 16 * 1024
"""Bytes from which on `_pack_within` is quicker than `is_plain`."""

_PACKER_DEPTH: Final[int] = DEFAULT_RECURSE_LIMIT + 1
"""How deep msgpack packs, in C as in Python: a test holds it to that."""

_ATOMS: Final = frozenset({str, int, bool, type(None)})
_CONTAINERS: Final = frozenset({dict, list, tuple})
_DATA: Final = frozenset({dict, list})
T = TypeVar("T", bound=Json)
_pack = cast("Callable[[Any], bytes]", msgpack.packb)
_BROKEN: Final = (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException)


def encode(wire: list[Any], *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES) -> bytes:
    """MessagePack of a positional array, whose scalars the caller has checked; `wire[1]` is checked here.

    Raises WireFormatError naming the path, and SizeLimitExceeded.
    """
    packed: bytes | None = None
    if is_plain(wire[1], MAX_DEPTH):
        try:
            packed = _Packer(strict_types=True).pack(wire)
        except _BROKEN:  # a surrogate, or an integer beyond 64 bits
            packed = None
    if packed is None:
        packed = _encode_carefully(wire)
    if len(packed) > max_bytes:
        raise _too_large(len(packed), max_bytes, wire[1])
    return packed


def decode(packed: bytes, *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES, max_depth: int = MAX_DEPTH + 1) -> Any:
    """The positional array, nested at most `max_depth` deep. Raises WireFormatError and SizeLimitExceeded."""
    if len(packed) > max_bytes:
        raise _too_large(len(packed), max_bytes)
    try:
        wire = _unpack(packed, max_bin_len=_NO_BINARY, max_ext_len=_NO_BINARY)
        if _is_whole(wire, packed, _Packer(strict_types=True), max_depth):
            return wire
    except _BROKEN:  # decode again with every check, to say what is wrong
        pass
    return _decode_carefully(packed)


def decode_many(packed: Sequence[bytes], *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES) -> list[Any]:
    """`decode` for many, a sixth faster. Raises as `decode` does, for the first one that is not valid."""
    packer = _Packer(strict_types=True)
    try:
        array = packer.pack_array_header(len(packed)) + b"".join(packed)
        wires: list[Any] = _unpack(array, max_bin_len=_NO_BINARY, max_ext_len=_NO_BINARY)
        for wire, alone in zip(wires, packed, strict=True):
            if len(alone) > max_bytes or not _is_whole(wire, alone, packer, MAX_DEPTH + 1):
                break
        else:
            return wires
    except _BROKEN:  # decode one by one, to say which is wrong
        pass
    return [decode(alone, max_bytes=max_bytes) for alone in packed]


def _is_whole(wire: Any, packed: bytes, packer: _Packer, max_depth: int) -> bool:
    """Whether all of these bytes are the one encoding of JSON data that is nested at most so deep."""
    if len(packed) > _LARGE and not _find_non_finite(packed):
        return _pack_within(wire, max_depth, packer) == packed
    # A dict keeps one of two equal keys, so encoding gives the same bytes only if there are no duplicates.
    if packer.pack(wire) != packed:
        return False
    suspects = packed.translate(None, _SAFE_BYTES)
    return (len(suspects) <= max_depth and not _find_non_finite(suspects)) or is_plain(wire, max_depth)


def _pack_within(value: Any, depth: int, packer: _Packer) -> bytes:
    """MessagePack of a value; raises ValueError if it is nested deeper than `depth`.

    The packer has a limit of its own. Inside of so many arrays that it is just reached, what is too deep passes it: to
    look at each value for that would take longer than to pack them all.
    """
    around = _PACKER_DEPTH - depth
    for _ in range(around):
        value = [value]
    packed: bytes = packer.pack(value)
    return packed[around:]


def encode_json(document: dict[str, Any], *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES) -> str:
    """Indented JSON of an object with the context's data at `data`. Raises as `encode` does."""
    _check_document(document)
    text = json.dumps(document, indent=2, ensure_ascii=False)
    size = len(text.encode())
    if size > max_bytes:
        raise _too_large(size, max_bytes, document["data"])
    return text


def decode_json(text: str | bytes, *, max_bytes: int = MAX_CONTEXT_SIZE_BYTES) -> Any:
    """The object. Raises WireFormatError and SizeLimitExceeded."""
    size = len(text.encode(errors="surrogatepass") if isinstance(text, str) else text)
    if size > max_bytes:
        raise _too_large(size, max_bytes)
    try:
        document = json.loads(text, object_pairs_hook=_unique)
    except WireFormatError:
        raise
    except (ValueError, RecursionError) as broken:
        raise WireFormatError(f"this is not the JSON of a context: {broken}") from None
    if not isinstance(document, dict):
        raise WireFormatError("this is not a context: the JSON is not an object")
    _check_document(document)
    return document


def _check_document(document: dict[str, Any]) -> None:
    check_value(document.get("data"))
    check_value({**document, "data": None})


def is_plain(value: Any, depth: int, containers: frozenset[type] = _CONTAINERS) -> bool:
    """Whether an array or an object holds only JSON data in Python's own types, down to a depth."""
    if not depth:
        return False
    if type(value) is dict:
        for key in value:
            if type(key) is not str:
                return False
        value = value.values()
    for item in value:
        kind = type(item)
        if kind in _ATOMS:
            continue
        if kind is float:
            if item - item:  # only NaN and the infinities differ from themselves
                return False
        elif kind not in containers or not is_plain(item, depth - 1, containers):
            return False
    return True


def plain(value: T, *, path: Path = ()) -> T:
    """The value itself where it is JSON data in Python's own types, else its copy that is (see `exact`)."""
    if is_plain([value], MAX_DEPTH + 1 - len(path), _DATA):
        return value
    return cast("T", exact(value, path=path))


def measure(value: Json, *, path: Path = ()) -> int:
    """The length of a value's MessagePack. Raises WireFormatError, naming the path, for what `check_value` refuses."""
    if is_plain([value], MAX_DEPTH + 1 - len(path)):
        return measure_plain(value, path=path)
    check_value(value, path=path)
    return len(_pack_carefully(value))


def measure_plain(value: Json, *, path: Path = ()) -> int:
    """`measure` of what `plain` or `measure` has let through, at a third of its cost."""
    return len(pack_plain(value, path=path))


def pack_plain(value: Json, *, path: Path = ()) -> bytes:
    """MessagePack of what `plain` or `measure` has let through. Raises WireFormatError, naming the path."""
    try:
        packed: bytes = _Packer(strict_types=True).pack(value)
    except _BROKEN:  # a surrogate, or an integer beyond 64 bits
        check_value(value, path=path)
        return _pack_carefully(value)
    return packed


def _encode_carefully(wire: list[Any]) -> bytes:
    _check(wire)
    return _pack_carefully(wire)


def _pack_carefully(value: Any) -> bytes:
    try:
        return _pack(value)
    except _BROKEN as refused:
        raise WireFormatError(f"the context is not data: {refused}") from None


def _decode_carefully(packed: bytes) -> Any:
    try:
        wire = _unpack(packed, object_pairs_hook=_unique, ext_hook=_refuse_extension, strict_map_key=False)
    except WireFormatError:
        raise
    except _BROKEN as broken:
        raise WireFormatError(
            f"this is not the MessagePack of a context: {str(broken) or type(broken).__name__}"
        ) from None
    _check(wire)
    return wire


def _check(wire: Any) -> None:
    if isinstance(wire, list) and len(wire) > 1:
        check_value(wire[1])
        check_value([*wire[:1], *wire[2:]])
    else:
        check_value(wire)


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise WireFormatError(f"an object has the key {key!r} twice")
            seen.add(key)
    return members


def _refuse_extension(code: int, _content: bytes) -> NoReturn:
    raise WireFormatError(f"the payload holds the MessagePack extension type {code}, which is not data")


def _too_large(size: int, limit: int, data: Mapping[str, Json] | None = None) -> SizeLimitExceeded:
    largest = ""
    if data:
        sizes = {key: len(_pack(value)) for key, value in data.items()}
        key = max(sizes, key=sizes.__getitem__)
        largest = f"; its largest key is {key!r} with {sizes[key]} bytes"
    return SizeLimitExceeded(
        f"the context has {size} bytes, over the limit of {limit}{largest}",
        suggestion="keep large values elsewhere and put a reference here, or raise MAX_CONTEXT_SIZE_BYTES",
    )
