"""Keys for tests of the encryption."""

from __future__ import annotations

import base64
import os

from anabranch.cipher import Cipher


def key(key_id: str = "k1") -> str:
    """A new key, as the variable has it."""
    return f"{key_id}:{base64.b64encode(os.urandom(32)).decode()}"


def cipher(*keys: str, strict: bool = False) -> Cipher:
    """A cipher with these keys, or with a new one."""
    return Cipher.from_text(",".join(keys or (key(),)), strict=strict)
