"""How values become payloads: our wire types as MessagePack, or as readable JSON; everything else as Temporal does it.

Decoding goes by the payload's encoding, so one history may mix plain JSON from the command line, MessagePack and
readable JSON. MessagePack payloads carry their type's name in the metadata. JSON carries none, since the
`temporal` command shows JSON as JSON only when its metadata holds nothing else: there the type hint decides.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii
from typing import Any, Final, Literal, cast

from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.converter import (
    AdvancedJSONEncoder,
    CompositePayloadConverter,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    ExternalStorage,
    JSONPlainPayloadConverter,
    PayloadCodec,
)

from anabranch.cipher import Cipher
from anabranch.errors import WireFormatError
from anabranch.transport.codec import ZstdCodec
from anabranch.transport.encryption import EncryptingCodec
from anabranch.transport.failures import EncryptedFailuresOfNodes, FailuresOfNodes
from anabranch.transport.marking import MarkingDataConverter, WithoutContext
from anabranch.transport.measured import decoded, encoded
from anabranch.transport.undecodable import UndecodableConverter
from anabranch.transport.wire_json import to_array, to_named
from anabranch.transport.wire_types import NAMES, WireType, build, pack, unpack

ContextFormat = Literal["msgpack", "json"]
MSGPACK = b"binary/msgpack"
JSON = b"json/plain"
TYPE = "anabranch-type"
"""The metadata key of a MessagePack payload that holds the wire type's name."""

SANDBOX_MODULES = (
    "anabranch.context",
    "anabranch.graph",
    "anabranch.observe",
    "anabranch.transport",
    "anabranch.cipher",
    "anabranch.errors",
    "anabranch.keyring",
    "anabranch.settings",
    "anabranch.spans",
    "attr",
    "backports",
    "cel_expr_python",
    "cryptography",
    "jsonschema",
    "jsonschema_specifications",
    "lark",
    "msgpack",
    "opentelemetry",
    "pydantic_settings",
    "referencing",
    "rpds",
    "sqlglot",
    "structlog",
    "yaml",
)
"""Modules that the workflow sandbox passes through: a class that it imports itself is not the one encoded here."""


_JSON_DEPTH: Final = 256
"""Levels of JSON: more than a run's state has, and fewer than Python's parser takes wherever it is called.

Where that gives up depends on the stack and the version of Python (3.14's takes any), so that a replay might read what
the run could not.
"""
_TOO_DEEP: Final = "the JSON is nested too deep"


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
        return encoded(name, lambda: Payload(metadata={"encoding": MSGPACK, TYPE: name.encode()}, data=pack(value)))

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """Decode a wire type. Raises `WireFormatError` for other bytes, or another type than the hint asks for."""
        name = payload.metadata.get(TYPE, b"").decode(errors="replace")
        wanted = NAMES.get(type_hint) if type_hint else None
        if wanted and name != wanted:
            raise WireFormatError(f"expected a {wanted}, got a payload of type {name[:64]!r}")
        return decoded(name, lambda: unpack(name, payload.data))


class WireJsonConverter(JSONPlainPayloadConverter):
    """JSON as Temporal does it, and wire types as objects with named fields where the type hint asks for one.

    Objects keep the order of their keys: the text of an object shows it, and Temporal's converter sorts them.
    """

    def to_payload(self, value: Any) -> Payload | None:
        """Encode any value that JSON can hold."""
        if type(value) is str:  # a summary of each activity among them; Temporal's converter makes an encoder for it
            return Payload(metadata={"encoding": JSON}, data=encode_basestring_ascii(value).encode())
        if not isinstance(value, dict | list):
            return super().to_payload(value)
        text = json.dumps(value, cls=AdvancedJSONEncoder, separators=(",", ":"))
        return Payload(metadata={"encoding": JSON}, data=text.encode())

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """Decode JSON. Raises `WireFormatError` for what is not the wire type asked for, or nested too deep."""
        name = NAMES.get(type_hint) if type_hint else None
        try:
            if name is not None:
                return decoded(name, lambda: _from_json(name, payload.data))
            value = super().from_payload(payload, type_hint)
        except RecursionError:
            raise WireFormatError(_TOO_DEEP) from None
        if payload.data.count(b"[") + payload.data.count(b"{") > _JSON_DEPTH and _is_deeper(value, _JSON_DEPTH):
            raise WireFormatError(_TOO_DEEP)
        return value


