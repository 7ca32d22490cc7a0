"""The keys of the encryption: `id:base64,…` from a variable, or from a file that is read anew when it changes.

The first key encrypts, all decrypt. A key is known by its id and by a check that is derived from it, so that another
key under the same id is a key that is missing, and not a text that somebody altered.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

from anabranch.errors import AnabranchError, ConfigurationError

VARIABLE: Final = "ANABRANCH_ENCRYPTION_KEYS"
FILE_VARIABLE: Final = "ANABRANCH_ENCRYPTION_KEYS_FILE"
KEY_BYTES: Final = 32
CHECK_BYTES: Final = 8
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_FORM: Final = "write id:base64 with 32 random bytes, as `echo k1:$(openssl rand -base64 32)` does"
_LARGEST_FILE: Final = 64 * 1024
_FRESH_SECONDS: Final = 0.25

log = structlog.get_logger("anabranch.encryption")


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """One AES-256 key. What else needs a key has one that is derived from it (HMAC-SHA-256 with a label)."""

    id: str
    secret: bytes = field(repr=False)
    aead: Any = field(repr=False)
    """AES-256-GCM."""
    check: bytes
    """What tells it from another key of the same id."""

    def derived(self, label: str) -> bytes:
        """32 bytes of a key for another use."""
        return hmac.digest(self.secret, b"anabranch " + label.encode(), hashlib.sha256)


class Keyring:
    """Keys in order, from a text or a file. Raises ConfigurationError, which never repeats a key."""

    def __init__(self, text: str | None = None, file: Path | None = None) -> None:
        self._file = file
        self._stamp: tuple[int, ...] = ()
        self._looked = 0.0
        if file is None:
            self._keys = parse_keys(text or "", VARIABLE)
        else:
            self._stamp, self._keys = _read(file)

    @property
    def first(self) -> Key:
        """The key that encrypts."""
        self._refresh()
        return self._keys[0]

    @property
    def ids(self) -> list[str]:
        """The ids of all keys, the one that encrypts first."""
        return [key.id for key in self._keys]

    def find(self, key_id: str, check: bytes) -> Key | None:
        """The key, if it is here; the file is looked at before a key counts as missing."""
        self._refresh()  # a key that was taken out decrypts no more
        found = self._find(key_id, check)
        if found is None and self._file is not None:
            self._look()
            found = self._find(key_id, check)
        return found

    def _find(self, key_id: str, check: bytes) -> Key | None:
        return next((key for key in self._keys if key.id == key_id and key.check == check), None)

    def _refresh(self) -> None:
        if self._file is not None and time.monotonic() - self._looked >= _FRESH_SECONDS:
            self._look()

    def _look(self) -> None:
        """Read the file if it has changed. One that cannot be used leaves the keys as they are."""
        assert self._file is not None  # noqa: S101 - for the type checker
        self._looked = time.monotonic()
        try:
            if (stamp := _stamp(self._file)) == self._stamp:
                return
            self._stamp = stamp  # told once of each state
            self._stamp, self._keys = _read(self._file)
        except (AnabranchError, OSError) as error:
            log.warning("the keys are not read anew, those before are used", file=str(self._file), reason=str(error))
        else:
            log.info("the keys were read anew", file=str(self._file), ids=self.ids)


def parse_keys(text: str, place: str) -> tuple[Key, ...]:
    """The keys of a text: separated by commas or lines; a line that begins with `#` is a comment.

    Raises ConfigurationError naming `place` and the number of the key.
    """
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    entries = [entry.strip() for line in lines for entry in line.split(",") if entry.strip()]
    if not entries:
        raise ConfigurationError("there is no key", place=place, suggestion=_FORM)
    keys = tuple(_key(entry, place, number) for number, entry in enumerate(entries, 1))
    twice = {key.id for key in keys if sum(other.id == key.id for other in keys) > 1}
    if twice:
        raise ConfigurationError(f"two keys have the id {min(twice)!r}", place=place, suggestion="give each its own id")
    return keys


def _key(entry: str, place: str, number: int) -> Key:
    key_id, colon, encoded = entry.partition(":")
    if not colon or not _ID.fullmatch(key_id):
        raise ConfigurationError(
            f"key {number} has no id of letters, digits, dots, dashes and underscores before a colon",
            place=place,
            suggestion=_FORM,
        )
    try:
        secret = base64.b64decode(encoded.strip().translate(str.maketrans("-_", "+/")), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigurationError(f"key {number} ({key_id}) is not base64", place=place, suggestion=_FORM) from None
    if len(secret) != KEY_BYTES:
        message = f"key {number} ({key_id}) has {len(secret)} bytes, not {KEY_BYTES}"
        raise ConfigurationError(message, place=place, suggestion=_FORM)
    check = hmac.digest(secret, b"anabranch check", hashlib.sha256)[:CHECK_BYTES]
    return Key(key_id, secret, _aead(secret), check)


def _aead(secret: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise ConfigurationError(
            "cryptography is not installed", place=VARIABLE, suggestion="pip install 'anabranch[encryption]'"
        ) from None
    return AESGCM(secret)


def _read(file: Path) -> tuple[tuple[int, ...], tuple[Key, ...]]:
    try:
        stamp = _stamp(file)
        with file.open("rb") as opened:
            content = opened.read(_LARGEST_FILE + 1)
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(
            f"the file {str(file)!r} cannot be read: {reason}", place=FILE_VARIABLE, suggestion="name a readable file"
        ) from None
    if len(content) > _LARGEST_FILE:
        raise ConfigurationError(f"the file {str(file)!r} is over {_LARGEST_FILE} bytes", place=FILE_VARIABLE)
    return stamp, parse_keys(text, FILE_VARIABLE)


def _stamp(file: Path) -> tuple[int, ...]:
    """What changes with the file, also where a link to it is replaced (as Kubernetes does for a Secret)."""
    status = os.stat(file)  # noqa: PTH116 - of what a link leads to
    return status.st_mtime_ns, status.st_size, status.st_ino
