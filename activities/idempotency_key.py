"""The `Idempotency-Key` that `http`, `grpc` and `ai` nodes send: the same for every attempt of a node."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

_HEADER_LENGTH = 255


def header_key(key: str) -> str:
    """The key as a header's value: percent-encoded, or its SHA-256 where that is over 255 characters."""
    encoded = quote(key, safe="/:@#[]!$&'()*+,;=")
    return encoded if len(encoded) <= _HEADER_LENGTH else hashlib.sha256(key.encode()).hexdigest()
