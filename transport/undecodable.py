"""Payloads that cannot be decoded: each is handed on, marked with the reason, and who reads it gets the error.

A decoder that raised would fail the whole workflow task that brought the payload, and every attempt of it: one signal
of seven wrong bytes would freeze a run for good.

Whether inline bytes can be decoded never changes. What a store has may change, so what came from one is marked too:
workflow code must not decide by it before the decision is in the history (`workflows/temporal/received.py`). A key that
is missing may come back: workflow code never sees that it is (`workflows/temporal/in_order.py`). What was encrypted is
marked, so that a run can tell it from what anybody may have sent.
"""

from __future__ import annotations

from typing import Any, Final

from temporalio.api.common.v1 import Payload
from temporalio.converter import EncodingPayloadConverter

from anabranch.errors import (
    AnabranchError,
    EncryptionKeyMissing,
    PlaintextRefused,
    SizeLimitExceeded,
    Unavailable,
    WireFormatError,
)

ENCODING: Final = b"binary/undecodable"
_CODE = "anabranch-code"
_STORED = "anabranch-stored"
_ENCRYPTED = "anabranch-encrypted"
_ERRORS: dict[bytes, type[AnabranchError]] = {
    each.code.encode(): each for each in (SizeLimitExceeded, Unavailable, EncryptionKeyMissing, PlaintextRefused)
}


def undecodable(error: AnabranchError) -> Payload:
    """A payload that holds why another one cannot be decoded."""
    return Payload(metadata={"encoding": ENCODING, _CODE: error.code.encode()}, data=str(error).encode())


def reason_of(payload: Payload) -> AnabranchError | None:
    """Why a payload cannot be decoded, if it is marked: one of `_ERRORS`, else WireFormatError."""
    if payload.metadata.get("encoding") != ENCODING:
        return None
    kind = _ERRORS.get(payload.metadata.get(_CODE, b""), WireFormatError)
    if kind is EncryptionKeyMissing and not is_encrypted(payload):
        kind = WireFormatError  # sent so by somebody, to have the run wait for ever
    return kind(payload.data.decode(errors="replace")[:1000])


def stored(payload: Payload) -> Payload:
    """The same payload, marked as one that came from a store."""
    marked = Payload()
    marked.CopyFrom(payload)
    marked.metadata[_STORED] = b"true"
    return marked


def is_stored(payload: Payload) -> bool:
    """Whether a payload came from a store, or should have."""
    return _STORED in payload.metadata


def without_origin(payload: Payload) -> Payload:
    """The same payload, without the mark that it came from a store."""
    plain = Payload()
    plain.CopyFrom(payload)
    plain.metadata.pop(_STORED, None)
    return plain


def encrypted(payload: Payload) -> Payload:
    """The same payload, marked as one that came encrypted."""
    marked = payload
    if payload.metadata.get("encoding") == ENCODING:  # several may share it
        marked = Payload()
        marked.CopyFrom(payload)
    marked.metadata[_ENCRYPTED] = b"true"
    return marked


def is_encrypted(payload: Payload) -> bool:
    """Whether a decoded payload came encrypted."""
    return _ENCRYPTED in payload.metadata


def without_mark(payload: Payload) -> Payload:
    """The same payload as one that did not come encrypted, whatever it says of itself."""
    if _ENCRYPTED not in payload.metadata:
        return payload
    plain = Payload()
    plain.CopyFrom(payload)
    del plain.metadata[_ENCRYPTED]
    return plain


class UndecodableConverter(EncodingPayloadConverter):
    """Raises the reason when a marked payload is read."""

    @property
    def encoding(self) -> str:
        """The encoding of marked payloads."""
        return ENCODING.decode()

    def to_payload(self, value: Any) -> Payload | None:
        """None: no value is encoded so."""
        return None

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """Raises the reason."""
        raise reason_of(payload) or WireFormatError("the payload holds no reason")