_NESTING = frozenset({dict, list})


def _is_deeper(value: object, depth: int) -> bool:
    # Level by level: the value may be nested deeper than calls can be.
    level: list[Any] = [[value]]
    for _ in range(depth + 1):
        level = [
            item
            for outer in level
            for item in (outer.values() if isinstance(outer, dict) else outer)
            if type(item) in _NESTING and item
        ]
        if not level:
            return False
    return True


class WritingWireJsonConverter(WireJsonConverter):
    """The same, and wire types are written so too."""

    def to_payload(self, value: Any) -> Payload | None:
        """Encode any value that JSON can hold."""
        name = NAMES.get(type(value))
        return super().to_payload(value) if name is None else encoded(name, lambda: _to_json(value))


_DEFAULTS = DefaultPayloadConverter.default_encoding_payload_converters[:-1]
# Made once: the SDK makes a payload converter for each workflow task, and another one for what it comes to.
_MSGPACK, _JSON, _UNDECODABLE = MessagePackConverter(), WireJsonConverter(), UndecodableConverter()
_WRITING_JSON = WritingWireJsonConverter()


def _quickly(value: Any) -> Payload | None:
    """The payload of what an activity is given, gives back, or is called; None for anything else."""
    kind = type(value)
    if kind is RawValue:
        return cast("Payload", value.payload)
    if kind in NAMES:
        return _MSGPACK.to_payload(value)
    return _JSON.to_payload(value) if kind is str else None


class MsgpackPayloadConverter(CompositePayloadConverter, WithoutContext):
    """`CONTEXT_FORMAT=msgpack`: wire types are written as MessagePack."""

    def __init__(self) -> None:
        super().__init__(_MSGPACK, *_DEFAULTS, _JSON, _UNDECODABLE)

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        """Encode each value. What each activity has does not ask one converter after another."""
        payloads: list[Payload] = []
        for value in values:
            if (payload := _quickly(value)) is None:
                (payload,) = super().to_payloads([value])
            payloads.append(payload)
        return payloads


class JsonPayloadConverter(CompositePayloadConverter, WithoutContext):
    """`CONTEXT_FORMAT=json`: wire types are written as readable JSON; MessagePack is still read."""

    def __init__(self) -> None:
        super().__init__(*_DEFAULTS, _WRITING_JSON, _MSGPACK, _UNDECODABLE)


def data_converter(
    context_format: ContextFormat = "msgpack",
    codec: PayloadCodec | None = None,
    storage: ExternalStorage | None = None,
    cipher: Cipher | None = None,
) -> MarkingDataConverter:
    """Make the converter that clients and workers share; `codec` is `standard_codec` unless given.

    What is too large for a history goes to `storage`, if there is one. With a `cipher` the messages and stack traces of
    failures are payloads too.
    """
    converter = JsonPayloadConverter if context_format == "json" else MsgpackPayloadConverter
    return MarkingDataConverter(
        payload_converter_class=converter,
        payload_codec=codec or standard_codec(cipher, storage),
        failure_converter_class=FailuresOfNodes if cipher is None else EncryptedFailuresOfNodes,
        external_storage=storage,
    )


def standard_codec(cipher: Cipher | None = None, storage: ExternalStorage | None = None) -> PayloadCodec:
    """Compression, then encryption if there is a cipher."""
    stable_bytes = None if storage is None else storage.payload_size_threshold
    return EncryptingCodec(ZstdCodec(), cipher, stable_bytes=stable_bytes)


def readable(payload: Payload) -> Payload:
    """Turn MessagePack into JSON with named fields; any other payload is returned as it is.

    Raises `WireFormatError` for MessagePack that is not a wire type.
    """
    if payload.metadata.get("encoding") != MSGPACK:
        return payload
    return _to_json(MessagePackConverter().from_payload(payload))


def _to_json(value: WireType) -> Payload:
    pack(value)  # What one format refuses, the other must not let through.
    text = json.dumps(to_named(value), separators=(",", ":"), ensure_ascii=False).encode()
    return Payload(metadata={"encoding": JSON}, data=text)


def _from_json(name: str, data: bytes) -> WireType:
    try:
        fields = json.loads(data)
    except ValueError as error:
        raise WireFormatError(f"the JSON of a {name} cannot be read: {error!s:.200}") from error
    value = build(name, to_array(name, fields))
    pack(value)
    return value
