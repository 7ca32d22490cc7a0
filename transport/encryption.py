"""Encryption of payloads, after their compression. The whole compressed payload is encrypted, with its metadata.

Key id, check and nonce are in the metadata and authenticated. In place of what cannot be decrypted comes the reason:
a key that is missing (it may come back) or a payload that was altered (which never changes).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from anabranch.cipher import Cipher, Sealed, key_missing
from anabranch.errors import EncryptionKeyMissing, WireFormatError
from anabranch.transport.undecodable import encrypted, undecodable, without_mark

ENCODING: Final = b"binary/anabranch-encrypted"
LABEL: Final = "payload"
_KEY_ID: Final = "encryption-key-id"
_CHECK: Final = "encryption-key-check"
_NONCE: Final = "encryption-nonce"
_ROOM: Final = 1024
"""Bytes that the metadata of an encrypted payload may take, generously."""


class EncryptingCodec(PayloadCodec):
    """Encrypts what another codec has compressed. Without a cipher it says of encrypted payloads which key is missing.

    What has at least `stable_bytes` is kept in a payload store by its content: a replay, which sends it again, encrypts
    it alike.
    """

    def __init__(self, inner: PayloadCodec, cipher: Cipher | None, *, stable_bytes: int | None = None) -> None:
        self._inner = inner
        self._cipher = cipher
        self._stable_bytes = stable_bytes

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Compress and encrypt."""
        compressed = await self._inner.encode(payloads)
        if self._cipher is None:
            return compressed
        return [self._encrypted(payload, self._cipher) for payload in compressed]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt and decompress. What came encrypted is marked, as what cannot be decoded is."""
        are_encrypted = [payload.metadata.get("encoding") == ENCODING for payload in payloads]
        if not any(are_encrypted):
            return [without_mark(payload) for payload in await self._inner.decode(payloads)]
        opened = [
            self._decrypted(payload) if is_ours else payload
            for payload, is_ours in zip(payloads, are_encrypted, strict=True)
        ]
        decoded = await self._inner.decode(opened)
        return [
            encrypted(payload) if is_ours else without_mark(payload)
            for payload, is_ours in zip(decoded, are_encrypted, strict=True)
        ]

    def _encrypted(self, payload: Payload, cipher: Cipher) -> Payload:
        if payload.metadata.get("encoding") == ENCODING:
            return payload
        content = payload.SerializeToString(deterministic=True)
        is_stable = self._stable_bytes is not None and len(content) >= self._stable_bytes - _ROOM
        key_id, check, nonce, data = cipher.encrypt(content, LABEL, stable=is_stable)
        metadata = {"encoding": ENCODING, _KEY_ID: key_id.encode(), _CHECK: check, _NONCE: nonce}
        return Payload(metadata=metadata, data=data)

    def _decrypted(self, payload: Payload) -> Payload:
        found = payload.metadata
        key_id = found.get(_KEY_ID, b"").decode("ascii", "replace")
        try:
            if self._cipher is None:
                raise key_missing(key_id, [])
            sealed = Sealed(key_id, found.get(_CHECK, b""), found.get(_NONCE, b""), payload.data)
            return _payload(self._cipher.decrypt(sealed, LABEL))
        except (EncryptionKeyMissing, WireFormatError) as error:
            return undecodable(error)


def _payload(content: bytes) -> Payload:
    try:
        payload = Payload.FromString(content)
    except DecodeError:
        raise WireFormatError("an encrypted payload holds no payload") from None
    if payload.metadata.get("encoding") == ENCODING:
        raise WireFormatError("an encrypted payload holds another encrypted payload")
    return payload
