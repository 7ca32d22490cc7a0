"""A data converter by which a payload that a store should have, and has not, fails only who reads it.

The SDK raises for a reference that leads nowhere, while it decodes a workflow task, and would do so at every attempt.
It has no hook there but the three methods that are overridden here.

A store that does not answer still raises: the workflow task is tried again until it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Never

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    DataConverter,
    ExternalStorage,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from anabranch.errors import AnabranchError, Unavailable, WireFormatError
from anabranch.transport.undecodable import is_stored, stored, undecodable

_MARKER = "__temporal_external_storage_reference"
"""The metadata key of a reference that a codec has encoded."""


class MarkingDataConverter(DataConverter):
    """Marks what came from a store, and what should have."""

    async def _decode_reference_payload_sequence(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [await self._decoded_reference(each) if _MARKER in each.metadata else each for each in payloads]

    async def _external_retrieve_payload_sequence(self, payloads: Sequence[Payload]) -> list[Payload]:
        checked = [self._checked(payload) for payload in payloads]
        retrieved = await super()._external_retrieve_payload_sequence([payload for payload, _ in checked])
        return [stored(got) if is_ours else got for got, (_, is_ours) in zip(retrieved, checked, strict=True)]

    async def _decode_payload_sequence(self, payloads: Sequence[Payload]) -> list[Payload]:
        decoded = await super()._decode_payload_sequence(payloads)
        pairs = zip(decoded, payloads, strict=True)
        return [stored(got) if is_stored(payload) else got for got, payload in pairs]

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
