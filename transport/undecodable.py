"""Payloads that cannot be decoded: each is handed on, marked with the reason, and who reads it gets the error.

A decoder that raised would fail the whole workflow task that brought the payload, and every attempt of it: one signal
of seven wrong bytes would freeze a run for good.

Whether inline bytes can be decoded never changes. What a store has may change, so what came from one is marked too:
workflow code must not decide by it before the decision is in the history (`workflows/temporal/received.py`).
"""

from __future__ import annotations

from typing import Any, Final

from temporalio.api.common.v1 import Payload
from temporalio.converter import EncodingPayloadConverter

from anabranch.errors import AnabranchError, SizeLimitExceeded, Unavailable, WireFormatError

ENCODING: Final = b"binary/undecodable"
_CODE = "anabranch-code"
_STORED = "anabranch-stored"
_ERRORS: dict[bytes, type[AnabranchError]] = {each.code.encode(): each for each in (SizeLimitExceeded, Unavailable)}


def undecodable(error: AnabranchError) -> Payload:
    """A payload that holds why another one cannot be decoded."""
    return Payload(metadata={"encoding": ENCODING, _CODE: error.code.encode()}, data=str(error).encode())


def reason_of(payload: Payload) -> AnabranchError | None:
    """Why a payload cannot be decoded, if it is marked: SizeLimitExceeded, Unavailable, else WireFormatError."""
    if payload.metadata.get("encoding") != ENCODING:
        return None
    kind = _ERRORS.get(payload.metadata.get(_CODE, b""), WireFormatError)
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
        """Raises SizeLimitExceeded, Unavailable or WireFormatError."""
        raise reason_of(payload) or WireFormatError("the payload holds no reason")
