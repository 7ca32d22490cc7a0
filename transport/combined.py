"""Our data converter over another one, which still converts all values but those of our own types.

Payloads are compressed by us before their codec sees them: what a codec has encrypted cannot be compressed any more.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    DataConverter,
    DefaultPayloadConverter,
    FailureConverter,
    PayloadCodec,
    PayloadConverter,
    SerializationContext,
    WithSerializationContext,
)

from anabranch.errors import ConfigurationError, InputError
from anabranch.transport.converter import MSGPACK, JsonPayloadConverter, MsgpackPayloadConverter
from anabranch.transport.failures import FailuresInContext, FailuresOfNodes
from anabranch.transport.marking import MarkingDataConverter
from anabranch.transport.undecodable import ENCODING, undecodable
from anabranch.transport.wire_types import NAMES


class CombinedPayloadConverter(PayloadConverter, WithSerializationContext):
    """Converts wire types as one converter does, everything else as another.

    A subclass says which these are, since the SDK makes a converter for each workflow run, without arguments.
    """

    ours: ClassVar[type[PayloadConverter]]
    theirs: ClassVar[type[PayloadConverter]]

    def __init__(self) -> None:
        self._ours = self.ours()
        self._theirs = self.theirs()

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        """Encode each value."""
        return [(self._ours if type(value) in NAMES else self._theirs).to_payload(value) for value in values]

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """Decode each payload: as a wire type where it is one, or where one is asked for."""
        hints: Sequence[type | None] = type_hints or [None] * len(payloads)
        return [self._from_payload(*each) for each in zip(payloads, hints, strict=True)]

    def with_context(self, context: SerializationContext) -> Self:
        """The same, the other converter with the context."""
        if not isinstance(self._theirs, WithSerializationContext):
            return self
        changed = copy.copy(self)
        changed._theirs = self._theirs.with_context(context)  # noqa: SLF001 - of its own class
        return changed

    def _from_payload(self, payload: Payload, hint: type | None) -> Any:
        is_ours = payload.metadata.get("encoding") in (MSGPACK, ENCODING) or hint in NAMES
        return (self._ours if is_ours else self._theirs).from_payloads([payload], [hint] if hint else None)[0]


class ChainedCodec(PayloadCodec, WithSerializationContext):
    """Two codecs: the inner one encodes first and decodes last.

    The outer one raises InputError for a payload that it can never decode, which is handed on as one that holds the
    reason. Whatever else it raises fails the workflow task, which is tried again: a key may be there later.
    """

    def __init__(self, inner: PayloadCodec, outer: PayloadCodec) -> None:
        self._inner = inner
        self._outer = outer

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encode by both."""
        return await self._outer.encode(await self._inner.encode(payloads))

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decode by both."""
        return await self._inner.decode(await self._decode_outer(payloads))

    def with_context(self, context: SerializationContext) -> Self:
        """The same, the outer codec with the context."""
        if not isinstance(self._outer, WithSerializationContext):
            return self
        return type(self)(self._inner, self._outer.with_context(context))

    async def _decode_outer(self, payloads: Sequence[Payload]) -> list[Payload]:
        try:
            return await self._outer.decode(payloads)
        except InputError as error:
            if len(payloads) == 1:
                return [undecodable(error)]
        return [decoded for payload in payloads for decoded in await self._decode_outer([payload])]


def combined(ours: DataConverter, theirs: DataConverter) -> DataConverter:
    """One converter that does what both do. Raises ConfigurationError where both keep large payloads in a store."""
    if carries_wire_types(theirs):
        return theirs
    if ours.external_storage is not None and theirs.external_storage is not None:
        raise ConfigurationError(
            "large payloads have two stores: PAYLOAD_STORE_URL, and the `external_storage` of the client's converter",
            suggestion="unset PAYLOAD_STORE_URL, or give the client a converter without `external_storage`",
        )
    return dataclasses.replace(
        _marking(theirs),
        payload_converter_class=_payload_converter(ours.payload_converter_class, theirs.payload_converter_class),
        payload_codec=_codec(ours.payload_codec, theirs.payload_codec),
        failure_converter_class=_failure_converter(ours.failure_converter_class, theirs.failure_converter_class),
        external_storage=ours.external_storage or theirs.external_storage,
    )


def carries_wire_types(converter: DataConverter) -> bool:
    """Whether what the workflow and a node's activity exchange can pass by this converter."""
    ours = (MsgpackPayloadConverter, JsonPayloadConverter, CombinedPayloadConverter)
    return issubclass(converter.payload_converter_class, ours)


def _marking(theirs: DataConverter) -> DataConverter:
    """The same converter, which marks what cannot be decoded."""
    their_class = type(theirs)
    marking: Any = MarkingDataConverter
    if their_class is not DataConverter:
        marking = type(their_class.__name__, (MarkingDataConverter, their_class), {})
    given = {field.name: getattr(theirs, field.name) for field in dataclasses.fields(theirs) if field.init}
    converter: DataConverter = marking(**given)
    return converter


def _payload_converter(
    our_class: type[PayloadConverter], their_class: type[PayloadConverter]
) -> type[PayloadConverter]:
    if their_class is DefaultPayloadConverter:
        return our_class

    class Combined(CombinedPayloadConverter):
        ours = our_class
        theirs = their_class

    return Combined


def _failure_converter(
    our_class: type[FailureConverter], their_class: type[FailureConverter]
) -> type[FailureConverter]:
    base: Any = our_class if issubclass(our_class, FailuresOfNodes) else FailuresOfNodes
    bases = (FailuresInContext, base) if issubclass(their_class, WithSerializationContext) else (base,)
    combined_class: type[FailureConverter] = type("Combined", bases, {"theirs": their_class})
    return combined_class


def _codec(ours: PayloadCodec | None, theirs: PayloadCodec | None) -> PayloadCodec | None:
    if ours is None or theirs is None:
        return theirs or ours
    return ChainedCodec(ours, theirs)
