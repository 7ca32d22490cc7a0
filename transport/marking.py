"""A data converter by which a payload that a store should have, and has not, fails only who reads it.

The SDK raises for a reference that leads nowhere, while it decodes a workflow task, and would do so at every attempt.
It has no hook there but the three methods that are overridden here.

A store that does not answer still raises: the workflow task is tried again until it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Never, Self

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    DataConverter,
    ExternalStorage,
    SerializationContext,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
    WithSerializationContext,
)

from anabranch.errors import AnabranchError, Unavailable, WireFormatError
from anabranch.transport.undecodable import is_stored, stored, undecodable, without_origin

_MARKER = "__temporal_external_storage_reference"
"""The metadata key of a reference that a codec has encoded."""
_REFERENCES = frozenset({b"json/external-storage-reference", b"json/protobuf"})
"""The encodings that a reference may have. Most payloads have another, and are handed on with as little as may be."""


class WithoutContext:
    """A payload converter of which no part takes a context."""


class MarkingDataConverter(DataConverter):
    """Marks what came from a store, and what should have."""

    def with_context(self, context: SerializationContext) -> Self:
        """The same; with the context, if a part of it takes one."""
        return super().with_context(context) if self.takes_context else self

    @cached_property
    def takes_context(self) -> bool:
        """Whether a part of it converts otherwise for one workflow or activity than for another."""
        # The SDK asks for a converter with a context at each payload, and finds out each time that there is no other.
        parts = (self.payload_codec, self.failure_converter, self.external_storage)
        is_plain = WithoutContext in self.payload_converter_class.__bases__  # a subclass may add what takes one
        return not is_plain or any(isinstance(part, WithSerializationContext) for part in parts)

    async def retrieved(self, payload: Payload) -> Payload | None:
        """What a store has for a reference, still encoded, or why it has nothing; None for any other payload.

        Raises Unavailable where the store does not answer.
        """
        (reference,) = await self._decode_reference_payload_sequence([payload])
        (found,) = await self._external_retrieve_payload_sequence([reference])
        return without_origin(found) if is_stored(found) else None

    async def offloaded(self, payloads: Sequence[Payload]) -> list[Payload]:
        """The encoded payloads, and references in place of those that are large enough for the store."""
        kept = await self._external_store_payload_sequence(payloads)
        return await self._encode_reference_payload_sequence(kept)

    async def _decode_reference_payload_sequence(self, payloads: Sequence[Payload]) -> list[Payload]:
        found = list(payloads)
        for index, payload in enumerate(payloads):
            if _MARKER in payload.metadata:
                found[index] = await self._decoded_reference(payload)
        return found

    async def _external_retrieve_payload_sequence(self, payloads: Sequence[Payload]) -> list[Payload]:
        for payload in payloads:
            if payload.metadata.get("encoding") in _REFERENCES:
                return await self._retrieved(payloads)
        return list(payloads)

    async def _retrieved(self, payloads: Sequence[Payload]) -> list[Payload]:
        checked = [self._checked(payload) for payload in payloads]
        retrieved = await super()._external_retrieve_payload_sequence([payload for payload, _ in checked])
        return [stored(got) if is_ours else got for got, (_, is_ours) in zip(retrieved, checked, strict=True)]

    async def _decode_payload_sequence(self, payloads: Sequence[Payload]) -> list[Payload]:
        decoded = await super()._decode_payload_sequence(payloads)
        for index, payload in enumerate(payloads):
            if is_stored(payload):
                decoded[index] = stored(decoded[index])
        return decoded

    async def _decoded_reference(self, payload: Payload) -> Payload:
        if self.external_storage is None:
            return stored(undecodable(_no_store()))
        try:
            (reference,) = await super()._decode_reference_payload_sequence([payload])
        except RuntimeError:
            return stored(undecodable(_malformed()))
        return reference

    def _checked(self, payload: Payload) -> tuple[Payload, bool]:
        """The payload, or in its place why it leads nowhere; and whether it is, or should be, in a store."""
        storage = self.external_storage or _NONE
        try:
            reference = storage._decode_reference(payload)  # noqa: SLF001 - the SDK has no other reader of its format
        except Exception:
            return undecodable(_malformed()), True
        if reference is None:
            return payload, False
        if reference.driver_name in {driver.name() for driver in storage.drivers if storage is not _NONE}:
            return payload, True
        return undecodable(_no_store()), True


class _NoDriver(StorageDriver):
    def name(self) -> str:
        return ""

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> Never:
        raise NotImplementedError

    async def retrieve(self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]) -> Never:
        raise NotImplementedError


_NONE = ExternalStorage(drivers=[_NoDriver()])
"""Only reads references."""


def _no_store() -> AnabranchError:
    return Unavailable(
        "the payload is kept in a store that this worker does not have",
        suggestion="give all clients and workers the same PAYLOAD_STORE_URL",
    )


def _malformed() -> AnabranchError:
    return WireFormatError("the reference to a payload in a store cannot be read")
