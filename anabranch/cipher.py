"""The one place that encrypts: payloads, stored contexts, results in caches, events.

AES-256-GCM. What is encrypted names its key and its nonce, and both are authenticated, together with a label of what
it is used for: a result from a cache does not pass as a context.

A nonce is random. Where equal contents must stay equal (a payload store keeps by content what each replay sends again)
it is derived from the content by a key of its own: who sees two of those learns whether they are the same, no more.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from anabranch.errors import ConfigurationError, EncryptionKeyMissing, PlaintextRefused, WireFormatError
from anabranch.keyring import CHECK_BYTES, FILE_VARIABLE, VARIABLE, Key, Keyring

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
    from cryptography.hazmat.primitives.ciphers import modes

NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
BOX: Final = b"\xc1AB\x01"
"""How a box begins. No MessagePack has the byte 0xC1, and no JSON."""


class Sealed(NamedTuple):
    """An encrypted content. `data` ends with the tag."""

    key_id: str
    check: bytes
    nonce: bytes
    data: bytes


class Cipher:
    """Encrypts with the first key of a keyring, and decrypts with all. `strict` refuses what is not encrypted."""

    def __init__(self, keys: Keyring, *, strict: bool = False) -> None:
        self.keys = keys
        self.strict = strict

    @classmethod
    def from_text(cls, keys: str, *, strict: bool = False) -> Self:
        """With the keys `id:base64,…`. Raises ConfigurationError."""
        return cls(Keyring(keys), strict=strict)

    def encrypt(self, content: bytes, label: str, *, stable: bool = False) -> Sealed:
        """Encrypt; `stable` gives equal contents equal results, as long as the first key is the same."""
        key = self.keys.first
        nonce = _stable_nonce(key, content, label) if stable else os.urandom(NONCE_BYTES)
        return Sealed(
            key.id, key.check, nonce, key.aead.encrypt(nonce, content, _authenticated(label, key.id, key.check, nonce))
        )

    def decrypt(self, sealed: Sealed, label: str) -> bytes:
        """The content. Raises EncryptionKeyMissing, and WireFormatError for what was altered or is of another use."""
        from cryptography.exceptions import InvalidTag

        key_id, check, nonce, data = sealed
        if len(nonce) != NONCE_BYTES or len(data) < TAG_BYTES:
            raise _altered(label)
        key = self.keys.find(key_id, check)
        if key is None:
            raise key_missing(key_id, self.keys.ids)
        try:
            content: bytes = key.aead.decrypt(nonce, data, _authenticated(label, key_id, check, nonce))
        except InvalidTag:
            raise _altered(label) from None
        return content

    def seal(self, content: bytes, label: str) -> bytes:
        """Encrypt to a box: one text of bytes that says all that decrypting needs."""
        key_id, check, nonce, data = self.encrypt(content, label)
        name = key_id.encode()
        return b"".join((BOX, struct.pack("B", len(name)), name, check, nonce, data))

    def open(self, box: bytes, label: str) -> bytes:
        """The content of a box; of what is none, itself. Raises as `decrypt` does, and PlaintextRefused if strict."""
        if is_box(box):
            return self.decrypt(_unboxed(box, label), label)
        if self.strict:
            raise refused_plaintext(label)
        return box

    def blinded(self, text: bytes, label: str) -> str:
        """A digest (hex) that only who has the first key can compute."""
        return hmac.digest(self.keys.first.derived(label), text, hashlib.sha256).hex()

    def hide_block(self, block: bytes, label: str) -> bytes:
        """16 bytes encrypted as one block: the same for the same, and nothing is added. For digests."""
        return _block(self.keys.first.derived(label)).encryptor().update(block)

    def show_block(self, block: bytes, label: str) -> bytes:
        """What `hide_block` was given, if the first key is the same; other bytes otherwise."""
        return _block(self.keys.first.derived(label)).decryptor().update(block)


def open_plain(box: bytes, label: str) -> bytes:
    """What was stored without a cipher. Raises EncryptionKeyMissing for a box."""
    if is_box(box):
        raise key_missing(_unboxed(box, label).key_id, [])
    return box


def is_box(content: bytes) -> bool:
    """Whether the bytes are those of `Cipher.seal`."""
    return content.startswith(BOX)


def key_missing(key_id: str, known: list[str]) -> EncryptionKeyMissing:
    """The error for a key that is not here."""
    there = f"here are {', '.join(map(repr, known))}" if known else "here is none"
    return EncryptionKeyMissing(
        f"the key {key_id[:64]!r} is missing, {there}", suggestion=f"add it to {VARIABLE}, after the first one"
    )


def refused_plaintext(label: str) -> PlaintextRefused:
    """The error for what is not encrypted, where encryption is strict."""
    return PlaintextRefused(
        f"what came as {label} is not encrypted, and encryption is strict here",
        suggestion=f"give its sender {VARIABLE}",
    )


@lru_cache(maxsize=8)
def cipher_of(keys: str | None, file: Path | None, *, strict: bool) -> Cipher | None:
    """The cipher of a process's settings; None without keys. Raises ConfigurationError."""
    if keys is not None and file is not None:
        message = f"{VARIABLE} and {FILE_VARIABLE} are both set"
        raise ConfigurationError(message, suggestion="unset one of them")
    if keys is None and file is None:
        if strict:
            raise ConfigurationError(
                "encryption is strict and there are no keys", place="ANABRANCH_ENCRYPTION", suggestion=f"set {VARIABLE}"
            )
        return None
    return Cipher(Keyring(keys, file), strict=strict)


def _unboxed(box: bytes, label: str) -> Sealed:
    start = len(BOX) + 1
    length = box[len(BOX)] if len(box) > len(BOX) else 0
    at_check = start + length
    at_nonce = at_check + CHECK_BYTES
    at_data = at_nonce + NONCE_BYTES
    if not length or len(box) < at_data + TAG_BYTES:
        raise _altered(label)
    key_id = box[start:at_check].decode("ascii", "replace")
    return Sealed(key_id, box[at_check:at_nonce], box[at_nonce:at_data], box[at_data:])


def _authenticated(label: str, key_id: str, check: bytes, nonce: bytes) -> bytes:
    """Each part with its length, so that no two lists of parts are the same bytes."""
    parts = (label.encode(), key_id.encode(), check, nonce)
    return b"".join(struct.pack(">H", len(part)) + part for part in parts)


def _stable_nonce(key: Key, content: bytes, label: str) -> bytes:
    mac = hmac.new(key.derived("nonce"), struct.pack(">H", len(label)) + label.encode(), hashlib.sha256)
    mac.update(content)
    return mac.digest()[:NONCE_BYTES]


def _block(key: bytes) -> BlockCipher[modes.ECB]:
    from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
    from cryptography.hazmat.primitives.ciphers import algorithms, modes

    return BlockCipher(algorithms.AES(key), modes.ECB())  # noqa: S305 - of a single block that is a digest


def _altered(label: str) -> WireFormatError:
    return WireFormatError(f"an encrypted {label} is damaged, or was altered")
