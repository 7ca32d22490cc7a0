"""Zstandard compression of large payloads. The whole inner payload is compressed, with its metadata.

What flows between workflow and activities (`binary/msgpack`) is compressed above 1 KiB. People read plain JSON
with the command line, so it stays plain up to 64 KiB.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from anabranch.errors import InputError, SizeLimitExceeded, WireFormatError
from anabranch.limits import DECODED_BYTES
from anabranch.transport.undecodable import undecodable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ENCODING = b"binary/zstd"
LEVEL = 1
COMPRESS_ABOVE = {b"binary/msgpack": 1024, b"binary/plain": 1024, b"json/plain": 64 * 1024, b"json/protobuf": 64 * 1024}
"""Bytes of data above which a payload of this encoding is compressed; others never are."""

_WINDOW_LOG_MAX = 25


class ZstdCodec(PayloadCodec):
    """Compresses large payloads with zstd level 1 and unfolds no more than `max_decoded_bytes` of them in one call."""

    def __init__(self, max_decoded_bytes: int = DECODED_BYTES) -> None:
        self._max_decoded_bytes = max_decoded_bytes
        # Reuse costs a third of creating one for each payload; each call ends its frame, so no state is kept.
        self._compressor = zstd.ZstdCompressor(level=LEVEL)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Compress the payloads that are over their threshold and that this makes smaller."""
        return [self._compress(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Restore the payloads; one that this codec did not encode is returned as it is.

        In place of one that is corrupt, or unfolds beyond the limit, comes one that holds the reason
        (`transport/undecodable.py`). Compressed ones after it are not unfolded: it may have cost the whole limit.
        """
        budget = self._max_decoded_bytes
        refused: Payload | None = None
        decoded = []
        for payload in payloads:
            inner = payload if payload.metadata.get("encoding") != ENCODING else refused
            if inner is None:
                try:
                    inner, size = _decompress(payload.data, budget, self._max_decoded_bytes)
                    budget -= size
                except InputError as error:
                    inner = refused = undecodable(error)
            decoded.append(inner)
        return decoded

    def _compress(self, payload: Payload) -> Payload:
        threshold = COMPRESS_ABOVE.get(payload.metadata.get("encoding", b""))
        if threshold is None or len(payload.data) <= threshold:
            return payload
        whole = payload.SerializeToString()
        compressed = self._compressor.compress(whole, mode=zstd.ZstdCompressor.FLUSH_FRAME)
        if len(compressed) >= len(whole):
            return payload
        return Payload(metadata={"encoding": ENCODING}, data=compressed)


def _decompress(data: bytes, budget: int, limit: int) -> tuple[Payload, int]:
    decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX})
    try:
        whole = decompressor.decompress(data, max_length=budget + 1)
    except zstd.ZstdError:
        # Without the library's words: a run may decide by the message, and must decide alike on every worker.
        raise WireFormatError("a compressed payload is corrupt") from None
    if len(whole) > budget:
        raise SizeLimitExceeded(f"a compressed payload unfolds to more than the limit of {limit} bytes")
    if not decompressor.eof or decompressor.unused_data:
        raise WireFormatError("a compressed payload is truncated, or has bytes after its end")
    return _inner(whole), len(whole)


def _inner(whole: bytes) -> Payload:
    try:
        payload = Payload.FromString(whole)
    except DecodeError:
        raise WireFormatError("a compressed payload holds no payload") from None
    if payload.metadata.get("encoding") == ENCODING:
        raise WireFormatError("a compressed payload holds another compressed payload")
    return payload
