"""How values become payloads: our wire types as MessagePack, or as readable JSON; everything else as Temporal does it.

Decoding goes by the payload's encoding and the type's name in its metadata, so plain JSON from the command line,
MessagePack and readable JSON stand side by side in one history.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    JSONPlainPayloadConverter,
    PayloadCodec,
)

from context.values import check_value
from errors import WireFormatError
from transport.codec import ZstdCodec
from transport.named import to_array, to_named
from transport.wire_types import NAMES, WireType, build, pack, plain_array, unpack

ContextFormat = Literal["msgpack", "json"]
MSGPACK = b"binary/msgpack"
JSON = b"json/plain"
TYPE = "anabranch-type"
"""The metadata key that holds the wire type's name. (Temporal itself uses `type` for search attributes.)"""

SANDBOX_MODULES = (
    "context",
    "graph",
    "transport",
    "errors",
    "settings",
    "attr",
    "backports",
    "cel_expr_python",
    "jsonschema",
    "jsonschema_specifications",
    "lark",
    "msgpack",
    "pydantic_settings",
    "referencing",
    "rpds",
    "structlog",
    "yaml",
)
"""Modules that the workflow sandbox passes through. A class imported anew would not be the one that is encoded here."""


class MessagePackConverter(EncodingPayloadConverter):
    """Wire types as MessagePack positional arrays, with the type's name in the payload's metadata."""

    @property
    def encoding(self) -> str:
        """The encoding of its payloads."""
        return MSGPACK.decode()

    def to_payload(self, value: Any) -> Payload | None:
        """Encode a wire type; None for anything else."""
        name = NAMES.get(type(value))
        if name is None:
            return None
        return Payload(metadata={"encoding": MSGPACK, TYPE: name.encode()}, data=pack(value))

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """Decode a wire type. Raises `WireFormatError` for other bytes, or another type than the hint asks for."""
        return unpack(_type_name(payload, type_hint), payload.data)


class WireJsonConverter(JSONPlainPayloadConverter):
    """JSON as Temporal does it, and wire types as objects by name when their type's name is in the metadata."""

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """Decode JSON. Raises `WireFormatError` for a wire type that is not one."""
        if TYPE not in payload.metadata:
            return super().from_payload(payload, type_hint)
        return _from_readable(_type_name(payload, type_hint), payload.data)


class WritingWireJsonConverter(WireJsonConverter):
    """The same, and wire types are written so too."""

    def to_payload(self, value: Any) -> Payload | None:
        """Encode any value that JSON can hold."""
        name = NAMES.get(type(value))
        return super().to_payload(value) if name is None else _readable(name, value)


_DEFAULTS = DefaultPayloadConverter.default_encoding_payload_converters[:-1]


class MsgpackPayloadConverter(CompositePayloadConverter):
    """`CONTEXT_FORMAT=msgpack`: wire types are written as MessagePack."""

    def __init__(self) -> None:
        super().__init__(MessagePackConverter(), *_DEFAULTS, WireJsonConverter())


class JsonPayloadConverter(CompositePayloadConverter):
    """`CONTEXT_FORMAT=json`: wire types are written as readable JSON; MessagePack is still read."""

    def __init__(self) -> None:
        super().__init__(*_DEFAULTS, WritingWireJsonConverter(), MessagePackConverter())


def data_converter(context_format: ContextFormat = "msgpack", codec: PayloadCodec | None = None) -> DataConverter:
    """Make the converter that clients and workers share; `codec` is zstd compression unless given."""
    converter = JsonPayloadConverter if context_format == "json" else MsgpackPayloadConverter
    return DataConverter(payload_converter_class=converter, payload_codec=codec or ZstdCodec())


def readable(payload: Payload) -> Payload:
    """Turn MessagePack into JSON with named fields; any other payload is returned as it is.

    Raises `WireFormatError` for MessagePack that is not a wire type.
    """
    if payload.metadata.get("encoding") != MSGPACK:
        return payload
    name = _type_name(payload, None)
    return _readable(name, unpack(name, payload.data))


def compact(payload: Payload) -> Payload:
    """Turn JSON with named fields back into MessagePack; any other payload is returned as it is.

    Raises `WireFormatError` for JSON that does not have the fields of its type.
    """
    if payload.metadata.get("encoding") != JSON or TYPE not in payload.metadata:
        return payload
    name = _type_name(payload, None)
    value = _from_readable(name, payload.data)
    return Payload(metadata={"encoding": MSGPACK, TYPE: name.encode()}, data=pack(value))


def _readable(name: str, value: WireType) -> Payload:
    plain_array(value)
    try:
        text = json.dumps(to_named(value), separators=(",", ":"), ensure_ascii=False).encode()
    except ValueError as error:
        check_value(to_named(value))
        raise WireFormatError(f"a {name} cannot be written as JSON: {error!s:.200}") from error
    return Payload(metadata={"encoding": JSON, TYPE: name.encode()}, data=text)


def _from_readable(name: str, data: bytes) -> WireType:
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise WireFormatError(f"the JSON of a {name} cannot be read: {error!s:.200}") from error
    return build(name, to_array(name, fields))


def _type_name(payload: Payload, type_hint: type | None) -> str:
    name = payload.metadata.get(TYPE, b"").decode(errors="replace")
    wanted = NAMES.get(type_hint) if type_hint else None
    if wanted and name != wanted:
        raise WireFormatError(f"expected a {wanted}, got a payload of type {name[:64]!r}")
    return name
